#ifndef LAPSE_INIT_NETLINK_H
#define LAPSE_INIT_NETLINK_H

#include <stddef.h>
#include <stdint.h>

struct nlattr;
struct nlmsghdr;

/* A socket to the kernel's netfilter of this network namespace; the door to libmnl. */
struct netlink;

/* What the kernel objected to. */
struct netlink_error {
	int code;          /* -errno */
	uint32_t sequence; /* of the message refused */
	uint32_t offset;   /* of the attribute at fault from the start of that message, 0 = unknown */
	char message[128]; /* the kernel's own words, "" = none */
};

/* Called for each message that is neither an error nor an end; returns 0 or -errno to stop with. */
typedef int netlink_each(const struct nlmsghdr *message, void *context);

/* 0 or -errno: -EPROTONOSUPPORT the kernel has no nfnetlink. */
int netlink_open(struct netlink **out);
void netlink_close(struct netlink *netlink);

/* Sends whole messages in one go and takes every answer; `each` may be NULL. 0, the first error the kernel reported
 * (then *error holds it), or another -errno with error->code 0. */
int netlink_exchange(struct netlink *netlink, const void *bytes, size_t length, netlink_each *each, void *context,
                     struct netlink_error *error);

/* Joins a multicast group (NFNLGRP_…), whose messages then wait in a queue of `bytes`. 0 or -errno. */
int netlink_join(struct netlink *netlink, unsigned group, int bytes);
/* To poll; still the netlink's. */
int netlink_descriptor(const struct netlink *netlink);
/* Takes messages that wait, without waiting for any and not for ever. 0 or the first failure: -ENOBUFS, some were lost. */
int netlink_drain(struct netlink *netlink, netlink_each *each, void *context);

/* Starts a message at `at`: netlink header and netfilter header. `resource` matters to batch begin and end only. */
struct nlmsghdr *netlink_begin(void *at, uint16_t type, uint16_t flags, uint32_t sequence, uint8_t family, uint16_t resource);

/* Attributes of a message under construction; the caller has made room. Numbers go in network order. */
void netlink_put_u8(struct nlmsghdr *message, uint16_t type, uint8_t value);
void netlink_put_u16(struct nlmsghdr *message, uint16_t type, uint16_t value);
void netlink_put_u32(struct nlmsghdr *message, uint16_t type, uint32_t value);
void netlink_put_string(struct nlmsghdr *message, uint16_t type, const char *value);
struct nlattr *netlink_nest_begin(struct nlmsghdr *message, uint16_t type);
void netlink_nest_end(struct nlmsghdr *message, struct nlattr *nest);

/* Finds an attribute behind the netfilter header, or inside a nest; NULL when it is not there. */
const struct nlattr *netlink_find(const struct nlmsghdr *message, uint16_t type);
const struct nlattr *netlink_find_nested(const struct nlattr *nest, uint16_t type);
/* Calls `each` for every attribute of a nest until it returns non-zero; returns that. */
int netlink_each_nested(const struct nlattr *nest, int (*each)(const struct nlattr *attribute, void *context), void *context);
/* The bytes of an attribute; those of a string end with NUL. */
const void *netlink_bytes(const struct nlattr *attribute, size_t *length);
/* 0 and *value, or -EINVAL when the attribute has another size. */
int netlink_get_u32(const struct nlattr *attribute, uint32_t *value);

#endif
