#ifndef LAPSE_PROXY_WHY_WHY_LINE_H
#define LAPSE_PROXY_WHY_WHY_LINE_H

#include "proxy/why/why_fields.h"

/* Where in a line of a log a record of ours stands, whatever carried it here: kubectl ("[pod/NAME/CONTAINER] ", --timestamps), a
 * container runtime's file (CRI's "TIME stdout F ", of which those with P are joined; Docker's {"log":"…"}), compose ("NAME | "),
 * journald, or nothing. Pure but for what it keeps between lines. */

enum { WHY_LINE_MOST = 65536 }; /* bytes; a record has 4096 at most, and six times that where it is escaped */

/* What is kept of the lines before, one for each file. All zero at first, but too big for a stack. */
struct why_lines {
	char scratch[WHY_LINE_MOST];
	struct why_part {
		char bytes[WHY_LINE_MOST];
		size_t length;
		bool over; /* it is longer */
	} parts[2]; /* of CRI's stdout and stderr: a line whose end has not come yet */
};

struct why_line {
	struct why_slice record; /* bytes NULL: no record begins on this line */
	struct why_slice pod;    /* or what else the carrier calls the container; bytes NULL: it says nothing */
	bool part;               /* a part of a line, kept; the rest is to come */
	bool over;               /* the parts joined are too long */
};

/* A line without its newline. The slices lead into it or into `lines` and are good until the next call. */
void why_line_find(struct why_lines *lines, const char *bytes, size_t length, struct why_line *out);

#endif
