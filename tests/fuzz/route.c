/* Requests against tables of routes: nothing is read behind a head, what is read of it lies in it, and the table's answer is
 * the one found by asking every match. The first byte chooses the table. */
#include "tests/fuzz/fuzz.h"

#include <stdbool.h>

#include "tests/unit/proxy/routes.h"

enum { TABLES = 16 };

static const struct routes *table_of(uint8_t number)
{
	static struct routes tables[TABLES];
	static struct arena arena;
	struct routes *routes = &tables[number % TABLES];

	if (!routes->table)
		routes_draw_all(routes, &arena, number % TABLES + 1);
	return routes;
}

static bool inside(struct slice slice, const uint8_t *head, size_t length)
{
	return slice.length == 0 ||
	       (slice.bytes >= head && slice.length <= length && (size_t)(slice.bytes - head) <= length - slice.length);
}

static void fields_are_inside(const struct route_request *request)
{
	struct slice name, value;
	size_t offset = 0, before = 0;

	while (route_next_field(request, &offset, &name, &value)) {
		HOLDS(offset > before && offset <= request->head.size);
		HOLDS(name.length && inside(name, request->head.fields, request->head.size));
		HOLDS(inside(value, request->head.fields, request->head.size));
		before = offset;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct route_request request;

	if (size < 1)
		return 0;
	size_t length = routes_read(&request, data + 1, size - 1);
	if (!length)
		return 0;
	uint8_t *head = exact_copy(data + 1, length);
	HOLDS(routes_read(&request, head, length) == length);
	HOLDS(inside(request.host, head, length) && inside(request.query, head, length));
	HOLDS(inside(request.path, head, length) || (request.path.length == 1 && *request.path.bytes == '/'));
	fields_are_inside(&request);
	HOLDS(routes_agree(table_of(data[0]), &request));
	free(head);
	return 0;
}
