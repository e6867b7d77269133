#ifndef LAPSE_PROXY_ADMIN_ADMIN_FILES_H
#define LAPSE_PROXY_ADMIN_ADMIN_FILES_H

/* The files of the page of /connections, as they are in this folder, built into the program: from NAME up to NAME_end. */
extern const char admin_files_html[], admin_files_html_end[];
extern const char admin_files_css[], admin_files_css_end[];
extern const char admin_files_js[], admin_files_js_end[];

#endif
