#include "proxy/inject/pod.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/text.h"
#include "proxy/config/diagnostics.h"
#include "proxy/config/yaml.h"
#include "proxy/inject/inject_description.h"
#include "proxy/inject/inject_options.h"
#include "proxy/inject/tree.h"

#define DOMAIN_OURS "lapse.proxy/"
#define DOMAIN_LINKERD "config.linkerd.io/"
#define DEFAULT_CONTAINER "kubectl.kubernetes.io/default-container"

enum { GRACE_DEFAULT_S = 30, GRACE_SPARE_S = 2, VALUE_SHOWN = 80 };

/* One pod, or template of pods, under the knife. */
struct pod {
	struct inject *inject;
	const char *subject;
	struct yaml_node *metadata, *annotations; /* NULL = none */
	struct yaml_node *spec, *containers, *init_containers, *volumes;
	bool refused;
};

__attribute__((format(printf, 3, 4))) static void pod_say(struct pod *pod, bool error, const char *format, ...)
{
	TEXT_ON_STACK(text, DIAGNOSTIC_SIZE);
	char sentence[DIAGNOSTIC_SIZE];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(sentence, sizeof sentence, format, arguments);
	va_end(arguments);
	text_printf(&text, "%s: %s", pod->subject, sentence);
	diagnostics_add(pod->inject->diagnostics, error, "%s", text_bytes);
	pod->refused = pod->refused || error;
}

/* --- reading the pod --- */

/* A field to be looked into or changed: of that type, and written out. NULL when it is absent, null or refused. */
static struct yaml_node *pod_part(struct pod *pod, struct yaml_node *mapping, const char *key, enum yaml_type type)
{
	struct yaml_node *node = mapping ? tree_field(mapping, key) : NULL;

	if (mapping && tree_field(mapping, "<<"))
		pod_say(pod, true, "a merge key (<<) stands where fields are put in; write the fields out");
	if (!node || yaml_is_null(node))
		return NULL;
	if (node->type == YAML_ALIAS)
		pod_say(pod, true, "%s is an alias (*%s); write it out", key, node->text);
	else if (node->type != type)
		pod_say(pod, true, "%s is not a %s", key, type == YAML_MAPPING ? "mapping" : "list");
	return node->type == type ? node : NULL;
}

/* The text of a field; NULL when it is absent or no scalar. */
static const char *pod_text(const struct yaml_node *mapping, const char *key)
{
	const struct yaml_node *node = mapping ? yaml_field(mapping, key) : NULL;

	return node && node->type == YAML_SCALAR && !yaml_is_null(node) ? node->text : NULL;
}

static bool pod_is(const struct yaml_node *mapping, const char *key, const char *text)
{
	const char *value = pod_text(mapping, key);

	return value && strcmp(value, text) == 0;
}

static void pod_read(struct pod *pod)
{
	pod->annotations = pod_part(pod, pod->metadata, "annotations", YAML_MAPPING);
	pod->containers = pod_part(pod, pod->spec, "containers", YAML_SEQUENCE);
	pod->init_containers = pod_part(pod, pod->spec, "initContainers", YAML_SEQUENCE);
	pod->volumes = pod_part(pod, pod->spec, "volumes", YAML_SEQUENCE);
	if (pod->annotations && tree_field(pod->annotations, "<<"))
		pod_say(pod, true, "a merge key (<<) stands in its annotations; write them out");
}

/* --- what flags are given --- */

/* The annotation that gives the flag a value; NULL: none does. */
static const char *pod_annotation(const struct pod *pod, const struct inject_flag *flag)
{
	char key[128];
	const char *value = NULL;

	if (!pod->annotations)
		return NULL;
	snprintf(key, sizeof key, DOMAIN_OURS "%s", flag->name);
	if (!flag->live)
		value = pod_text(pod->annotations, key);
	if (value && inject_description_fits(flag, value))
		return value;
	value = flag->linkerd ? pod_text(pod->annotations, flag->linkerd) : NULL;
	return value && inject_description_fits(flag, value) ? value : NULL;
}

static const struct option_texts *pod_given(const struct pod *pod, const struct inject_flag *flag)
{
	return &pod->inject->settings->given[flag - pod->inject->description->flags].values;
}

