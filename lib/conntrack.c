#include "lib/conntrack.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CONNTRACK_PATH_SIZE = 128 };

static const struct {
	const char *name, *file; /* file: behind nf_conntrack_tcp_, NULL = none */
} conntrack_states[CONNTRACK_STATE_COUNT] = {
	[CONNTRACK_SYN_SENT] = {"syn_sent", "timeout_syn_sent"},
	[CONNTRACK_SYN_RECV] = {"syn_recv", "timeout_syn_recv"},
	[CONNTRACK_ESTABLISHED] = {"established", "timeout_established"},
	[CONNTRACK_FIN_WAIT] = {"fin_wait", "timeout_fin_wait"},
	[CONNTRACK_CLOSE_WAIT] = {"close_wait", "timeout_close_wait"},
	[CONNTRACK_LAST_ACK] = {"last_ack", "timeout_last_ack"},
	[CONNTRACK_TIME_WAIT] = {"time_wait", "timeout_time_wait"},
	[CONNTRACK_CLOSE] = {"close", "timeout_close"},
	[CONNTRACK_SYN_SENT2] = {"syn_sent2", NULL},
	[CONNTRACK_RETRANS] = {"retrans", "timeout_max_retrans"},
	[CONNTRACK_UNACK] = {"unack", "timeout_unacknowledged"},
};

const char *conntrack_state_name(enum conntrack_state state)
{
	return conntrack_states[state].name;
}

enum conntrack_state conntrack_state_find(const char *name)
{
	int state = 0;

	while (state < CONNTRACK_STATE_COUNT && strcmp(conntrack_states[state].name, name))
		state++;
	return (enum conntrack_state)state;
}

/* 0, -ENOENT when the state has no file. */
static int conntrack_state_setting(enum conntrack_state state, char *name, size_t size)
{
	if (!conntrack_states[state].file)
		return -ENOENT;
	snprintf(name, size, "nf_conntrack_tcp_%s", conntrack_states[state].file);
	return 0;
}

static int conntrack_open(const char *name, int flags)
{
	char path[CONNTRACK_PATH_SIZE];
	int fd;

	snprintf(path, sizeof path, "/proc/sys/net/netfilter/%s", name);
	fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int conntrack_setting_read(const char *name, uint64_t *value)
{
	char text[32], *end;
	int fd = conntrack_open(name, O_RDONLY);
	uint64_t number;
	ssize_t length;

	if (fd < 0)
		return fd;
	length = read(fd, text, sizeof text - 1);
	if (length < 0) {
		int error = -errno;
		close(fd);
		return error;
	}
	close(fd);
	text[length] = '\0';
	errno = 0;
	number = strtoull(text, &end, 10);
	if (errno || end == text || (*end != '\n' && *end != '\0'))
		return -EINVAL;
	*value = number;
	return 0;
}

int conntrack_timeout_read(enum conntrack_state state, uint32_t *seconds)
{
	char name[CONNTRACK_PATH_SIZE / 2];
	uint64_t value = 0;
	int error = conntrack_state_setting(state, name, sizeof name);

	if (!error)
		error = conntrack_setting_read(name, &value);
	if (!error && value > UINT32_MAX)
		error = -ERANGE;
	if (!error)
		*seconds = (uint32_t)value;
	return error;
}

int conntrack_timeout_write(enum conntrack_state state, uint32_t seconds)
{
	char name[CONNTRACK_PATH_SIZE / 2], text[16];
	int error = conntrack_state_setting(state, name, sizeof name), fd, length;

	if (error)
		return error;
	fd = conntrack_open(name, O_WRONLY);
	if (fd < 0)
		return fd;
	length = snprintf(text, sizeof text, "%" PRIu32, seconds);
	if (write(fd, text, (size_t)length) < 0)
		error = -errno;
	close(fd);
	return error;
}
