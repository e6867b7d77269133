#include "proxy/config/config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/config/annotations.h"
#include "proxy/config/manifest.h"
#include "proxy/config/yaml.h"

#define CONFIG_NAMESPACE_FILE "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

enum {
	BYTES_MOST = 256 << 20,    /* of all documents */
	POD_BYTES_MOST = 4 << 20,  /* of a downward-API file; Kubernetes allows 256 KiB of annotations */
	NAMESPACE_BYTES_MOST = 256,
	LABEL_MOST = 63,           /* RFC 1123 */
	FIRST_READ = 64 << 10,
};

struct config_reader {
	struct config *config;
	char *bytes; /* the file at hand; owned, used again for the next */
	size_t length, capacity;
	bool full;   /* a limit of all files together was met, and reported */
};

/* The names of a directory that are read. */
struct config_names {
	char **items;
	size_t count, capacity;
};

/* --- bytes --- */

static const char *config_problem(int error)
{
	switch (error) {
	case -ESPIPE:
		return "not a regular file";
	case -EFBIG:
		return "too large";
	default:
		return strerror(-error);
	}
}

/* Never waits for a writer (FIFO) or a terminal. A descriptor or -errno. */
static int config_open(const char *path, struct stat *status)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC), result;

	if (fd < 0)
		return -errno;
	if (!fstat(fd, status))
		return fd;
	result = -errno;
	close(fd);
	return result;
}

static int config_grow(struct config_reader *reader, size_t most)
{
	size_t capacity = reader->capacity ? reader->capacity * 2 : FIRST_READ;
	char *bytes;

	if (capacity > most + 1)
		capacity = most + 1;
	if (capacity <= reader->capacity)
		return 0;
	bytes = realloc(reader->bytes, capacity);
	if (!bytes)
		return -ENOMEM;
	reader->bytes = bytes;
	reader->capacity = capacity;
	return 0;
}

/* Up to its end, wherever that is by now. 0, -EFBIG over `most` bytes, or -errno. */
static int config_read_bytes(struct config_reader *reader, int fd, size_t most)
{
	reader->length = 0;
	for (;;) {
		ssize_t count;

		if (reader->length == reader->capacity && config_grow(reader, most))
			return -ENOMEM;
		count = read(fd, reader->bytes + reader->length, reader->capacity - reader->length);
		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			return count ? -errno : 0;
		reader->length += (size_t)count;
		if (reader->length > most)
			return -EFBIG;
	}
}

/* The whole of a regular file; the descriptor is closed. */
static int config_read_descriptor(struct config_reader *reader, int fd, const struct stat *status, size_t most)
{
	int result = -ESPIPE;

	if (S_ISREG(status->st_mode))
		result = status->st_size > (off_t)most ? -EFBIG : config_read_bytes(reader, fd, most);
	close(fd);
	return result;
}

static int config_read_path(struct config_reader *reader, const char *path, size_t most)
{
	struct stat status;
	int fd = config_open(path, &status);

	return fd < 0 ? fd : config_read_descriptor(reader, fd, &status, most);
}

/* NULL when there is no memory. */
static const char *config_join(struct config_reader *reader, const char *directory, const char *name)
{
	size_t length = strlen(directory);

	return arena_printf(&reader->config->arena, "%s%s%s", directory, length && directory[length - 1] == '/' ? "" : "/", name);
}

/* That it was read. 0 or -ENOMEM. */
static int config_note_file(struct config_reader *reader, const char *path)
{
	struct config *config = reader->config;
	struct config_file *file = arena_alloc(&config->arena, sizeof *file);

	if (!file)
		return -ENOMEM;
	*file = (struct config_file){.path = path, .bytes = reader->length};
	*config->last_file = file;
	config->last_file = &file->next;
	return 0;
}

/* --- documents --- */

/* Whether there is room for one more; says so once when there is none. */
static bool config_has_room(struct config_reader *reader)
{
	if (!reader->full && reader->config->files == CONFIG_FILES_MOST) {
		reader->full = true;
		diagnostics_add(&reader->config->diagnostics, true, "more than %d configuration files", CONFIG_FILES_MOST);
	}
	return !reader->full;
}

/* `given` is what the user wrote of it: "--config " or "". The descriptor is closed. 0 or -ENOMEM. */
static int config_read_documents(struct config_reader *reader, const char *given, const char *path, int fd,
                                 const struct stat *status)
{
	struct config *config = reader->config;
	size_t rest = BYTES_MOST - config->bytes, most = rest < YAML_BYTES_MOST ? rest : YAML_BYTES_MOST;
	int result = config_read_descriptor(reader, fd, status, most);

	if (result == -ENOMEM)
		return result;
	if (result == -EFBIG && most == rest) {
		reader->full = true;
		diagnostics_add(&config->diagnostics, true, "%s%s: all configuration files together are larger than %d MiB", given,
		                path, BYTES_MOST >> 20);
	} else if (result == -EFBIG) {
		diagnostics_add(&config->diagnostics, true, "%s%s: larger than %d MiB", given, path, YAML_BYTES_MOST >> 20);
	} else if (result) {
		diagnostics_add(&config->diagnostics, true, "%s%s: %s", given, path, config_problem(result));
	} else {
		config->files++;
		config->bytes += reader->length;
		result = config_note_file(reader, path);
		if (!result)
			result = manifest_read(config->catalog, &config->diagnostics, path, reader->bytes, reader->length);
	}
	return result == -ENOMEM ? result : 0;
}

