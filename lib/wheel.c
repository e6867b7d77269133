#include "lib/wheel.h"

#include <stddef.h>
#include <stdlib.h>

/*
 * A timer lives on the level of the highest bit in which its instant differs from the wheel's own, `now`, six bits a level; in
 * the slot those six bits name. So whatever is on one level is due before anything on the levels above it, a level is read in
 * the order of its slots, and the earliest slot is found with two count-trailing-zeros. When `now` reaches the beginning of a
 * slot, its timers move to lower levels, or to `due`. Eleven levels cover every 64-bit instant.
 */
enum { WHEEL_BITS = 6, WHEEL_SLOTS = 1 << WHEEL_BITS, WHEEL_LEVELS = 11 };

struct wheel {
	uint64_t now;                    /* nothing in the slots begins at or before it */
	uint64_t occupied[WHEEL_LEVELS]; /* one bit a slot */
	uint32_t levels;                 /* one bit a level with any slot occupied */
	struct wheel_timer *due;
	struct wheel_timer *slots[WHEEL_LEVELS * WHEEL_SLOTS];
};

struct wheel *wheel_new(int64_t now)
{
	struct wheel *wheel = calloc(1, sizeof *wheel);

	if (wheel != NULL)
		wheel->now = now < 0 ? 0 : (uint64_t)now;
	return wheel;
}

void wheel_free(struct wheel *wheel)
{
	free(wheel);
}

static void wheel_push(struct wheel_timer **head, struct wheel_timer *timer)
{
	timer->next = *head;
	timer->link = head;
	if (timer->next != NULL)
		timer->next->link = &timer->next;
	*head = timer;
}

static void wheel_place(struct wheel *wheel, struct wheel_timer *timer)
{
	if (timer->due < 0 || (uint64_t)timer->due <= wheel->now) {
		wheel_push(&wheel->due, timer);
		return;
	}
	uint64_t due = (uint64_t)timer->due;
	unsigned int level = (63u - (unsigned int)__builtin_clzll(due ^ wheel->now)) / WHEEL_BITS;
	unsigned int slot = due >> (level * WHEEL_BITS) & (WHEEL_SLOTS - 1);

	wheel->occupied[level] |= UINT64_C(1) << slot;
	wheel->levels |= 1u << level;
	wheel_push(&wheel->slots[level * WHEEL_SLOTS + slot], timer);
}

static void wheel_mark_empty(struct wheel *wheel, size_t slot)
{
	unsigned int level = (unsigned int)(slot / WHEEL_SLOTS);

	wheel->occupied[level] &= ~(UINT64_C(1) << slot % WHEEL_SLOTS);
	if (wheel->occupied[level] == 0)
		wheel->levels &= ~(1u << level);
}

void wheel_cancel(struct wheel *wheel, struct wheel_timer *timer)
{
	if (timer->link == NULL)
		return;
	*timer->link = timer->next;
	if (timer->next != NULL) {
		timer->next->link = timer->link;
	} else {
		/* The last of its list: when the link is the head of a slot, that slot is empty now. */
		uintptr_t offset = (uintptr_t)timer->link - (uintptr_t)wheel->slots;
		if (offset < sizeof wheel->slots)
			wheel_mark_empty(wheel, offset / sizeof *wheel->slots);
	}
	timer->next = NULL;
	timer->link = NULL;
}

void wheel_arm(struct wheel *wheel, struct wheel_timer *timer, int64_t due)
{
	wheel_cancel(wheel, timer);
	timer->due = due;
	wheel_place(wheel, timer);
}

/* The index of the earliest occupied slot and the instant it begins at; some level must be occupied. */
static size_t wheel_first(const struct wheel *wheel, uint64_t *begins)
{
	unsigned int level = (unsigned int)__builtin_ctz(wheel->levels);
	unsigned int slot = (unsigned int)__builtin_ctzll(wheel->occupied[level]);
	unsigned int shift = level * WHEEL_BITS;
	uint64_t above = level + 1 == WHEEL_LEVELS ? 0 : wheel->now >> (shift + WHEEL_BITS) << (shift + WHEEL_BITS);

	*begins = above | (uint64_t)slot << shift;
	return level * WHEEL_SLOTS + slot;
}

int64_t wheel_wait(const struct wheel *wheel, int64_t now)
{
	uint64_t begins;

	if (wheel->due != NULL)
		return 0;
	if (wheel->levels == 0)
		return -1;
	wheel_first(wheel, &begins);
	return now >= 0 && begins <= (uint64_t)now ? 0 : (int64_t)(begins - (now < 0 ? 0 : (uint64_t)now));
}

/* Moves the wheel to the beginning of its first slot and that slot's timers to where they belong now. */
static void wheel_cascade(struct wheel *wheel, size_t slot, uint64_t begins)
{
	struct wheel_timer *timer = wheel->slots[slot];

	wheel->now = begins;
	wheel->slots[slot] = NULL;
	wheel_mark_empty(wheel, slot);
	while (timer != NULL) {
		struct wheel_timer *next = timer->next;
		wheel_place(wheel, timer);
		timer = next;
	}
}

struct wheel_timer *wheel_expire(struct wheel *wheel, int64_t now)
{
	uint64_t begins;

	while (wheel->due == NULL && wheel->levels != 0) {
		size_t slot = wheel_first(wheel, &begins);
		if (now < 0 || begins > (uint64_t)now)
			break;
		wheel_cascade(wheel, slot, begins);
	}
	if (wheel->due == NULL) {
		if (now > 0 && (uint64_t)now > wheel->now)
			wheel->now = (uint64_t)now;
		return NULL;
	}
	struct wheel_timer *timer = wheel->due;
	wheel_cancel(wheel, timer);
	return timer;
}
