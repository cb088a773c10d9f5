// What the container holds: uploads go before the series' blobs of the same name. See blobs.h.
#include "blobs.h"

#include <stdio.h>
#include <string.h>

#include "pattern.h"
#include "series.h"
#include "uploads.h"

void blobs_ready(void) {
  pattern_init();
  series_ready();
}

bool blobs_find(const char *name, struct blob *blob) {
  return uploads_find(name, blob) || series_find(name, blob);
}

bool blobs_next(const char *from, char name[NAME_BYTES], struct blob *blob) {
  char cursor[NAME_BYTES + 1], uploaded[NAME_BYTES];
  for (;; from = cursor) {
    bool is_there = series_next(from, name);
    if (uploads_next(from, uploaded) && (!is_there || strcmp(uploaded, name) <= 0)) {
      strcpy(name, uploaded);
      is_there = true;
    }
    if (!is_there || blobs_find(name, blob)) return is_there;
    // It has just been deleted: on to what is behind it.
    snprintf(cursor, sizeof cursor, "%s\x01", name);
  }
}

void blobs_release(struct blob *blob) {
  if (blob->upload) uploads_release(blob->upload);
  blob->upload = NULL;
}

bool blobs_delete(const char *name) {
  bool was_uploaded = uploads_delete(name);
  return series_delete(name) || was_uploaded;
}

void blobs_reset(void) {
  uploads_reset();
  series_reset();
}
