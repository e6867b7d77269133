#include "lib/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { ARENA_LEAST = 4 << 10, ARENA_MOST = 1 << 20 }; /* bytes of a block; it doubles what there is, within these */

struct arena_block {
	struct arena_block *next;
	size_t size, used;
	alignas(max_align_t) unsigned char bytes[];
};

/* A block of this size or more is the kernel's own: when it goes, its pages go, whatever lives beside it in malloc's heap. */
enum { ARENA_MAPPED = 16 << 10 };

static struct arena_block *arena_block_new(size_t room)
{
	size_t size = sizeof(struct arena_block) + room;
	struct arena_block *block;

	if (size < ARENA_MAPPED) {
		block = calloc(1, size);
	} else {
		block = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (block == MAP_FAILED)
			block = NULL;
	}
	if (block)
		block->size = room;
	return block;
}

static void arena_block_free(struct arena_block *block)
{
	size_t size = sizeof *block + block->size;

	if (size < ARENA_MAPPED)
		free(block);
	else
		munmap(block, size);
}

/* Puts a zeroed block in front; one that is for a large piece alone goes behind the first, whose room is still wanted. */
static struct arena_block *arena_grow(struct arena *arena, size_t size)
{
	size_t wanted = arena->total < ARENA_LEAST ? ARENA_LEAST : arena->total > ARENA_MOST ? ARENA_MOST : arena->total;
	bool alone = size > wanted / 4;
	size_t room = alone ? size : wanted;

	if (size > PTRDIFF_MAX / 2)
		return NULL;
	struct arena_block *block = arena_block_new(room);
	if (block == NULL)
		return NULL;
	struct arena_block **place = alone && arena->blocks != NULL ? &arena->blocks->next : &arena->blocks;
	block->next = *place;
	*place = block;
	arena->total += sizeof *block + room;
	return block;
}

static void *arena_take(struct arena *arena, size_t size, size_t alignment)
{
	struct arena_block *block = arena->blocks;
	size_t start = block == NULL ? 0 : (block->used + alignment - 1) & ~(alignment - 1);

	if (block == NULL || start > block->size || block->size - start < size) {
		start = 0;
		block = arena_grow(arena, size);
		if (block == NULL)
			return NULL;
	}
	block->used = start + size;
	return block->bytes + start;
}

void *arena_alloc(struct arena *arena, size_t size)
{
	return arena_take(arena, size, alignof(max_align_t));
}

void *arena_array(struct arena *arena, size_t count, size_t size)
{
	size_t bytes;

	return __builtin_mul_overflow(count, size, &bytes) ? NULL : arena_alloc(arena, bytes);
}

char *arena_text(struct arena *arena, const char *bytes, size_t length)
{
	char *text = length == SIZE_MAX ? NULL : arena_take(arena, length + 1, 1);

	if (text != NULL && length > 0)
		memcpy(text, bytes, length);
	return text;
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	int length = vsnprintf(NULL, 0, format, arguments);
	va_end(arguments);
	char *text = length < 0 ? NULL : arena_take(arena, (size_t)length + 1, 1);
	if (text == NULL)
		return NULL;
	va_start(arguments, format);
	vsnprintf(text, (size_t)length + 1, format, arguments);
	va_end(arguments);
	return text;
}

void arena_free(struct arena *arena)
{
	for (struct arena_block *block = arena->blocks, *next; block != NULL; block = next) {
		next = block->next;
		arena_block_free(block);
	}
	*arena = (struct arena){0};
}
