#ifndef LAPSE_PROXY_INJECT_INJECT_DESCRIPTION_H
#define LAPSE_PROXY_INJECT_INJECT_DESCRIPTION_H

#include <stdbool.h>
#include <stddef.h>

struct arena;
struct regex;
struct yaml_node;

/* charts/lapse/files/sidecar.yaml, which is in the program: the two containers and what can be said to them. */

enum inject_container { INJECT_INIT = 1, INJECT_PROXY = 2 }; /* bits */

/* A flag of lapse-init or lapse-proxy that injection passes on. */
struct inject_flag {
	const char *name;       /* "close-wait-timeout" */
	unsigned containers;    /* enum inject_container */
	const char *kind;       /* "ports": what its value is, by name */
	const char *linkerd;    /* Linkerd's annotation that means it, NULL = none */
	bool live;              /* a timeout: lapse-proxy reads the annotation lapse.proxy/NAME itself */
	bool boolean, repeatable;
	const struct regex *regex;
};

struct inject_description {
	const struct yaml_node *root;
	struct inject_flag *flags; /* by name */
	size_t flag_count;
};

/* Everything lives in the arena. 0 or -ENOMEM; a file that is not as it must be does not get through the tests. */
int inject_description_read(struct arena *arena, struct inject_description *out);

/* The flag of that name, or that an annotation of Linkerd means; NULL = none. */
const struct inject_flag *inject_description_flag(const struct inject_description *description, const char *name);
const struct inject_flag *inject_description_linkerd(const struct inject_description *description, const char *annotation);

/* Whether a value is what the flag takes, by the description's pattern. */
bool inject_description_fits(const struct inject_flag *flag, const char *value);

/* A field of the description, behind one another: ("documents", "volume", NULL). */
const struct yaml_node *inject_description_field(const struct inject_description *description, const char *key, const char *inner);

#endif
