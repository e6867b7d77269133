#include "proxy/inject/inject_description.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/text.h"
#include "lib/timeouts.h"
#include "proxy/config/regex.h"
#include "proxy/config/yaml.h"

/* The file itself. */
__asm__(".pushsection .rodata\n"
        ".global inject_description_bytes, inject_description_end\n"
        ".hidden inject_description_bytes, inject_description_end\n"
        "inject_description_bytes:\n"
        ".incbin \"charts/lapse/files/sidecar.yaml\"\n"
        "inject_description_end:\n"
        ".byte 0\n"
        ".popsection\n");
extern const char inject_description_bytes[], inject_description_end[];

const struct yaml_node *inject_description_field(const struct inject_description *description, const char *key, const char *inner)
{
	const struct yaml_node *node = yaml_field(description->root, key);

	return node && inner ? yaml_field(node, inner) : node;
}

static int inject_description_compare(const void *left, const void *right)
{
	return strcmp(((const struct inject_flag *)left)->name, ((const struct inject_flag *)right)->name);
}

static int inject_description_add(struct arena *arena, struct inject_description *description, const char *name,
                                  const char *kind, unsigned container)
{
	const struct yaml_node *pattern = inject_description_field(description, "values", kind);
	struct inject_flag *flag;
	TEXT_ON_STACK(why, 256);

	for (size_t i = 0; i < description->flag_count; i++)
		if (strcmp(description->flags[i].name, name) == 0) { /* both containers have it */
			description->flags[i].containers |= container;
			return 0;
		}
	flag = &description->flags[description->flag_count++];
	*flag = (struct inject_flag){
	    .name = name,
	    .kind = kind,
	    .containers = container,
	    .boolean = strcmp(kind, "boolean") == 0,
	    .repeatable = strcmp(kind, "conntrack") == 0,
	};
	assert(pattern);
	return regex_compile(arena, pattern->text, &flag->regex, &why);
}

static int inject_description_add_timeouts(struct arena *arena, struct inject_description *description)
{
	int result = 0;

	for (int id = 0; id < TIMEOUT_COUNT && !result; id++) {
		char *name = arena_alloc(arena, TIMEOUTS_FLAG_SIZE);

		if (!name)
			return -ENOMEM;
		timeouts_flag_name((enum timeout_id)id, name);
		result = inject_description_add(arena, description, name, "duration", INJECT_PROXY);
		description->flags[description->flag_count - 1].live = true;
	}
	return result;
}

static const struct {
	const char *name;
	unsigned bit;
} inject_description_containers[] = {{"lapse-init", INJECT_INIT}, {"lapse-proxy", INJECT_PROXY}};

int inject_description_read(struct arena *arena, struct inject_description *out)
{
	struct yaml_node *document = NULL;
	struct yaml_error error;
	size_t most = TIMEOUT_COUNT;
	int result = yaml_parse_as_written(arena, inject_description_bytes,
	                                   /* cppcheck-suppress comparePointers; both are labels of one file */
	                                   (size_t)(inject_description_end - inject_description_bytes), &document, &error);

	assert(result != -EBADMSG && (result || document));
	*out = (struct inject_description){.root = document};
	for (size_t i = 0; i < 2 && !result; i++)
		most += inject_description_field(out, "flags", inject_description_containers[i].name)->count;
	out->flags = result ? NULL : arena_array(arena, most, sizeof *out->flags);
	if (!out->flags)
		return -ENOMEM;
	for (size_t i = 0; i < 2; i++) {
		const struct yaml_node *flags = inject_description_field(out, "flags", inject_description_containers[i].name);

		for (const struct yaml_node *flag = flags->children; flag && !result; flag = flag->next)
			result = inject_description_add(arena, out, flag->key, flag->text, inject_description_containers[i].bit);
	}
	if (!result)
		result = inject_description_add_timeouts(arena, out);
	for (size_t i = 0; i < out->flag_count; i++)
		for (const struct yaml_node *row = inject_description_field(out, "linkerd", NULL)->children; row; row = row->next)
			if (strcmp(row->text, out->flags[i].name) == 0)
				out->flags[i].linkerd = row->key;
	qsort(out->flags, out->flag_count, sizeof *out->flags, inject_description_compare);
	assert(result != -EINVAL);
	return result;
}

const struct inject_flag *inject_description_flag(const struct inject_description *description, const char *name)
{
	for (size_t i = 0; i < description->flag_count; i++)
		if (strcmp(description->flags[i].name, name) == 0)
			return &description->flags[i];
	return NULL;
}

const struct inject_flag *inject_description_linkerd(const struct inject_description *description, const char *annotation)
{
	for (size_t i = 0; i < description->flag_count; i++)
		if (description->flags[i].linkerd && strcmp(description->flags[i].linkerd, annotation) == 0)
			return &description->flags[i];
	return NULL;
}

bool inject_description_fits(const struct inject_flag *flag, const char *value)
{
	struct regex_work work = {0};

	return regex_matches(flag->regex, value, strlen(value), &work);
}
