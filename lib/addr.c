#include "lib/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>

static const uint8_t addr_mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/* IPv4-mapped becomes IPv4. */
static void addr_unmap(struct addr *addr)
{
	if (addr->family != AF_INET6 || memcmp(addr->bytes, addr_mapped, sizeof addr_mapped) != 0)
		return;
	memmove(addr->bytes, addr->bytes + sizeof addr_mapped, 4);
	memset(addr->bytes + 4, 0, sizeof addr->bytes - 4);
	addr->family = AF_INET;
	addr->scope = 0;
}

int addr_from_sockaddr(const struct sockaddr *sockaddr, struct addr *out)
{
	struct addr addr = {.family = (uint8_t)sockaddr->sa_family};

	if (sockaddr->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)sockaddr;
		memcpy(addr.bytes, &in->sin_addr, 4);
		addr.port = ntohs(in->sin_port);
	} else if (sockaddr->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const void *)sockaddr;
		memcpy(addr.bytes, &in6->sin6_addr, 16);
		addr.port = ntohs(in6->sin6_port);
		addr.scope = in6->sin6_scope_id;
		addr_unmap(&addr);
	} else {
		return -EAFNOSUPPORT;
	}
	*out = addr;
	return 0;
}

socklen_t addr_to_sockaddr(const struct addr *addr, struct sockaddr_storage *out)
{
	memset(out, 0, sizeof *out);
	if (addr->family == AF_INET6) {
		struct sockaddr_in6 *in6 = (void *)out;
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(addr->port);
		in6->sin6_scope_id = addr->scope;
		memcpy(&in6->sin6_addr, addr->bytes, 16);
		return sizeof *in6;
	}
	struct sockaddr_in *in = (void *)out;
	in->sin_family = AF_INET;
	in->sin_port = htons(addr->port);
	memcpy(&in->sin_addr, addr->bytes, 4);
	return sizeof *in;
}

const char *addr_format_host(const struct addr *addr, char out[static ADDR_TEXT_SIZE])
{
	if (addr->family != AF_INET && addr->family != AF_INET6)
		return strcpy(out, "none");
	inet_ntop(addr->family, addr->bytes, out, ADDR_TEXT_SIZE);
	if (addr->scope != 0) {
		size_t length = strlen(out);
		snprintf(out + length, ADDR_TEXT_SIZE - length, "%%%u", addr->scope);
	}
	return out;
}

const char *addr_format(const struct addr *addr, char out[static ADDR_TEXT_SIZE])
{
	char host[ADDR_TEXT_SIZE];

	addr_format_host(addr, host);
	if (addr->family == AF_INET6)
		snprintf(out, ADDR_TEXT_SIZE, "[%.60s]:%u", host, addr->port);
	else
		snprintf(out, ADDR_TEXT_SIZE, "%.60s:%u", host, addr->port);
	return out;
}

/* Digits only, the whole of text, least … greatest. */
static int addr_parse_number(const char *text, uint64_t least, uint64_t greatest, uint64_t *out)
{
	uint64_t value = 0;

	if (*text == '\0')
		return -EINVAL;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		value = value * 10 + (uint64_t)(*text - '0');
		if (value > greatest)
			return -EINVAL;
	}
	if (value < least)
		return -EINVAL;
	*out = value;
	return 0;
}

/* Exactly as written: a mapped address stays IPv6. */
static int addr_parse_raw(const char *text, size_t length, struct addr *out)
{
	char host[ADDR_TEXT_SIZE];
	struct addr addr = {0};

	if (length >= sizeof host)
		return -EINVAL;
	memcpy(host, text, length);
	host[length] = '\0';

	char *scope = strchr(host, '%');
	if (scope != NULL) {
		uint64_t number;
		*scope = '\0';
		if (addr_parse_number(scope + 1, 1, UINT32_MAX, &number) != 0)
			return -EINVAL;
		addr.scope = (uint32_t)number;
	}
	if (inet_pton(AF_INET6, host, addr.bytes) == 1)
		addr.family = AF_INET6;
	else if (scope == NULL && inet_pton(AF_INET, host, addr.bytes) == 1)
		addr.family = AF_INET;
	else
		return -EINVAL;
	*out = addr;
	return 0;
}

static int addr_parse_part(const char *text, size_t length, struct addr *out)
{
	struct addr addr;

	if (addr_parse_raw(text, length, &addr) != 0)
		return -EINVAL;
	addr_unmap(&addr);
	*out = addr;
	return 0;
}

int addr_parse_host(const char *text, struct addr *out)
{
	return addr_parse_part(text, strlen(text), out);
}