/* --- directories --- */

bool config_reads(const char *name)
{
	static const char *const endings[] = {".yaml", ".yml", ".json"};
	size_t length = strlen(name);

	for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
		size_t ending = strlen(endings[i]);

		if (*name != '.' && length > ending && strcmp(name + length - ending, endings[i]) == 0)
			return true;
	}
	return false;
}

static int config_compare(const void *left, const void *right)
{
	return strcmp(*(char *const *)left, *(char *const *)right);
}

static int config_keep_name(struct config_names *names, const char *name)
{
	if (names->count == names->capacity) {
		size_t capacity = names->capacity ? names->capacity * 2 : 64;
		char **items = realloc(names->items, capacity * sizeof *items);

		if (!items)
			return -ENOMEM;
		names->items = items;
		names->capacity = capacity;
	}
	names->items[names->count] = strdup(name);
	return names->items[names->count] ? (names->count++, 0) : -ENOMEM;
}

static bool config_is_directory(DIR *directory, const struct dirent *entry)
{
	struct stat status;

	if (entry->d_type != DT_UNKNOWN && entry->d_type != DT_LNK)
		return entry->d_type == DT_DIR;
	return !fstatat(dirfd(directory), entry->d_name, &status, 0) && S_ISDIR(status.st_mode);
}

/* What is to be read, in order; one name more than allowed tells that there are too many. Of the others the least. */
static int config_list(DIR *directory, struct config_names *names, char other[static NAME_MAX + 1])
{
	const struct dirent *entry;

	other[0] = '\0';
	for (errno = 0; names->count <= CONFIG_FILES_MOST && (entry = readdir(directory)); errno = 0) {
		if (entry->d_name[0] == '.' || config_is_directory(directory, entry))
			continue;
		if (config_reads(entry->d_name)) {
			if (config_keep_name(names, entry->d_name))
				return -ENOMEM;
		} else if (!other[0] || strcmp(entry->d_name, other) < 0) {
			memcpy(other, entry->d_name, strlen(entry->d_name) + 1);
		}
	}
	if (errno)
		return -errno;
	if (names->count)
		qsort(names->items, names->count, sizeof *names->items, config_compare);
	return 0;
}

static int config_read_entry(struct config_reader *reader, const char *path, const char *name)
{
	const char *full = config_join(reader, path, name);
	struct stat status;
	int fd;

	if (!full)
		return -ENOMEM;
	fd = config_open(full, &status);
	if (fd >= 0)
		return config_read_documents(reader, "", full, fd, &status);
	diagnostics_add(&reader->config->diagnostics, true, "%s: %s", full, config_problem(fd));
	return 0;
}

/* The descriptor is closed. 0 or -ENOMEM. */
static int config_read_directory(struct config_reader *reader, const char *path, int fd)
{
	struct config_names names = {0};
	char other[NAME_MAX + 1];
	DIR *directory = fdopendir(fd);
	int result;

	if (!directory) {
		close(fd);
		return -ENOMEM;
	}
	result = config_list(directory, &names, other);
	if (result && result != -ENOMEM) {
		diagnostics_add(&reader->config->diagnostics, true, "--config %s: %s", path, config_problem(result));
		result = 0;
	} else if (!result && other[0]) {
		diagnostics_add(&reader->config->diagnostics, false,
		                "--config %s: files such as %s are not read, only names ending in .yaml, .yml or .json", path,
		                other);
	} else if (!result && !names.count) {
		diagnostics_add(&reader->config->diagnostics, false,
		                "--config %s: empty: no file there has a name ending in .yaml, .yml or .json", path);
	}
	for (size_t i = 0; i < names.count && !result && config_has_room(reader); i++)
		result = config_read_entry(reader, path, names.items[i]);
	while (names.count)
		free(names.items[--names.count]);
	free(names.items);
	closedir(directory);
	return result;
}

static int config_read_given(struct config_reader *reader, const char *path)
{
	struct stat status;
	int fd;

	if (!config_has_room(reader))
		return 0;
	fd = config_open(path, &status);
	if (fd < 0) {
		diagnostics_add(&reader->config->diagnostics, true, "--config %s: %s", path, config_problem(fd));
		return 0;
	}
	return S_ISDIR(status.st_mode) ? config_read_directory(reader, path, fd)
	                               : config_read_documents(reader, "--config ", path, fd, &status);
}

