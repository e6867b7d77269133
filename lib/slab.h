#ifndef LAPSE_LIB_SLAB_H
#define LAPSE_LIB_SLAB_H

#include <stddef.h>

/* Objects of one size, for one thread: close together, without malloc's header, and in blocks of their own, so that a block goes
 * back to the kernel when its last object does. One empty block is kept. */
struct slab;

/* size: bytes of an object, at most SLAB_MOST. NULL when there is no memory. */
enum { SLAB_MOST = 4096 };
struct slab *slab_new(size_t size);

/* Zeroed and aligned to 8 bytes; NULL when there is no memory. */
void *slab_alloc(struct slab *slab);

/* object: from slab_alloc() of this slab, or NULL. */
void slab_release(struct slab *slab, void *object);

/* All objects must have been released. */
void slab_free(struct slab *slab);

#endif
