#ifndef LAPSE_INIT_CAPABILITY_H
#define LAPSE_INIT_CAPABILITY_H

struct text;

/* Puts CAP_NET_ADMIN, and CAP_SYS_ADMIN and CAP_SYS_PTRACE if permitted, into effect: a file capability +p permits and does no more,
 * so that the program still starts where it is not allowed. */
void capability_raise(void);

/* Why CAP_NET_ADMIN is not in effect and what to type, behind a sentence; nothing when it is. */
void capability_explain(struct text *out);

#endif
