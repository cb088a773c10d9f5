// Blobs that were uploaded, see uploads.h: a hash table under one lock, and a sorted copy of the names for listings.
#include "uploads.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "pattern.h"
#include "staging.h"

struct upload {
  struct upload *next;
  atomic_uint users; // the table is one of them
  uint64_t size, etag;
  int64_t phase;
  unsigned char *bytes;
  char *meta;
  char name[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct upload **slots;
static size_t slot_count;
static _Atomic size_t upload_count;
static struct upload **sorted; // valid while sorted_count is upload_count and nothing was put or deleted
static bool is_sorted;
static uint64_t next_etag = 0x8de0000000000000u;
static struct uploads_counts counts;

bool uploads_empty(void) {
  return upload_count == 0;
}

static struct upload **slot_of(const char *name) {
  uint64_t hash = 0xcbf29ce484222325u; // FNV-1a
  for (const char *at = name; *at; at += 1) hash = (hash ^ (unsigned char)*at) * 0x100000001b3u;
  return &slots[(hash ^ hash >> 32) & (slot_count - 1)];
}

// Where the pointer to the blob of that name is, or would be.
static struct upload **place_of(const char *name) {
  struct upload **place = slot_of(name);
  while (*place && strcmp((*place)->name, name) != 0) place = &(*place)->next;
  return place;
}

static void grow(void) {
  struct upload **old = slots;
  size_t old_count = slot_count;
  slot_count = old_count == 0 ? 1024 : old_count * 2;
  slots = calloc(slot_count, sizeof *slots);
  if (!slots) abort();
  for (size_t at = 0; at < old_count; at += 1) {
    for (struct upload *upload = old[at], *next; upload; upload = next) {
      struct upload **slot = slot_of(upload->name);
      next = upload->next;
      upload->next = *slot;
      *slot = upload;
    }
  }
  free(old);
}

void uploads_release(struct upload *upload) {
  if (atomic_fetch_sub(&upload->users, 1) > 1) return;
  free(upload->bytes);
  free(upload->meta);
  free(upload);
}

static void take_out(struct upload **place) {
  struct upload *gone = *place;
  *place = gone->next;
  upload_count -= 1;
  is_sorted = false;
  uploads_release(gone);
}

// The number at the end of a name: whose pattern its content should be.
static uint64_t number_of(const char *name) {
  const char *end = name + strlen(name);
  while (end > name && end[-1] >= '0' && end[-1] <= '9') end -= 1;
  return strtoull(end, NULL, 10);
}

static void count(const char *name, const struct content *content) {
  counts.blobs += 1;
  counts.bytes += content->size;
  bool is_placed = content->size == 0 || content->phase == pattern_phase(number_of(name), 0);
  if (content->damaged || (content->phase >= 0 && !is_placed)) counts.damaged += 1;
  else if (is_placed) {
    counts.placed += 1;
    counts.compared += content->compared;
  }
}

static uint64_t put_locked(const char *name, const struct content *content, const char *meta) {
  if (upload_count >= slot_count) grow();
  struct upload **place = place_of(name);
  if (*place) take_out(place);
  size_t length = strlen(name) + 1;
  struct upload *upload = malloc(sizeof *upload + length);
  char *own_meta = strdup(meta);
  if (!upload || !own_meta) abort();
  *upload = (struct upload){
      .next = *place,
      .users = 1,
      .size = content->size,
      .etag = next_etag++,
      .phase = content->damaged ? -1 : content->phase,
      .bytes = content->bytes,
      .meta = own_meta,
  };
  memcpy(upload->name, name, length);
  *place = upload;
  upload_count += 1;
  is_sorted = false;
  count(name, content);
  return upload->etag;
}

uint64_t uploads_put(const char *name, const struct content *content, const char *meta) {
  pthread_mutex_lock(&lock);
  staging_drop(name);
  uint64_t etag = put_locked(name, content, meta);
  pthread_mutex_unlock(&lock);
  return etag;
}

void uploads_stage(const char *name, const char *block_id, const struct content *content) {
  pthread_mutex_lock(&lock);
  staging_add(name, block_id, content);
  pthread_mutex_unlock(&lock);
}

bool uploads_commit(const char *name, char *const *block_ids, size_t block_count, const char *meta, uint64_t *etag) {
  struct content whole;
  pthread_mutex_lock(&lock);
  bool is_whole = staging_join(name, block_ids, block_count, &whole);
  if (is_whole) {
    staging_drop(name);
    *etag = put_locked(name, &whole, meta);
  }
  pthread_mutex_unlock(&lock);
  return is_whole;
}

struct uploads_counts uploads_counts(void) {
  pthread_mutex_lock(&lock);
  struct uploads_counts now = counts;
  pthread_mutex_unlock(&lock);
  return now;
}

bool uploads_find(const char *name, struct blob *blob) {
  if (uploads_empty()) return false;
  pthread_mutex_lock(&lock);
  struct upload *upload = slots ? *place_of(name) : NULL;
  if (upload) atomic_fetch_add(&upload->users, 1);
  pthread_mutex_unlock(&lock);
  if (!upload) return false;
  blob->size = upload->size;
  blob->etag = upload->etag;
  blob->phase = upload->phase;
  blob->bytes = upload->bytes;
  blob->meta = upload->meta;
  blob->upload = upload;
  return true;
}

static int by_name(const void *a, const void *b) {
  return strcmp((*(struct upload *const *)a)->name, (*(struct upload *const *)b)->name);
}

static void sort(void) {
  size_t at = 0;
  sorted = realloc(sorted, (upload_count + 1) * sizeof *sorted);
  if (!sorted) abort();
  for (size_t slot = 0; slot < slot_count; slot += 1) {
    for (struct upload *upload = slots[slot]; upload; upload = upload->next) sorted[at++] = upload;
  }
  qsort(sorted, at, sizeof *sorted, by_name);
  is_sorted = true;
}

bool uploads_next(const char *from, char name[NAME_BYTES]) {
  if (uploads_empty()) return false;
  pthread_mutex_lock(&lock);
  if (!is_sorted) sort();
  size_t low = 0, high = upload_count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (strcmp(sorted[middle]->name, from) < 0) low = middle + 1;
    else high = middle;
  }
  bool is_there = low < upload_count;
  if (is_there) strcpy(name, sorted[low]->name);
  pthread_mutex_unlock(&lock);
  return is_there;
}

bool uploads_delete(const char *name) {
  if (uploads_empty()) return false;
  pthread_mutex_lock(&lock);
  struct upload **place = place_of(name);
  bool was_there = *place != NULL;
  if (was_there) take_out(place);
  pthread_mutex_unlock(&lock);
  return was_there;
}

void uploads_reset(void) {
  pthread_mutex_lock(&lock);
  for (size_t slot = 0; slot < slot_count; slot += 1) {
    while (slots[slot]) take_out(&slots[slot]);
  }
  staging_drop_all();
  counts = (struct uploads_counts){0};
  pthread_mutex_unlock(&lock);
}
