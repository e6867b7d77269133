#include "init/tw_reuse.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"

static const char tw_reuse_path[] = "/proc/sys/net/ipv4/tcp_tw_reuse";

int tw_reuse_read(void)
{
	int fd = open(tw_reuse_path, O_RDONLY | O_CLOEXEC), value = -EINVAL;
	char digit;

	if (fd < 0)
		return -errno;
	if (read(fd, &digit, 1) == 1 && digit >= '0' && digit <= '2')
		value = digit - '0';
	close(fd);
	return value;
}

static int tw_reuse_write(void)
{
	int fd = open(tw_reuse_path, O_WRONLY | O_CLOEXEC), result;

	if (fd < 0)
		return -errno;
	result = write(fd, "1", 1) == 1 ? 0 : -errno;
	close(fd);
	return result;
}

void tw_reuse_apply(struct log *log)
{
	int before = tw_reuse_read(), result, after;
	struct log_line line;

	if (before == 1)
		return;
	result = before < 0 ? before : tw_reuse_write();
	after = tw_reuse_read();
	if (!result && after != 1)
		result = -EIO;
	if (result) {
		log_message(log, LOG_INFO,
		            "net.ipv4.tcp_tw_reuse could not be set to 1: %s; without it lapse-proxy can open about 1000 short connections "
		            "a second to one address and port",
		            strerror(-result));
		return;
	}
	if (!log_wants(log, LOG_INFO))
		return;
	log_begin(&line, log, LOG_INFO, "net.ipv4.tcp_tw_reuse set");
	log_number(&line, "old", before);
	log_number(&line, "new", after);
	log_end(&line);
}

void tw_reuse_print(FILE *to)
{
	static const char *const meaning[] = {"a local port is used again 60 s after its connection ended",
	                                      "a local port is used again 1 s after its connection ended",
	                                      "a local port is used again 60 s after its connection ended, on loopback 1 s"};
	int value = tw_reuse_read();

	if (value >= 0)
		fprintf(to, "net.ipv4.tcp_tw_reuse %d  (%s)\n", value, meaning[value]);
}
