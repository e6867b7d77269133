/* lapse-proxy inject: whatever YAML comes in is refused with a sentence, or comes out as what it was with two containers more. Doing
 * it again changes nothing; taking out again gives what taking out of the input gives. The first byte chooses flags. */
#include "tests/fuzz/fuzz.h"

#include "lib/arena.h"
#include "proxy/config/yaml.h"
#include "proxy/inject/inject.h"

enum { FLAGS = 5 };

static int run(unsigned flags, int remove, const char *bytes, size_t size, char **out, size_t *length)
{
	static const char *const words[FLAGS] = {"--ordinary", "--close-wait-timeout=1h", "--timeout-request=9s", "--config-map=routes",
	                                         "--skip-inbound-ports=25"};
	char *argv[FLAGS + 4] = {(char *)"lapse-proxy", (char *)"inject"}, *said = NULL;
	size_t said_length;
	int argc = 2;
	FILE *in = fmemopen((void *)bytes, size ? size : 1, "r"), *to = open_memstream(out, length);
	FILE *errors = open_memstream(&said, &said_length);

	HOLDS(in && to && errors);
	if (!size)
		HOLDS(fgetc(in) != 256);
	for (int i = 0; i < FLAGS; i++)
		if (flags >> i & 1)
			argv[argc++] = (char *)words[i];
	if (remove)
		argv[argc++] = (char *)"--remove";
	int status = inject_run(argc, argv, NULL, in, to, errors);
	fclose(in);
	fclose(to);
	fclose(errors);
	HOLDS(status == 0 || status == INJECT_REFUSED);
	HOLDS(status == 0 ? *length > 0 : *length == 0);
	HOLDS(!status || said_length);
	HOLDS(!strstr(said, "would not read back"));
	free(said);
	return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *once, *twice, *back, *plain;
	size_t once_length, twice_length, back_length, plain_length;

	if (size < 2)
		return 0;
	unsigned flags = data[0];
	data++;
	size--;
	uint8_t *bytes = exact_copy(data, size);
	if (run(flags, 0, (const char *)bytes, size, &once, &once_length) == 0) {
		HOLDS(run(flags, 0, once, once_length, &twice, &twice_length) == 0);
		HOLDS(once_length == twice_length && memcmp(once, twice, once_length) == 0);
		HOLDS(run(flags, 1, once, once_length, &back, &back_length) == 0);
		HOLDS(run(flags, 1, (const char *)bytes, size, &plain, &plain_length) == 0);
		struct arena arena = {0};
		struct yaml_node *a = NULL, *b = NULL;
		struct yaml_error error;
		HOLDS(yaml_parse_as_written(&arena, back, back_length, &a, &error) == 0);
		HOLDS(yaml_parse_as_written(&arena, plain, plain_length, &b, &error) == 0);
		HOLDS(yaml_same(a, b));
		arena_free(&arena);
		free(twice);
		free(back);
		free(plain);
	}
	free(once);
	free(bytes);
	return 0;
}
