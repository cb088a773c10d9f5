// Blobs that were uploaded, and staged blocks. Content is not kept but judged: it should be the pattern of the number
// at the end of the blob's name. Small content that is not the pattern's is kept, so that it can be read again.
#ifndef UPLOADS_H
#define UPLOADS_H

#include "blobs.h"

#define KEPT_BYTES (64 * 1024)

// A content that has been received: as much as is known of it.
struct content {
  uint64_t size;
  int64_t phase;        // where in the pattern it begins, -1: unknown
  bool compared;        // every byte was compared with the pattern
  bool damaged;         // it began as the pattern and went on otherwise
  unsigned char *bytes; // the content itself, from malloc, or NULL; whoever gets it frees it
};

// Puts a blob in place of whatever had its name; answers its ETag.
uint64_t uploads_put(const char *name, const struct content *content, const char *meta);
void uploads_stage(const char *name, const char *block_id, const struct content *content);
// Makes the blob of staged blocks and ends the staging. False: a block is not there, and nothing has changed.
bool uploads_commit(const char *name, char *const *block_ids, size_t count, const char *meta, uint64_t *etag);

// Of what was put and committed since the last reset. Placed: it, and each of its blocks, begins as the pattern of the
// number in its name does there. Compared: placed, and every byte was compared. Damaged: begins as the pattern, but
// not of that place, or goes on otherwise.
struct uploads_counts {
  uint64_t blobs, bytes, placed, compared, damaged;
};
struct uploads_counts uploads_counts(void);

// As those of blobs.h.
bool uploads_find(const char *name, struct blob *blob);
bool uploads_next(const char *from, char name[NAME_BYTES]);
void uploads_release(struct upload *upload);
bool uploads_delete(const char *name);
void uploads_reset(void);
// Whether there are none at all: then nobody needs to look.
bool uploads_empty(void);

#endif
