#include "lib/wheel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { TIMERS = 300 };

#define DAY INT64_C(86400000)

/* The naive model: for each timer, whether it is armed and when it is due. */
struct model {
	struct wheel *wheel;
	int64_t now;
	struct wheel_timer timers[TIMERS];
	bool armed[TIMERS];
	int64_t due[TIMERS];
	uint64_t random;
};

static uint64_t draw(struct model *model)
{
	model->random ^= model->random << 13;
	model->random ^= model->random >> 7;
	model->random ^= model->random << 17;
	return model->random;
}

static void arm(struct model *model, int i, int64_t due)
{
	wheel_arm(model->wheel, &model->timers[i], due);
	model->armed[i] = true;
	model->due[i] = due;
}

static void cancel(struct model *model, int i)
{
	wheel_cancel(model->wheel, &model->timers[i]);
	model->armed[i] = false;
}

/* -1 when nothing is armed, else the earliest instant. */
static bool earliest(const struct model *model, int64_t *due)
{
	bool any = false;

	for (int i = 0; i < TIMERS; i++) {
		if (model->armed[i] && (!any || model->due[i] < *due)) {
			*due = model->due[i];
			any = true;
		}
	}
	return any;
}

static void check_wait(const struct model *model)
{
	int64_t due = 0, wait = wheel_wait(model->wheel, model->now);

	for (int i = 0; i < TIMERS; i++)
		assert_int_equal(wheel_armed(&model->timers[i]), model->armed[i]);
	if (!earliest(model, &due)) {
		assert_int_equal(wait, -1);
		return;
	}
	assert_true(wait >= 0);
	if (due <= model->now)
		assert_true(wait == 0);
	else
		assert_true(wait <= due - model->now);
}

/* A due timer that fired: it was armed, it is not early, and now and then it or another one is armed or cancelled. */
static void fired(struct model *model, struct wheel_timer *timer, int64_t span)
{
	int i = (int)(timer - model->timers), other = (int)(draw(model) % TIMERS);

	assert_in_range(i, 0, TIMERS - 1);
	assert_true(model->armed[i]);
	assert_true(timer->due == model->due[i]);
	assert_true(timer->due <= model->now);
	assert_false(wheel_armed(timer));
	model->armed[i] = false;
	if (draw(model) % 4 == 0)
		cancel(model, other);
	if (draw(model) % 4 == 0)
		arm(model, other, model->now + 1 + (int64_t)(draw(model) % (uint64_t)span));
}

static void expire_all(struct model *model, int64_t span)
{
	struct wheel_timer *timer;
	int64_t due;

	while ((timer = wheel_expire(model->wheel, model->now)) != NULL)
		fired(model, timer, span);
	if (earliest(model, &due))
		assert_true(due > model->now);
}

static void run(uint64_t seed, int64_t start, int64_t span, int64_t step, int rounds)
{
	static struct model model;

	memset(&model, 0, sizeof model);
	model.random = seed;
	model.now = start;
	model.wheel = wheel_new(start);
	for (int round = 0; round < rounds; round++) {
		int i = (int)(draw(&model) % TIMERS);

		switch (draw(&model) % 8) {
		case 0:
			cancel(&model, i);
			break;
		case 1:
			arm(&model, i, model.now - (int64_t)(draw(&model) % 1000));
			break;
		case 2: /* as the loop does it: sleep as long as the wheel says */
			if (wheel_wait(model.wheel, model.now) > 0)
				model.now += wheel_wait(model.wheel, model.now);
			expire_all(&model, span);
			break;
		case 3:
			model.now += (int64_t)(draw(&model) % (uint64_t)step);
			expire_all(&model, span);
			break;
		default: /* all orders of magnitude alike */
			arm(&model, i, model.now + (int64_t)(draw(&model) % (uint64_t)span >> draw(&model) % 40));
			break;
		}
		check_wait(&model);
	}
	wheel_free(model.wheel);
}

static void agrees_with_the_model(void **state)
{
	for (uint64_t seed = 1; seed <= 8; seed++) {
		run(seed, 0, 100, 20, 5000);
		run(seed, 4095, 5000, 64, 5000);
		run(seed, 123456789, 3600000, 5000, 5000);
		run(seed, (INT64_C(1) << 36) - 3, 30 * DAY, DAY, 5000);
		run(seed, 1, 20000 * DAY, 700 * DAY, 5000);
		run(seed, 1, INT64_C(1) << 61, INT64_C(1) << 48, 3000);
	}
}

