#include "proxy/admin/admin_files.h"

/* The assembler reads the file; the path is from the source's root, where make runs. */
#define ADMIN_FILE(name, path)                                                                                                       \
	__asm__(".pushsection .rodata." #name ",\"a\"\n"                                                                             \
	        ".global " #name "\n" #name ":\n.incbin \"" path "\"\n"                                                              \
	        ".global " #name "_end\n" #name "_end:\n.byte 0\n"                                                                    \
	        ".popsection\n")

ADMIN_FILE(admin_files_html, "proxy/admin/connections.html");
ADMIN_FILE(admin_files_css, "proxy/admin/connections.css");
ADMIN_FILE(admin_files_js, "proxy/admin/connections.js");
