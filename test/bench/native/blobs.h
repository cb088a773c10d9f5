// What the server's container holds: series of blobs that exist by definition (series.h), and blobs that were uploaded
// (uploads.h). Safe to call from any thread once blobs_ready was called.
#ifndef BLOBS_H
#define BLOBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NAME_BYTES 1025
#define META_BYTES 8193

struct upload;

// A blob as it was when it was found; give it to blobs_release.
struct blob {
  uint64_t size;
  uint64_t etag;
  int64_t phase;              // where in the pattern its content begins; -1: not of the pattern
  const unsigned char *bytes; // the content itself, where it was kept
  const char *meta;           // its metadata as header lines
  struct upload *upload;      // NULL: of a series
  char own_meta[META_BYTES];  // what `meta` points to for a blob of a series
};

// Call when all series are added (series.h), before anything else here.
void blobs_ready(void);
bool blobs_find(const char *name, struct blob *blob);
// The blob whose name is the first at or after `from`; false: there is none.
bool blobs_next(const char *from, char name[NAME_BYTES], struct blob *blob);
void blobs_release(struct blob *blob);
// False: there was none.
bool blobs_delete(const char *name);
// Forgets uploads, staged blocks, deletes and counts.
void blobs_reset(void);

#endif