/* An annotation's value, shortened for a message. */
static const char *pod_shown(const char *value, char out[static VALUE_SHOWN + 8])
{
	size_t length = strlen(value), shown = diagnostics_cut(value, length, VALUE_SHOWN);

	snprintf(out, VALUE_SHOWN + 8, "%.*s%s", (int)shown, value, shown < length ? "…" : "");
	return out;
}

static void pod_check_annotation(struct pod *pod, const struct yaml_node *annotation)
{
	const struct inject_description *description = pod->inject->description;
	const char *key = annotation->key, *value = annotation->type == YAML_SCALAR ? annotation->text : "";
	bool ours = strncmp(key, DOMAIN_OURS, strlen(DOMAIN_OURS)) == 0;
	const struct inject_flag *flag;
	char shown[VALUE_SHOWN + 8];

	if (!ours && strncmp(key, DOMAIN_LINKERD, strlen(DOMAIN_LINKERD)) != 0)
		return;
	if (ours && strcmp(key, DOMAIN_OURS "inject") == 0) {
		if (strcmp(value, "enabled") != 0 && strcmp(value, "disabled") != 0)
			pod_say(pod, false, "annotation %s: \"%s\": enabled or disabled; taken as enabled", key, pod_shown(value, shown));
		return;
	}
	flag = ours ? inject_description_flag(description, key + strlen(DOMAIN_OURS)) : inject_description_linkerd(description, key);
	if (!flag && ours)
		pod_say(pod, false, "annotation %.200s: unknown; lapse-proxy inject --help lists the flags there are; left alone", key);
	else if (!flag)
		pod_say(pod, false, "annotation %.200s: it means nothing to Lapse; left alone", key);
	else if (!inject_description_fits(flag, value))
		pod_say(pod, false, "annotation %s: \"%s\": give %s; left out", key, pod_shown(value, shown),
		        inject_options_accepted(flag));
}

/* --- refusals --- */

/* The port that a flag sets, for this pod. */
static long pod_port(const struct pod *pod, const char *name)
{
	const struct inject_description *description = pod->inject->description;
	const struct inject_flag *flag = inject_description_flag(description, name);
	const char *annotation = flag ? pod_annotation(pod, flag) : NULL;
	const struct option_texts *given = flag ? pod_given(pod, flag) : NULL;

	if (!flag)
		return pod->inject->settings->admin_port;
	if (annotation || given->count)
		return strtol(annotation ? annotation : given->items[0], NULL, 10);
	return strtol(inject_description_field(description, "ports", name)->text, NULL, 10);
}

static void pod_check_ports(struct pod *pod, const struct yaml_node *container)
{
	const struct yaml_node *list = yaml_field(container, "ports"), *rows = yaml_field(pod->inject->description->root, "ports");

	for (const struct yaml_node *port = list ? list->children : NULL; port; port = port->next)
		for (const struct yaml_node *row = rows->children; row; row = row->next) {
			const char *number = pod_text(port, "containerPort");

			if (number && strtol(number, NULL, 10) == pod_port(pod, row->key))
				pod_say(pod, true, "container %s has port %s, which is lapse-proxy's; give lapse-proxy another one with --%s",
				        pod_text(container, "name"), number, row->key);
		}
}

static void pod_check_container(struct pod *pod, const struct yaml_node *container)
{
	const struct yaml_node *foreign = yaml_field(pod->inject->description->root, "foreign");
	const char *name = pod_text(container, "name");
	const char *user = pod_text(yaml_field(container, "securityContext"), "runAsUser");

	if (container->type != YAML_MAPPING || !name) {
		pod_say(pod, true, "one of its containers has no name");
		return;
	}
	for (const struct yaml_node *one = foreign->children; one; one = one->next)
		if (strcmp(one->text, name) == 0)
			pod_say(pod, true, "it has %s, which redirects too; take that mesh out of the pod first", name);
	pod_check_ports(pod, container);
	if (user && strtoll(user, NULL, 10) == pod->inject->settings->uid)
		pod_say(pod, true, "container %s runs as uid %s, which is lapse-proxy's and is not redirected; give another --proxy-uid",
		        name, user);
}

