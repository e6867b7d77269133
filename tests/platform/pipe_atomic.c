/* A write of at most PIPE_BUF bytes to a non-blocking pipe is taken whole or not at all, however full the pipe is: a log line
 * can be dropped but never torn. */
#include "platform.h"
#include <limits.h>

/* Fills the pipe with lines of `size`, reading `gulp` bytes whenever it is full. The first torn write, or 0. */
static ssize_t torn(size_t size, size_t gulp)
{
	static const char line[PIPE_BUF];
	char sink[PIPE_BUF];
	int pipe_fd[2];
	ssize_t result = 0;
	NEED(pipe2(pipe_fd, O_CLOEXEC | O_NONBLOCK) == 0);
	for (int refused = 0; refused < 64 && result == 0;) {
		ssize_t n = write(pipe_fd[1], line, size);
		if (n >= 0 && n != (ssize_t)size)
			result = n;
		if (n < 0 && errno == EAGAIN) {
			refused++;
			NEED(read(pipe_fd[0], sink, gulp) > 0);
		} else if (n < 0) {
			result = -errno;
		}
	}
	close(pipe_fd[0]);
	close(pipe_fd[1]);
	return result;
}

int main(void)
{
	struct platform p = platform_begin("pipe_atomic", false);
	const size_t sizes[] = {1, 100, 999, 2048, 4000, PIPE_BUF - 1, PIPE_BUF}, gulps[] = {1, 77, 1000, PIPE_BUF};
	for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
		for (size_t g = 0; g < sizeof gulps / sizeof *gulps; g++) {
			ssize_t n = torn(sizes[s], gulps[g]);
			if (n != 0)
				verdict(&p, "whole_or_nothing", "%zu bytes with reads of %zu: write() gave %zd", sizes[s], gulps[g], n);
		}
	if (!p.failed)
		verdict(&p, "whole_or_nothing", NULL);
	return platform_end(&p);
}
