#include "proxy/admin/admin_host.h"

#include <string.h>
#include <strings.h>

#include "lib/addr.h"
#include "lib/options.h"

enum { HOST_SIZE = 256 }; /* a name has at most 253 characters (RFC 1035) */

/* The host without its port and its last dot. False: it is too long to be a name. */
static bool admin_host_name(const char *host, char out[static HOST_SIZE])
{
	size_t length = strcspn(host, ":");

	if (length > 1 && host[length - 1] == '.')
		length--;
	if (length >= HOST_SIZE)
		return false;
	memcpy(out, host, length);
	out[length] = '\0';
	return true;
}

bool admin_host_is_plain(const char *host)
{
	struct addr addr;
	size_t length = strlen(host);
	char name[HOST_SIZE];

	if (admin_host_name(host, name) && strcasecmp(name, "localhost") == 0)
		return true;
	if (!addr_parse(host, &addr) || !addr_parse_host(host, &addr))
		return true;
	if (length < 2 || length > sizeof name || host[0] != '[' || host[length - 1] != ']')
		return false;
	memcpy(name, host + 1, length - 2);
	name[length - 2] = '\0';
	return !addr_parse_host(name, &addr);
}

unsigned admin_host_name_length(const char *names)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
	size_t length = strspn(names, plain);

	return length < HOST_SIZE && (!names[length] || names[length] == ',') ? (unsigned)length : 0;
}

/* Whether name ends in ".KIND.DOMAIN", behind at least as many labels; nobody but the cluster has names there. */
static bool admin_host_in_cluster(const char *name, const char *kind, const char *domain)
{
	size_t length = strlen(name), kind_length = strlen(kind), domain_length = strlen(domain);
	size_t end = kind_length + domain_length + 2;

	return length > end && name[length - domain_length - 1] == '.' && strcasecmp(name + length - domain_length, domain) == 0 &&
	       name[length - end] == '.' && strncasecmp(name + length - end + 1, kind, kind_length) == 0;
}

/* "10-1-2-3" or "fd00--7" as the first label: an address, with hyphens where it has dots or colons. */
static bool admin_host_is_dashed_address(const char *name)
{
	char text[ADDR_TEXT_SIZE];
	size_t length = strcspn(name, ".");
	struct addr addr;

	if (length >= sizeof text)
		return false;
	for (const char *separator = ".:"; *separator; separator++) {
		for (size_t i = 0; i < length; i++)
			text[i] = name[i] == '-' ? *separator : name[i];
		text[length] = '\0';
		if (!addr_parse_host(text, &addr))
			return true;
	}
	return false;
}

bool admin_host_is_ours(const char *host, const struct admin_host_names *names)
{
	char name[HOST_SIZE];
	size_t first = strcspn(names->hostname, ".");

	if (!admin_host_name(host, name) || !*name)
		return false;
	if (strcasecmp(name, names->hostname) == 0)
		return true;
	if (first && strncasecmp(name, names->hostname, first) == 0 &&
	    (!name[first] || (name[first] == '.' && admin_host_in_cluster(name + first, "svc", names->cluster_domain))))
		return true;
	if (admin_host_in_cluster(name, "pod", names->cluster_domain) && admin_host_is_dashed_address(name))
		return true;
	for (size_t i = 0; i < names->more->count; i++)
		for (const char *each = names->more->items[i]; *each; each += *each == ',') {
			size_t length = strcspn(each, ",");

			if (length == strlen(name) && strncasecmp(each, name, length) == 0)
				return true;
			each += length;
		}
	return false;
}
