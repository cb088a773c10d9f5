// Blocks that were uploaded and not committed. uploads.c calls it, under its lock.
#ifndef STAGING_H
#define STAGING_H

#include "uploads.h"

// Adds a block, in place of one with the same id. What was kept of its bytes is freed.
void staging_add(const char *name, const char *block_id, const struct content *content);
// What the blocks are together, in this order. False: one is not there.
bool staging_join(const char *name, char *const *block_ids, size_t count, struct content *whole);
void staging_drop(const char *name);
void staging_drop_all(void);

#endif