/* Waiting as told, a timer fires in its own millisecond, and a far one costs few wake-ups. */
static void fires_on_the_tick(void **state)
{
	static const int64_t spans[] = {1, 2, 63, 64, 65, 4095, 4096, 4097, 60000, 3600000, DAY, 365 * DAY, 20000 * DAY};

	for (size_t i = 0; i < sizeof spans / sizeof *spans; i++) {
		for (int64_t start = 0; start < 200000; start = start * 3 + 61) {
			struct wheel *wheel = wheel_new(start);
			struct wheel_timer timer = {0}, *got = NULL;
			int64_t now = start;
			int wakes = 0;

			wheel_arm(wheel, &timer, start + spans[i]);
			while (got == NULL) {
				int64_t wait = wheel_wait(wheel, now);
				assert_true(wait > 0);
				now += wait;
				got = wheel_expire(wheel, now);
				wakes++;
			}
			assert_ptr_equal(got, &timer);
			assert_true(now == start + spans[i]);
			assert_in_range(wakes, 1, 11);
			assert_int_equal(wheel_wait(wheel, now), -1);
			wheel_free(wheel);
		}
	}
}

static void comes_in_order(void **state)
{
	struct wheel_timer timers[64] = {0};
	struct wheel *wheel = wheel_new(1000);
	int64_t last = 0;

	for (int i = 0; i < 64; i++)
		wheel_arm(wheel, &timers[i], 1001 + (int64_t)i * i * i * 37 % 100003);
	for (int i = 0; i < 64; i++) {
		struct wheel_timer *timer = wheel_expire(wheel, 200000);
		assert_non_null(timer);
		assert_true(timer->due >= last);
		last = timer->due;
	}
	assert_null(wheel_expire(wheel, 200000));
	wheel_free(wheel);
}

static void edges(void **state)
{
	struct wheel_timer a = {0}, b = {0};
	struct wheel *wheel = wheel_new(500);

	assert_null(wheel_expire(wheel, 500));
	wheel_cancel(wheel, &a); /* never armed */
	wheel_arm(wheel, &a, INT64_MAX);
	wheel_arm(wheel, &b, INT64_MIN);
	assert_int_equal(wheel_wait(wheel, 500), 0);
	assert_ptr_equal(wheel_expire(wheel, 500), &b);
	assert_null(wheel_expire(wheel, 500));
	assert_true(wheel_wait(wheel, 500) > 1000);
	assert_null(wheel_expire(wheel, INT64_MAX - 1));
	assert_ptr_equal(wheel_expire(wheel, INT64_MAX), &a);
	assert_int_equal(wheel_wait(wheel, INT64_MAX), -1);
	wheel_free(wheel);

	/* what was cancelled or moved away wakes nobody */
	wheel = wheel_new(500);
	for (int64_t due = 501; due < 400 * DAY; due *= 3) {
		wheel_arm(wheel, &a, due);
		assert_true(wheel_wait(wheel, 500) >= 1);
		wheel_cancel(wheel, &a);
		assert_int_equal(wheel_wait(wheel, 500), -1);
	}
	wheel_free(wheel);

	/* of two in the past, one cancels the other; the wheel does not go back */
	wheel = wheel_new(500);
	wheel_arm(wheel, &a, 500);
	wheel_arm(wheel, &b, 1);
	struct wheel_timer *first = wheel_expire(wheel, 600), *other = first == &a ? &b : &a;
	wheel_cancel(wheel, other);
	assert_false(wheel_armed(other));
	assert_null(wheel_expire(wheel, 600));
	wheel_arm(wheel, &a, 610);
	assert_null(wheel_expire(wheel, 550));
	assert_true(wheel_wait(wheel, 600) <= 10);
	assert_ptr_equal(wheel_expire(wheel, 610), &a);
	wheel_free(wheel);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agrees_with_the_model),
		cmocka_unit_test(fires_on_the_tick),
		cmocka_unit_test(comes_in_order),
		cmocka_unit_test(edges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
