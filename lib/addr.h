#ifndef LAPSE_LIB_ADDR_H
#define LAPSE_LIB_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* An IPv4 or IPv6 address with a port. IPv4-mapped IPv6 addresses are always held as IPv4. */
struct addr {
	uint8_t bytes[16]; /* network order; IPv4 uses the first four, the rest are 0 */
	uint32_t scope;    /* IPv6 scope id, else 0 */
	uint16_t port;     /* host order */
	uint8_t family;    /* AF_INET, AF_INET6; AF_UNSPEC = none */
};

struct prefix {
	struct addr addr; /* port 0, host bits cleared */
	uint8_t length;
};

/* "[2001:db8::1]:65535" and a scope */
#define ADDR_TEXT_SIZE 80
#define PREFIX_TEXT_SIZE 64

/* Returns 0, or -EAFNOSUPPORT for another family. */
int addr_from_sockaddr(const struct sockaddr *sockaddr, struct addr *out);

/* Fills a sockaddr_in or sockaddr_in6 and returns its length. */
socklen_t addr_to_sockaddr(const struct addr *addr, struct sockaddr_storage *out);

/* "10.0.0.1:80", "[::1]:80"; without the port: "10.0.0.1", "::1". Returns out. */
const char *addr_format(const struct addr *addr, char out[static ADDR_TEXT_SIZE]);
const char *addr_format_host(const struct addr *addr, char out[static ADDR_TEXT_SIZE]);

/* "10.0.0.1", "::1" (port 0), and "10.0.0.1:80", "[::1]:80". Port 1–65535. 0 or -EINVAL, *out untouched on failure. */
int addr_parse_host(const char *text, struct addr *out);
int addr_parse(const char *text, struct addr *out);

/* Address and port; address alone. */
bool addr_equal(const struct addr *a, const struct addr *b);
bool addr_same_host(const struct addr *a, const struct addr *b);
/* Spreads address and port over 32 bits, differently in every run of a program: who chooses addresses cannot make chains long. */
uint32_t addr_hash(const struct addr *addr);
/* 127.0.0.0/8 and ::1; 0.0.0.0 and ::. */
bool addr_is_loopback(const struct addr *addr);
bool addr_is_unspecified(const struct addr *addr);

/* "10.0.0.0/8", "fd00::/8"; a bare address is a /32 or /128. Host bits set ("10.0.0.1/8") are accepted and cleared.
 * 0 or -EINVAL, *out untouched on failure. */
int addr_prefix_parse(const char *text, struct prefix *out);
const char *addr_prefix_format(const struct prefix *prefix, char out[static PREFIX_TEXT_SIZE]);
bool addr_prefix_contains(const struct prefix *prefix, const struct addr *addr);

#endif