static void pod_check(struct pod *pod)
{
	const struct yaml_node *lists[] = {pod->containers, pod->init_containers};
	const char *user = pod_text(yaml_field(pod->spec, "securityContext"), "runAsUser");

	if (!pod->refused && (!pod->containers || !pod->containers->count))
		pod_say(pod, true, "it has no containers");
	if (pod_is(pod->spec, "hostNetwork", "true"))
		pod_say(pod, true, "it has hostNetwork: lapse-init would redirect its whole node; leave it out, or annotate its pods "
		                   DOMAIN_OURS "inject: disabled");
	if (pod_is(yaml_field(pod->spec, "os"), "name", "windows") ||
	    pod_is(yaml_field(pod->spec, "nodeSelector"), "kubernetes.io/os", "windows"))
		pod_say(pod, true, "it is for Windows");
	if (pod->inject->settings->ordinary && (pod_is(pod->spec, "restartPolicy", "Never") ||
	                                        pod_is(pod->spec, "restartPolicy", "OnFailure")))
		pod_say(pod, true, "it would never end beside lapse-proxy as an ordinary container; leave --ordinary away");
	if (user && strtoll(user, NULL, 10) == pod->inject->settings->uid)
		pod_say(pod, true, "it runs as uid %s, which is lapse-proxy's and is not redirected; give another --proxy-uid", user);
	for (size_t i = 0; i < 2; i++)
		for (const struct yaml_node *one = lists[i] ? lists[i]->children : NULL; one; one = one->next)
			pod_check_container(pod, one);
}

/* --- taking out --- */

/* Whether it was there. */
static bool pod_take(struct yaml_node *list, const char *name)
{
	struct yaml_node *found = tree_named(list, name);

	if (found)
		tree_remove(list, found);
	return found != NULL;
}

static void pod_take_default_container(struct pod *pod)
{
	struct yaml_node *annotation = pod->annotations ? tree_field(pod->annotations, DEFAULT_CONTAINER) : NULL;
	const char *first = pod->containers && pod->containers->children ? pod_text(pod->containers->children, "name") : NULL;

	if (!annotation || annotation->type != YAML_SCALAR || !first || strcmp(annotation->text, first) != 0)
		return;
	tree_remove(pod->annotations, annotation);
	if (!pod->annotations->count)
		tree_remove(pod->metadata, pod->annotations);
	pod->annotations = pod->annotations->count ? pod->annotations : NULL;
}

/* All that an injection put in; lists that are empty then go too. Whether there was anything. */
static bool pod_remove(struct pod *pod)
{
	bool ordinary = pod_take(pod->containers, "lapse-proxy"), init = pod_take(pod->init_containers, "lapse-init");
	bool native = pod_take(pod->init_containers, "lapse-proxy");

	pod_take(pod->volumes, "lapse-podinfo");
	pod_take(pod->volumes, "lapse-documents");
	if (pod->init_containers && !pod->init_containers->count) {
		tree_remove(pod->spec, pod->init_containers);
		pod->init_containers = NULL;
	}
	if (pod->volumes && !pod->volumes->count) {
		tree_remove(pod->spec, pod->volumes);
		pod->volumes = NULL;
	}
	if (ordinary)
		pod_take_default_container(pod);
	return ordinary || init || native;
}

/* --- putting in --- */

static void *pod_keep(struct pod *pod, void *node)
{
	pod->inject->no_memory = pod->inject->no_memory || !node;
	return node;
}

static void pod_add_text(struct pod *pod, struct yaml_node *list, const char *text)
{
	struct yaml_node *node = pod_keep(pod, tree_text(pod->inject->arena, text));

	if (node)
		tree_append(list, node);
}

/* The words in capitals become what they stand for. */
static void pod_fill(struct pod *pod, struct yaml_node *node)
{
	const struct inject_settings *settings = pod->inject->settings;
	const struct {
		const char *word, *value;
	} words[] = {
	    {"PROXY_UID", arena_printf(pod->inject->arena, "%lld", (long long)settings->uid)},
	    {"ADMIN_PORT", arena_printf(pod->inject->arena, "%u", settings->admin_port)},
	    {"CONFIG_MAP", settings->config_map},
	};

	for (struct yaml_node *child = node->children; child; child = child->next)
		pod_fill(pod, child);
	for (size_t i = 0; node->type == YAML_SCALAR && i < sizeof words / sizeof *words; i++) {
		const char *found = strstr(node->text, words[i].word);

		if (!found || !words[i].value)
			continue;
		node->text = arena_printf(pod->inject->arena, "%.*s%s%s", (int)(found - node->text), node->text, words[i].value,
		                          found + strlen(words[i].word));
		pod->inject->no_memory = pod->inject->no_memory || !node->text;
		node->text = node->text ? node->text : "";
		node->length = (uint32_t)strlen(node->text);
	}
}

