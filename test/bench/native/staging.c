// Blocks that were uploaded and not committed, see staging.h. Few blobs are staged at a time: lists do.
#include "staging.h"

#include <stdlib.h>
#include <string.h>

#include "pattern.h"

struct block {
  char *id;
  struct content content;
};

struct staged {
  struct staged *next;
  struct block *blocks;
  size_t count, room;
  char name[NAME_BYTES];
};

static struct staged *all;

static struct staged **place_of(const char *name) {
  struct staged **place = &all;
  while (*place && strcmp((*place)->name, name) != 0) place = &(*place)->next;
  return place;
}

// The block of that id, or NULL; looks from `hint` on, for ids come back nearly in their order.
static struct block *block_of(const struct staged *staged, const char *id, size_t hint) {
  for (size_t at = 0; at < staged->count; at += 1) {
    struct block *block = &staged->blocks[(hint + at) % staged->count];
    if (strcmp(block->id, id) == 0) return block;
  }
  return NULL;
}

void staging_add(const char *name, const char *block_id, const struct content *content) {
  struct staged **place = place_of(name);
  if (!*place) {
    *place = calloc(1, sizeof **place);
    if (!*place) abort();
    strncpy((*place)->name, name, NAME_BYTES - 1);
  }
  struct staged *staged = *place;
  struct block *block = block_of(staged, block_id, 0);
  if (!block) {
    if (staged->count == staged->room) {
      staged->room = staged->room * 2 + 64;
      staged->blocks = realloc(staged->blocks, staged->room * sizeof *staged->blocks);
      if (!staged->blocks) abort();
    }
    block = &staged->blocks[staged->count++];
    block->id = strdup(block_id);
    if (!block->id) abort();
  }
  free(content->bytes);
  block->content = *content;
  block->content.bytes = NULL;
}

bool staging_join(const char *name, char *const *block_ids, size_t count, struct content *whole) {
  const struct staged *staged = *place_of(name);
  *whole = (struct content){.phase = -1, .compared = true};
  for (size_t at = 0; at < count; at += 1) {
    const struct block *block = staged ? block_of(staged, block_ids[at], at) : NULL;
    if (!block) return false;
    const struct content *next = &block->content;
    if (at == 0) whole->phase = next->phase;
    else if (whole->phase >= 0 && next->phase != (int64_t)((whole->phase + whole->size) % PATTERN_BYTES)) {
      // Not the continuation of what is before it: known to be wrong where both were recognised.
      whole->damaged = whole->damaged || next->phase >= 0;
      whole->phase = -1;
    }
    whole->compared = whole->compared && next->compared;
    whole->damaged = whole->damaged || next->damaged;
    whole->size += next->size;
  }
  return true;
}

static void drop(struct staged **place) {
  struct staged *staged = *place;
  *place = staged->next;
  for (size_t at = 0; at < staged->count; at += 1) free(staged->blocks[at].id);
  free(staged->blocks);
  free(staged);
}

void staging_drop(const char *name) {
  struct staged **place = place_of(name);
  if (*place) drop(place);
}

void staging_drop_all(void) {
  while (all) drop(&all);
}