int addr_parse(const char *text, struct addr *out)
{
	const char *colon = strrchr(text, ':');
	struct addr addr;
	uint64_t port;

	if (colon == NULL || addr_parse_number(colon + 1, 1, 65535, &port) != 0)
		return -EINVAL;
	if (text[0] == '[') {
		/* Only IPv6 goes into brackets, and an IPv6 address with a port only comes in brackets. */
		if (colon[-1] != ']' || memchr(text, ':', (size_t)(colon - text)) == NULL ||
		    addr_parse_part(text + 1, (size_t)(colon - text) - 2, &addr) != 0)
			return -EINVAL;
	} else {
		if (memchr(text, ':', (size_t)(colon - text)) != NULL || addr_parse_part(text, (size_t)(colon - text), &addr) != 0)
			return -EINVAL;
	}
	addr.port = (uint16_t)port;
	*out = addr;
	return 0;
}

bool addr_same_host(const struct addr *a, const struct addr *b)
{
	return a->family == b->family && a->scope == b->scope && memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

bool addr_equal(const struct addr *a, const struct addr *b)
{
	return a->port == b->port && addr_same_host(a, b);
}

uint32_t addr_hash(const struct addr *addr)
{
	uint64_t key[2], high, low, rest = (uint64_t)addr->family << 56 | (uint64_t)addr->scope << 16 | addr->port;

	/* The kernel gives every program sixteen bytes by chance (getauxval(3)). */
	memcpy(key, (const void *)getauxval(AT_RANDOM), sizeof key);
	memcpy(&high, addr->bytes, 8);
	memcpy(&low, addr->bytes + 8, 8);
	/* Odd factors that nobody knows spread what nobody else can foresee (multiply-shift); then the well-mixed upper bits come down. */
	uint64_t hash = high * (key[0] | 1) + low * (key[1] | 1) + rest * ((key[0] ^ key[1] >> 1) | 1);
	hash = (hash ^ hash >> 32) * UINT64_C(0x9e3779b97f4a7c15);
	return (uint32_t)(hash >> 32);
}

bool addr_is_loopback(const struct addr *addr)
{
	static const uint8_t loopback[16] = {[15] = 1};

	if (addr->family == AF_INET)
		return addr->bytes[0] == 127;
	return addr->family == AF_INET6 && memcmp(addr->bytes, loopback, sizeof loopback) == 0;
}

bool addr_is_unspecified(const struct addr *addr)
{
	static const uint8_t unspecified[16];

	return addr->family != AF_UNSPEC && memcmp(addr->bytes, unspecified, sizeof unspecified) == 0;
}

/* The first byte keeps its upper bits: 0 <= length < 8. */
static uint8_t addr_prefix_mask(unsigned int length)
{
	return (uint8_t)(0xff00u >> length);
}

static void addr_prefix_clear_host_bits(struct prefix *prefix)
{
	unsigned int whole = prefix->length / 8;

	if (whole == sizeof prefix->addr.bytes)
		return;
	prefix->addr.bytes[whole] &= addr_prefix_mask(prefix->length % 8);
	memset(prefix->addr.bytes + whole + 1, 0, sizeof prefix->addr.bytes - whole - 1);
}

int addr_prefix_parse(const char *text, struct prefix *out)
{
	const char *slash = strchr(text, '/');
	struct prefix prefix = {0};

	size_t host_length = slash != NULL ? (size_t)(slash - text) : strlen(text);
	if (addr_parse_raw(text, host_length, &prefix.addr) != 0 || prefix.addr.scope != 0)
		return -EINVAL;
	uint64_t length = prefix.addr.family == AF_INET ? 32 : 128;
	if (slash != NULL && addr_parse_number(slash + 1, 0, length, &length) != 0)
		return -EINVAL;
	/* ::ffff:10.0.0.0/104 is 10.0.0.0/8; a shorter one reaches beyond the mapped addresses and stays IPv6. */
	if (prefix.addr.family == AF_INET6 && length >= 96) {
		addr_unmap(&prefix.addr);
		if (prefix.addr.family == AF_INET)
			length -= 96;
	}
	prefix.length = (uint8_t)length;
	addr_prefix_clear_host_bits(&prefix);
	*out = prefix;
	return 0;
}

const char *addr_prefix_format(const struct prefix *prefix, char out[static PREFIX_TEXT_SIZE])
{
	char host[ADDR_TEXT_SIZE];

	addr_format_host(&prefix->addr, host);
	snprintf(out, PREFIX_TEXT_SIZE, "%.48s/%u", host, prefix->length);
	return out;
}

bool addr_prefix_contains(const struct prefix *prefix, const struct addr *addr)
{
	unsigned int whole = prefix->length / 8, rest = prefix->length % 8;

	if (prefix->addr.family != addr->family || memcmp(prefix->addr.bytes, addr->bytes, whole) != 0)
		return false;
	return rest == 0 || ((prefix->addr.bytes[whole] ^ addr->bytes[whole]) & addr_prefix_mask(rest)) == 0;
}
