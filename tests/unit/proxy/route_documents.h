#ifndef LAPSE_TESTS_UNIT_PROXY_ROUTE_DOCUMENTS_H
#define LAPSE_TESTS_UNIT_PROXY_ROUTE_DOCUMENTS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/text.h"
#include "proxy/config/catalog.h"
#include "proxy/config/diagnostics.h"
#include "proxy/config/manifest.h"

/* A route read from a document whose spec is on its line 4. */
struct route_document {
	struct catalog *catalog;
	const struct route *route; /* NULL when it was refused */
	char said[4096];           /* every diagnostic, a line each, without what is the same in all */
};

static inline void route_document_read(struct route_document *document, const char *kind, const char *spec)
{
	static const char *const kinds[] = {"HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute"};
	struct diagnostics diagnostics = {0};
	char bytes[65536], prefix[64];
	struct text said;

	document->catalog = catalog_new();
	assert_non_null(document->catalog);
	diagnostics.arena = &document->catalog->arena;
	int length = snprintf(bytes, sizeof bytes,
			      "{apiVersion: gateway.networking.k8s.io/v1,\nkind: %s,\nmetadata: {name: web},\n%s}", kind, spec);
	assert_true(length > 0 && (size_t)length < sizeof bytes);
	int result = manifest_read(document->catalog, &diagnostics, "f", bytes, (size_t)length);
	assert_int_equal(result != 0, diagnostics.errors > 0);

	text_init(&said, document->said, sizeof document->said);
	snprintf(prefix, sizeof prefix, "f:4: %s default/web: spec", kind);
	for (const struct diagnostic *line = diagnostics.first; line != NULL; line = line->next) {
		bool usual = strncmp(line->text, prefix, strlen(prefix)) == 0;
		text_printf(&said, "%s%s%s", said.length > 0 ? "\n" : "", line->error ? "" : "warning ",
			    line->text + (usual ? strlen(prefix) : 0));
	}
	document->route = NULL;
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (strcmp(kinds[i], kind) == 0)
			document->route = (const struct route *)document->catalog->objects[KIND_HTTP_ROUTE + i];
}

static inline void route_document_free(struct route_document *document)
{
	catalog_free(document->catalog);
}

/* What is said of documents: nothing where `said` is "". A row without errors is accepted. */
struct route_document_row {
	const char *kind, *spec, *said;
};

static inline void route_document_check(const struct route_document_row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct route_document document;
		route_document_read(&document, rows[i].kind, rows[i].spec);
		if (strcmp(document.said, rows[i].said) != 0)
			fail_msg("%s %s\nsays      %s\nexpected  %s", rows[i].kind, rows[i].spec, document.said, rows[i].said);
		route_document_free(&document);
	}
}

#define ROUTE_DOCUMENT_CHECK(rows) route_document_check(rows, sizeof(rows) / sizeof *(rows))

#endif