/* A part of the description, filled in. NULL: no memory. */
static struct yaml_node *pod_copy(struct pod *pod, const struct yaml_node *node)
{
	struct yaml_node *copy = pod_keep(pod, tree_copy(pod->inject->arena, node));

	if (copy)
		pod_fill(pod, copy);
	return copy;
}

static void pod_add_copy(struct pod *pod, struct yaml_node *list, const struct yaml_node *node)
{
	struct yaml_node *copy = list ? pod_copy(pod, node) : NULL;

	if (copy)
		tree_append(list, copy);
}

/* Whether the flag of an argument is given besides. */
static bool pod_gives(const struct pod *pod, const char *argument)
{
	TEXT_ON_STACK(name, 64);
	const struct inject_flag *flag;

	text_append(&name, argument + strlen("--"), strcspn(argument, "=") - strlen("--"));
	flag = inject_description_flag(pod->inject->description, name_bytes);
	return flag && pod_given(pod, flag)->count;
}

static void pod_add_arguments(struct pod *pod, struct yaml_node *arguments, const char *of)
{
	const struct yaml_node *list = inject_description_field(pod->inject->description, "arguments", of);

	for (const struct yaml_node *one = list->children; one; one = one->next)
		if (!pod_gives(pod, one->text))
			pod_add_copy(pod, arguments, one);
}

/* terminationGracePeriodSeconds less what writing the last records takes. */
static const char *pod_drain(struct pod *pod)
{
	const char *text = pod_text(pod->spec, "terminationGracePeriodSeconds");
	long long grace = text ? strtoll(text, NULL, 10) : GRACE_DEFAULT_S;

	if (grace <= GRACE_SPARE_S)
		return "500ms";
	return pod_keep(pod, arena_printf(pod->inject->arena, "%llds", grace - GRACE_SPARE_S));
}

static void pod_add_flag(struct pod *pod, struct yaml_node *arguments, const struct inject_flag *flag)
{
	const char *annotation = pod_annotation(pod, flag);
	const struct option_texts *given = pod_given(pod, flag);

	if (!annotation && !given->count && strcmp(flag->name, "timeout-drain") == 0)
		annotation = pod_drain(pod);
	for (size_t i = 0; annotation ? !i : i < given->count; i++)
		pod_add_text(pod, arguments,
		             arena_printf(pod->inject->arena, "--%s=%s", flag->name, annotation ? annotation : given->items[i]));
}

/* A container of the description with its image and arguments. */
static struct yaml_node *pod_container(struct pod *pod, const char *name, enum inject_container which, const char *kind)
{
	const struct inject_settings *settings = pod->inject->settings;
	const struct inject_description *description = pod->inject->description;
	struct arena *arena = pod->inject->arena;
	struct yaml_node *container = pod_copy(pod, yaml_field(description->root, name));
	struct yaml_node *arguments = pod_keep(pod, tree_new(arena, YAML_SEQUENCE)), *image, *policy;

	if (!container || !arguments)
		return NULL;
	pod_add_arguments(pod, arguments, name);
	if (kind)
		pod_add_arguments(pod, arguments, kind);
	if (which == INJECT_PROXY && settings->config_map)
		pod_add_copy(pod, arguments, inject_description_field(description, "documents", "argument"));
	for (size_t i = 0; i < description->flag_count; i++)
		if (description->flags[i].containers & which)
			pod_add_flag(pod, arguments, &description->flags[i]);
	image = pod_keep(pod, tree_text(arena, settings->image));
	policy = settings->pull_policy ? pod_keep(pod, tree_text(arena, settings->pull_policy)) : NULL;
	if (!image)
		return NULL;
	tree_set(container, "image", image);
	if (policy)
		tree_set(container, "imagePullPolicy", policy);
	tree_set(container, "args", arguments);
	return container;
}

static void pod_set_quantity(struct pod *pod, struct yaml_node *container, const char *list, const char *name, const char *value)
{
	struct yaml_node *mapping = tree_field(tree_field(container, "resources"), list);
	struct yaml_node *text = value ? pod_keep(pod, tree_text(pod->inject->arena, value)) : NULL;

	if (text)
		tree_set(mapping, name, text);
}

