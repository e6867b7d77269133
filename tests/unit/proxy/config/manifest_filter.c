#include "proxy/config/manifest_filter.h"

#include "tests/unit/proxy/route_documents.h"

#define HTTP "HTTPRoute"
#define GRPC "GRPCRoute"
#define RULE(filters) "spec: {rules: [{filters: [" filters "]}]}"
#define BACKEND(filters) "spec: {rules: [{backendRefs: [{name: a, port: 80, filters: [" filters "]}]}]}"
#define AT ".rules[0].filters[0]"
#define REQUEST(body) "{type: RequestHeaderModifier, requestHeaderModifier: {" body "}}"
#define RESPONSE(body) "{type: ResponseHeaderModifier, responseHeaderModifier: {" body "}}"
#define REDIRECT(body) "{type: RequestRedirect, requestRedirect: {" body "}}"
#define REWRITE(body) "{type: URLRewrite, urlRewrite: {" body "}}"
#define EXTENSION "{type: ExtensionRef, extensionRef: {group: a, kind: B, name: c}}"
#define EIGHT(x) x ", " x ", " x ", " x ", " x ", " x ", " x ", " x

static void check_edits(const struct header_edits *edits)
{
	assert_non_null(edits);
	assert_int_equal(edits->set_count, 1);
	assert_string_equal(edits->set[0].name, "X-Set");
	assert_string_equal(edits->set[0].value, "1");
	assert_int_equal(edits->add_count, 2);
	assert_string_equal(edits->add[1].name, "x-more");
	assert_string_equal(edits->add[1].value, "3, 4");
	assert_int_equal(edits->remove_count, 1);
	assert_string_equal(edits->remove[0], "X-Gone");
}

#define EDITS "set: [{name: X-Set, value: '1'}], add: [{name: a, value: '2'}, {name: x-more, value: '3, 4'}], remove: [X-Gone]"

static void header_modifiers_are_read(void **state)
{
	static const char *const kinds[] = {HTTP, GRPC};
	struct route_document document;

	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		route_document_read(&document, kinds[i], RULE(REQUEST(EDITS) ", " RESPONSE(EDITS)));
		assert_string_equal(document.said, "");
		check_edits(document.route->rules[0].filters.request);
		check_edits(document.route->rules[0].filters.response);
		assert_false(document.route->rules[0].filters.unusable);
		route_document_free(&document);

		route_document_read(&document, kinds[i], BACKEND(RESPONSE(EDITS)));
		assert_string_equal(document.said, "");
		const struct route_rule *rule = &document.route->rules[0];
		assert_null(rule->filters.response);
		assert_null(rule->backends[0].filters.request);
		check_edits(rule->backends[0].filters.response);
		route_document_free(&document);
	}
}

static void redirects_are_read(void **state)
{
	struct route_document document;

	route_document_read(&document, HTTP, RULE(REDIRECT("")));
	assert_string_equal(document.said, "");
	const struct redirect *redirect = document.route->rules[0].filters.redirect;
	assert_null(redirect->scheme);
	assert_null(redirect->hostname);
	assert_int_equal(redirect->path, PATH_KEEP);
	assert_int_equal(redirect->port, 0);
	assert_int_equal(redirect->status, 302);
	route_document_free(&document);

	route_document_read(&document, HTTP, RULE(REDIRECT("scheme: http")));
	assert_string_equal(document.route->rules[0].filters.redirect->scheme, "http");
	route_document_free(&document);

	route_document_read(&document, HTTP,
			    RULE(REDIRECT("scheme: https, hostname: a.b, port: 8443, statusCode: 308, "
					  "path: {type: ReplaceFullPath, replaceFullPath: /x?y=z}")));
	assert_string_equal(document.said, "");
	redirect = document.route->rules[0].filters.redirect;
	assert_string_equal(redirect->scheme, "https");
	assert_string_equal(redirect->hostname, "a.b");
	assert_int_equal(redirect->path, PATH_REPLACE_FULL);
	assert_string_equal(redirect->path_value, "/x?y=z");
	assert_int_equal(redirect->port, 8443);
	assert_int_equal(redirect->status, 308);
	route_document_free(&document);
}

