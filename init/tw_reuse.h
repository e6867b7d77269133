#ifndef LAPSE_INIT_TW_REUSE_H
#define LAPSE_INIT_TW_REUSE_H

#include <stdio.h>

struct log;

/* net.ipv4.tcp_tw_reuse of this network namespace, which decides how soon a local port whose connection has ended may be used again:
 * 0 after 60 s, 1 after 1 s, 2 (the kernel's default) after 1 s for 127.0.0.0/8 and ::1, not for a pod that dials its own address. */

/* Sets it to 1 where /proc/sys may be written, reads it back, and logs what it was and is, or why it stays. */
void tw_reuse_apply(struct log *log);

/* What is in force, 0 to 2, or -errno where there is no such setting; and a line about it. */
int tw_reuse_read(void);
void tw_reuse_print(FILE *to);

#endif