static struct yaml_node *pod_proxy(struct pod *pod)
{
	const struct inject_settings *settings = pod->inject->settings;
	const char *kind = settings->ordinary ? "ordinary" : "native";
	struct yaml_node *container = pod_container(pod, "lapse-proxy", INJECT_PROXY, kind), *copy;
	const struct yaml_node *mount = inject_description_field(pod->inject->description, "documents", "mount");

	if (!container)
		return NULL;
	pod_set_quantity(pod, container, "requests", "cpu", settings->cpu_request);
	pod_set_quantity(pod, container, "requests", "memory", settings->memory_request);
	pod_set_quantity(pod, container, "limits", "cpu", settings->cpu_limit);
	pod_set_quantity(pod, container, "limits", "memory", settings->memory_limit);
	for (const struct yaml_node *field = yaml_field(pod->inject->description->root, kind)->children; field; field = field->next) {
		copy = pod_copy(pod, field);
		if (copy)
			tree_set(container, field->key, copy);
	}
	if (settings->config_map)
		pod_add_copy(pod, tree_field(container, "volumeMounts"), mount);
	return container;
}

/* The list of that name in the spec, made where it is missing. */
static struct yaml_node *pod_list(struct pod *pod, const char *key, struct yaml_node *list)
{
	if (!list)
		list = pod_keep(pod, tree_new(pod->inject->arena, YAML_SEQUENCE));
	if (list && tree_field(pod->spec, key) != list)
		tree_set(pod->spec, key, list);
	return list;
}

static void pod_add_volumes(struct pod *pod)
{
	const struct inject_description *description = pod->inject->description;

	pod->volumes = pod_list(pod, "volumes", pod->volumes);
	for (const struct yaml_node *one = yaml_field(description->root, "volumes")->children; one; one = one->next)
		pod_add_copy(pod, pod->volumes, one);
	if (pod->inject->settings->config_map)
		pod_add_copy(pod, pod->volumes, inject_description_field(description, "documents", "volume"));
}

/* kubectl logs and exec go on meaning the application. */
static void pod_add_default_container(struct pod *pod)
{
	const char *first = pod_text(pod->containers->children, "name");
	struct yaml_node *value = pod_keep(pod, tree_text(pod->inject->arena, first));

	if (!pod->metadata || !value || (pod->annotations && tree_field(pod->annotations, DEFAULT_CONTAINER)))
		return;
	if (!pod->annotations) {
		pod->annotations = pod_keep(pod, tree_new(pod->inject->arena, YAML_MAPPING));
		if (!pod->annotations)
			return;
		tree_set(pod->metadata, "annotations", pod->annotations);
	}
	tree_set(pod->annotations, DEFAULT_CONTAINER, value);
}

static void pod_insert(struct pod *pod)
{
	struct yaml_node *init = pod_container(pod, "lapse-init", INJECT_INIT, NULL), *proxy = pod_proxy(pod);
	bool ordinary = pod->inject->settings->ordinary;

	pod->init_containers = pod_list(pod, "initContainers", pod->init_containers);
	pod_add_volumes(pod);
	if (!init || !proxy || !pod->init_containers)
		return;
	if (ordinary) {
		pod_add_default_container(pod);
		tree_append(pod->init_containers, init);
		tree_insert(pod->containers, 0, proxy);
	} else {
		tree_insert(pod->init_containers, 0, init);
		tree_insert(pod->init_containers, 1, proxy);
	}
}

void pod_inject(struct inject *inject, const char *subject, struct yaml_node *metadata, struct yaml_node *spec)
{
	struct pod pod = {.inject = inject, .subject = subject, .metadata = metadata, .spec = spec};
	bool had;

	pod_read(&pod);
	if (pod.refused)
		return;
	if (!inject->settings->remove && pod_is(pod.annotations, DOMAIN_OURS "inject", "disabled")) {
		pod_say(&pod, false, "annotation " DOMAIN_OURS "inject: disabled; left alone");
		return;
	}
	had = pod_remove(&pod);
	if (inject->settings->remove) {
		inject->removed += had;
		return;
	}
	pod_check(&pod);
	for (const struct yaml_node *one = pod.annotations ? pod.annotations->children : NULL; one; one = one->next)
		pod_check_annotation(&pod, one);
	if (pod.refused)
		return;
	pod_insert(&pod);
	inject->injected++;
}