static void rewrites_are_read(void **state)
{
	struct route_document document;

	route_document_read(&document, HTTP,
			    RULE(REWRITE("hostname: a.b, path: {replacePrefixMatch: '', type: ReplacePrefixMatch}")));
	assert_string_equal(document.said, "");
	const struct filters *filters = &document.route->rules[0].filters;
	assert_string_equal(filters->rewrite_host, "a.b");
	assert_int_equal(filters->rewrite_path, PATH_REPLACE_PREFIX);
	assert_string_equal(filters->rewrite_value, "");
	route_document_free(&document);
}

static void what_is_not_carried_out(void **state)
{
	static const struct {
		const char *spec, *said, *unusable; /* NULL: requests go on */
		bool backend;
	} rows[] = {
	    {RULE("{type: RequestMirror, requestMirror: {backendRef: {name: a, port: 1}}}"),
	     "warning " AT ": RequestMirror is not carried out; requests go on without it", NULL, false},
	    {RULE("{type: CORS, cors: {}}"), "warning " AT ": CORS is not carried out; requests go on without it", NULL, false},
	    {RULE(EXTENSION),
	     "warning " AT ": ExtensionRef is not carried out; it must not be skipped, so requests get an error", "ExtensionRef", false},
	    {RULE("{type: ExternalAuth, externalAuth: {protocol: HTTP}}"),
	     "warning " AT ": ExternalAuth is not carried out; it must not be skipped, so requests get an error", "ExternalAuth", false},
	    {BACKEND(REDIRECT("")),
	     "warning .rules[0].backendRefs[0].filters[0]: RequestRedirect is not carried out on a backend; it must not be skipped, "
	     "so requests get an error",
	     "RequestRedirect", true},
	    {BACKEND(REWRITE("hostname: a")),
	     "warning .rules[0].backendRefs[0].filters[0]: URLRewrite is not carried out on a backend; it must not be skipped, so "
	     "requests get an error",
	     "URLRewrite", true},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct route_document document;
		route_document_read(&document, HTTP, rows[i].spec);
		assert_string_equal(document.said, rows[i].said);
		const struct route_rule *rule = &document.route->rules[0];
		const struct filters *filters = rows[i].backend ? &rule->backends[0].filters : &rule->filters;
		assert_int_equal(filters->unusable, rows[i].unusable != NULL);
		if (rows[i].unusable != NULL)
			assert_string_equal(filters->unusable_what, rows[i].unusable);
		route_document_free(&document);
	}
}

#define TYPES                                                                                                                      \
	"must be RequestHeaderModifier, ResponseHeaderModifier, RequestRedirect, URLRewrite, RequestMirror, CORS, ExternalAuth or " \
	"ExtensionRef"
#define PATH_VALUE                                                                                                                 \
	"should be empty, or a path that starts with \"/\": printable ASCII without blanks and \"#\"; requests of this rule get an error"
#define FULL(path) RULE(REWRITE("path: {type: ReplaceFullPath, replaceFullPath: '" path "'}"))