/* --- our own pod --- */

typedef int config_podinfo_read(struct podinfo *podinfo, struct arena *arena, struct diagnostics *diagnostics, const char *file,
                                const char *bytes, size_t length);

static int config_read_podinfo(struct config_reader *reader, const char *path, config_podinfo_read *read)
{
	struct config *config = reader->config;
	int result = config_read_path(reader, path, POD_BYTES_MOST);

	if (!result)
		result = config_note_file(reader, path);
	if (!result)
		return read(&config->podinfo, &config->arena, &config->diagnostics, path, reader->bytes, reader->length);
	if (result == -ENOMEM)
		return result;
	diagnostics_add(&config->diagnostics, result != -ENOENT, "--pod-info: %s: %s", path, config_problem(result));
	return 0;
}

static int config_read_pod(struct config_reader *reader, const char *directory, const struct config *before)
{
	struct config *config = reader->config;
	const char *annotations = config_join(reader, directory, "annotations");
	const char *labels = config_join(reader, directory, "labels");
	int result;

	if (!annotations || !labels)
		return -ENOMEM;
	result = config_read_podinfo(reader, annotations, podinfo_read_annotations);
	if (!result)
		result = config_read_podinfo(reader, labels, podinfo_read_labels);
	config->pod.file = annotations;
	return result ? result
	              : annotations_apply_pod(&config->arena, &config->diagnostics, &config->pod, config->podinfo.annotations,
	                                      config->podinfo.annotation_count, before ? before->pod.annotated : NULL);
}

static bool config_is_label(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		bool inside = i > 0 && i + 1 < length;

		if (!(text[i] >= 'a' && text[i] <= 'z') && !(text[i] >= '0' && text[i] <= '9') && !(inside && text[i] == '-'))
			return false;
	}
	return length > 0 && length <= LABEL_MOST;
}

/* The service account's, without the blanks around it; "default" when there is none. */
static const char *config_account_namespace(struct config_reader *reader)
{
	struct config *config = reader->config;
	int result = config_read_path(reader, CONFIG_NAMESPACE_FILE, NAMESPACE_BYTES_MOST);
	const char *start, *end;

	if (result == -ENOENT || result == -ENOTDIR)
		return "default";
	if (result) {
		diagnostics_add(&config->diagnostics, false, "%s: %s; our namespace is taken to be default", CONFIG_NAMESPACE_FILE,
		                config_problem(result));
		return "default";
	}
	start = reader->bytes;
	end = start + reader->length;
	while (start < end && strchr(" \t\r\n", *start))
		start++;
	while (end > start && strchr(" \t\r\n", end[-1]))
		end--;
	if (config_is_label(start, (size_t)(end - start)))
		return arena_text(&config->arena, start, (size_t)(end - start));
	diagnostics_add(&config->diagnostics, false, "%s: \"%.*s\" is no namespace; ours is taken to be default",
	                CONFIG_NAMESPACE_FILE, (int)(end - start), start);
	return "default";
}

static int config_find_namespace(struct config_reader *reader, const char *given)
{
	struct config *config = reader->config;

	if (given && !config_is_label(given, strlen(given)))
		diagnostics_add(&config->diagnostics, true,
		                "--namespace %s: not a namespace: at most %d lower-case letters, digits and '-' inside", given,
		                LABEL_MOST);
	config->namespace = given ? arena_text(&config->arena, given, strlen(given)) : config_account_namespace(reader);
	return config->namespace ? 0 : -ENOMEM;
}

/* --- all of it --- */

int config_load(struct config **out, const struct config_paths *paths, const struct config *before)
{
	struct config *config = calloc(1, sizeof *config);
	struct config_reader reader = {.config = config};
	int result;

	if (!config)
		return -ENOMEM;
	atomic_init(&config->users, 1);
	config->diagnostics.arena = &config->arena;
	config->last_file = &config->first_file;
	config->pod = (struct object){.kind = KIND_POD, .namespace = "", .name = "", .file = "", .created = INT64_MAX};
	config->catalog = catalog_new();
	result = config->catalog ? config_find_namespace(&reader, paths->namespace) : -ENOMEM;
	for (size_t i = 0; i < paths->count && !result; i++)
		result = config_read_given(&reader, paths->files[i]);
	if (!result && paths->pod_info)
		result = config_read_pod(&reader, paths->pod_info, before);
	free(reader.bytes);
	if (result)
		config_unref(config);
	else
		*out = config;
	return result;
}

struct config *config_ref(struct config *config)
{
	atomic_fetch_add_explicit(&config->users, 1, memory_order_relaxed);
	return config;
}

void config_unref(struct config *config)
{
	if (!config || atomic_fetch_sub_explicit(&config->users, 1, memory_order_acq_rel) != 1)
		return;
	catalog_free(config->catalog);
	arena_free(&config->arena);
	free(config);
}
