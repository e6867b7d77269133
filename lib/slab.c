#include "lib/slab.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifdef __SANITIZE_ADDRESS__

/* malloc's objects are the ones that the sanitizer watches. */
struct slab {
	size_t size;
};

struct slab *slab_new(size_t size)
{
	struct slab *slab = calloc(1, sizeof *slab);

	assert(size <= SLAB_MOST);
	if (slab)
		slab->size = size;
	return slab;
}

void *slab_alloc(struct slab *slab)
{
	return calloc(1, slab->size);
}

void slab_release(struct slab *slab, void *object)
{
	free(object);
}

void slab_free(struct slab *slab)
{
	free(slab);
}

#else

enum { SLAB_BLOCK = 32 << 10, SLAB_ALIGNMENT = 8 };

/* In a released object. */
struct slab_piece {
	struct slab_piece *next;
};

/* At the beginning of a block, which begins at a multiple of its size: so an object knows its block. */
struct slab_block {
	struct slab_block *next, **link; /* among those with room */
	struct slab_piece *released;
	uint32_t fresh; /* objects never handed out; their pages were never touched */
	uint32_t used;
};

enum { SLAB_HEADER = (sizeof(struct slab_block) + SLAB_ALIGNMENT - 1) / SLAB_ALIGNMENT * SLAB_ALIGNMENT };

struct slab {
	size_t size;
	uint32_t capacity;
	struct slab_block *roomy;
	struct slab_block *spare; /* empty */
};

struct slab *slab_new(size_t size)
{
	struct slab *slab = calloc(1, sizeof *slab);

	assert(size <= SLAB_MOST);
	if (!slab)
		return NULL;
	slab->size = (size + SLAB_ALIGNMENT - 1) / SLAB_ALIGNMENT * SLAB_ALIGNMENT;
	slab->capacity = (uint32_t)((SLAB_BLOCK - SLAB_HEADER) / slab->size);
	return slab;
}

/* Addresses are asked for twice over and the ends given back, which leaves one aligned block. */
static struct slab_block *slab_map(void)
{
	unsigned char *bytes =
	    mmap(NULL, (size_t)2 * SLAB_BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t before;

	if (bytes == MAP_FAILED)
		return NULL;
	before = (SLAB_BLOCK - (uintptr_t)bytes % SLAB_BLOCK) % SLAB_BLOCK;
	if (before)
		munmap(bytes, before);
	munmap(bytes + before + SLAB_BLOCK, SLAB_BLOCK - before);
	return (struct slab_block *)(void *)(bytes + before);
}

static void slab_link(struct slab *slab, struct slab_block *block)
{
	block->next = slab->roomy;
	block->link = &slab->roomy;
	if (block->next)
		block->next->link = &block->next;
	slab->roomy = block;
}

static void slab_unlink(struct slab_block *block)
{
	*block->link = block->next;
	if (block->next)
		block->next->link = block->link;
}

static struct slab_block *slab_grow(struct slab *slab)
{
	struct slab_block *block = slab->spare;

	if (!block) {
		block = slab_map();
		if (!block)
			return NULL;
		block->fresh = slab->capacity;
	}
	slab->spare = NULL;
	slab_link(slab, block);
	return block;
}

void *slab_alloc(struct slab *slab)
{
	struct slab_block *block = slab->roomy ? slab->roomy : slab_grow(slab);
	struct slab_piece *piece;

	if (!block)
		return NULL;
	if (++block->used == slab->capacity)
		slab_unlink(block);
	piece = block->released;
	if (!piece) /* as the kernel gave it: zeroed */
		return (unsigned char *)block + SLAB_HEADER + slab->size * (slab->capacity - block->fresh--);
	block->released = piece->next;
	return memset(piece, 0, slab->size);
}

void slab_release(struct slab *slab, void *object)
{
	struct slab_block *block = (struct slab_block *)(void *)((unsigned char *)object - (uintptr_t)object % SLAB_BLOCK);
	struct slab_piece *piece = object;

	if (!object)
		return;
	piece->next = block->released;
	block->released = piece;
	if (block->used == slab->capacity)
		slab_link(slab, block);
	if (--block->used)
		return;
	slab_unlink(block);
	if (slab->spare)
		munmap(slab->spare, SLAB_BLOCK);
	slab->spare = block;
}

void slab_free(struct slab *slab)
{
	if (!slab)
		return;
	if (slab->spare)
		munmap(slab->spare, SLAB_BLOCK);
	free(slab);
}

#endif