static void filters_are_checked(void **state)
{
	static const struct route_document_row rows[] = {
	    {HTTP, RULE("{type: Other}"), AT ".type: \"Other\": " TYPES},
	    {HTTP, RULE("{}"), AT ".type: this field is required"},
	    {GRPC, RULE(REDIRECT("")),
	     AT ".type: \"RequestRedirect\": must be RequestHeaderModifier, ResponseHeaderModifier, RequestMirror or ExtensionRef"},
	    {HTTP, RULE("{type: URLRewrite}"), AT ": must have urlRewrite with the type URLRewrite, and with no other"},
	    {HTTP, RULE("{type: URLRewrite, urlRewrite: null}"),
	     AT ": must have urlRewrite with the type URLRewrite, and with no other"},
	    {HTTP, RULE("{type: URLRewrite, urlRewrite: {}, cors: {}}"), AT ": must have cors with the type CORS, and with no other"},
	    {HTTP, RULE("{type: URLRewrite, urlRewrite: {}, other: {}}"), "warning " AT ".other: unknown field, ignored; known are type, requestHeaderModifier, "
	     "responseHeaderModifier, requestRedirect, urlRewrite, requestMirror, cors, externalAuth, extensionRef"},
	    {HTTP, RULE(REQUEST("") ", " REQUEST("")), ".rules[0].filters[1]: must not be a second RequestHeaderModifier"},
	    {HTTP, BACKEND(REQUEST("") ", " REQUEST("")),
	     ".rules[0].backendRefs[0].filters[1]: must not be a second RequestHeaderModifier"},
	    {HTTP, RULE("{type: CORS, cors: {}}, {type: CORS, cors: {}}"),
	     "warning " AT ": CORS is not carried out; requests go on without it\n"
	     ".rules[0].filters[1]: must not be a second CORS\n"
	     "warning .rules[0].filters[1]: CORS is not carried out; requests go on without it"},
	    {HTTP, RULE(REDIRECT("") ", " REWRITE("")), ".rules[0].filters: must not have both RequestRedirect and URLRewrite"},
	    {HTTP, RULE(EIGHT(REQUEST("")) ", " EIGHT(REQUEST("")) ", " REQUEST("")),
	     ".rules[0].filters: a list of 17 elements; at most 16 are accepted"},
	    {HTTP, RULE(REQUEST("set: [{name: a, value: b}], remove: [A]")),
	     AT ".requestHeaderModifier: \"A\": must be named once: a header takes one action"},
	    {HTTP, RULE(REQUEST("add: [{name: a, value: b}, {name: a, value: c}]")),
	     AT ".requestHeaderModifier: \"a\": must be named once: a header takes one action"},
	    {HTTP, RULE(REQUEST("add: [{name: a}]")), AT ".requestHeaderModifier.add[0].value: this field is required"},
	    {HTTP, RULE(REQUEST("set: [{name: a, value: \"b\\r\\nc: d\"}]")),
	     AT ".requestHeaderModifier.set[0].value: \"b??c: d\": must be 1 to 4096 bytes without control characters"},
	    {HTTP, RULE(REQUEST("remove: ['a:']")),
	     AT ".requestHeaderModifier.remove[0]: \"a:\": must be a name of 1 to 256 letters, digits and !#$%&'*+-.^_`|~"},
	    {HTTP, RULE(REQUEST("remove: [" EIGHT("a") ", " EIGHT("a") ", a]")),
	     AT ".requestHeaderModifier.remove: a list of 17 elements; at most 16 are accepted"},
	    {HTTP, RULE(REDIRECT("scheme: ftp")), AT ".requestRedirect.scheme: \"ftp\": must be http or https"},
	    {HTTP, RULE(REDIRECT("statusCode: 304")),
	     AT ".requestRedirect.statusCode: \"304\": must be 301, 302, 303, 307 or 308"},
	    {HTTP, RULE(REDIRECT("hostname: '*.a'")),
	     AT ".requestRedirect.hostname: \"*.a\": must be a hostname of lower-case letters, digits, '-' and '.', without wildcard "
		"and port, at most 253 bytes"},
	    {HTTP, RULE(REDIRECT("path: {type: Other}")),
	     AT ".requestRedirect.path.type: \"Other\": must be ReplaceFullPath or ReplacePrefixMatch"},
	    {HTTP, RULE(REDIRECT("path: {type: ReplaceFullPath}")),
	     AT ".requestRedirect.path: must have replaceFullPath with this type, and no replacePrefixMatch"},
	    {HTTP, RULE(REWRITE("path: {type: ReplacePrefixMatch, replaceFullPath: /a, replacePrefixMatch: /b}")),
	     AT ".urlRewrite.path: must have replacePrefixMatch with this type, and no replaceFullPath"},
	    {HTTP, FULL("/a b"), "warning " AT ".urlRewrite.path.replaceFullPath: \"/a b\": " PATH_VALUE},
	    {HTTP, FULL("a"), "warning " AT ".urlRewrite.path.replaceFullPath: \"a\": " PATH_VALUE},
	    {HTTP, FULL("/a#b"), "warning " AT ".urlRewrite.path.replaceFullPath: \"/a#b\": " PATH_VALUE},
	    {HTTP, FULL("/\xc3\xa4"), "warning " AT ".urlRewrite.path.replaceFullPath: \"/\xc3\xa4\": " PATH_VALUE},
	    {HTTP, FULL("/a"), ""},
	};

	ROUTE_DOCUMENT_CHECK(rows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(header_modifiers_are_read), cmocka_unit_test(redirects_are_read), cmocka_unit_test(rewrites_are_read),
	    cmocka_unit_test(what_is_not_carried_out),   cmocka_unit_test(filters_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
