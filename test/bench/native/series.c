// Blobs that exist by definition, see series.h.
#include "series.h"

#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crc64.h"
#include "pattern.h"

#define MAX_SERIES 16
#define MAX_COUNT 10000000

struct series {
  char prefix[64]; // with its slash
  unsigned count, per_directory;
  uint64_t size;
  atomic_uchar *deleted;
  // CRC64 of each blob, computed when first asked for; 0: not yet.
  _Atomic uint64_t *crc;
};

static struct series all[MAX_SERIES];
static size_t series_count;
static char common_meta[META_BYTES - 256];
static char crc64_key[64];

bool series_add(const char *text) {
  if (series_count == MAX_SERIES) return false;
  struct series *series = &all[series_count];
  char name[62];
  unsigned long long size;
  int end = 0, longer = 0;
  int n = sscanf(text, "%61[A-Za-z0-9_-]:%u:%llu%n:%u%n", name, &series->count, &size, &end, &series->per_directory,
                 &longer);
  if (n < 3 || text[n == 4 ? longer : end] != '\0') return false;
  if (series->count > MAX_COUNT || (n == 4 && series->per_directory == 0)) return false;
  snprintf(series->prefix, sizeof series->prefix, "%s/", name);
  series->size = size;
  series->deleted = calloc(series->count + 1, sizeof *series->deleted);
  series->crc = calloc(series->count + 1, sizeof *series->crc);
  if (!series->deleted || !series->crc) return false;
  series_count += 1;
  return true;
}

bool series_add_meta(const char *text) {
  const char *value = strchr(text, '=');
  size_t used = strlen(common_meta);
  if (!value || value == text || strpbrk(text, "\r\n")) return false;
  int n = snprintf(common_meta + used, sizeof common_meta - used, "x-ms-meta-%.*s: %s\r\n", (int)(value - text), text,
                   value + 1);
  return (size_t)n < sizeof common_meta - used;
}

void series_add_crc64_meta(const char *key) {
  snprintf(crc64_key, sizeof crc64_key, "%s", key);
}

static int by_prefix(const void *a, const void *b) {
  return strcmp(((const struct series *)a)->prefix, ((const struct series *)b)->prefix);
}

static size_t write_name(const struct series *series, unsigned index, char name[NAME_BYTES]) {
  if (series->per_directory == 0) return (size_t)snprintf(name, NAME_BYTES, "%s%07u", series->prefix, index);
  return (size_t)snprintf(name, NAME_BYTES, "%s%05u/%07u", series->prefix, index / series->per_directory, index);
}

static bool digits(const char *text, int count, unsigned *value) {
  *value = 0;
  for (int at = 0; at < count; at += 1) {
    if (text[at] < '0' || text[at] > '9') return false;
    *value = *value * 10 + (unsigned)(text[at] - '0');
  }
  return true;
}

// The number of the blob whose name `text` begins with, and that name's length; 0 when it is none.
static size_t read_name(const struct series *series, const char *text, unsigned *index) {
  size_t length = strlen(series->prefix);
  unsigned directory = 0;
  if (strncmp(text, series->prefix, length) != 0) return 0;
  if (series->per_directory > 0) {
    if (!digits(text + length, 5, &directory) || text[length + 5] != '/') return 0;
    length += 6;
  }
  if (!digits(text + length, 7, index) || *index >= series->count) return 0;
  if (series->per_directory > 0 && *index / series->per_directory != directory) return 0;
  return length + 7;
}

static uint64_t crc_of(const struct series *series, unsigned index) {
  uint64_t crc = series->crc[index];
  if (crc != 0) return crc;
  uint32_t phase = pattern_phase(index, 0);
  for (uint64_t left = series->size; left > 0;) {
    size_t n = left < PATTERN_BYTES ? (size_t)left : PATTERN_BYTES;
    crc = crc64(crc, pattern_at(phase), n);
    phase = (uint32_t)((phase + n) % PATTERN_BYTES);
    left -= n;
  }
  series->crc[index] = crc;
  return crc;
}

void series_ready(void) {
  qsort(all, series_count, sizeof *all, by_prefix);
  // Those of large blobs now: no request should wait for them.
  for (const struct series *series = all; crc64_key[0] && series < all + series_count; series += 1) {
    for (unsigned index = 0; series->size > PATTERN_BYTES && index < series->count; index += 1) crc_of(series, index);
  }
}

static void describe(const struct series *series, unsigned index, struct blob *blob) {
  blob->size = series->size;
  blob->etag = 0x8dd0000000000000u + ((uint64_t)(series - all) << 32) + index;
  blob->phase = pattern_phase(index, 0);
  blob->bytes = NULL;
  blob->meta = common_meta;
  blob->upload = NULL;
  if (crc64_key[0] == '\0') return;
  uint64_t crc = crc_of(series, index);
  unsigned char bytes[8], base64[16];
  for (int at = 0; at < 8; at += 1) bytes[at] = (unsigned char)(crc >> 8 * at);
  EVP_EncodeBlock(base64, bytes, sizeof bytes);
  snprintf(blob->own_meta, sizeof blob->own_meta, "%sx-ms-meta-%s: %s\r\n", common_meta, crc64_key, (char *)base64);
  blob->meta = blob->own_meta;
}

static const struct series *series_of(const char *name, unsigned *index) {
  for (const struct series *series = all; series < all + series_count; series += 1) {
    size_t length = read_name(series, name, index);
    if (length > 0 && name[length] == '\0') return series;
  }
  return NULL;
}

bool series_find(const char *name, struct blob *blob) {
  unsigned index;
  const struct series *series = series_of(name, &index);
  if (!series || series->deleted[index]) return false;
  describe(series, index, blob);
  return true;
}

// The number of the first blob at or after `from`; the series' count when there is none.
static unsigned first_from(const struct series *series, const char *from) {
  unsigned low = 0, high = series->count;
  size_t length = read_name(series, from, &low);
  if (length > 0) return from[length] == '\0' ? low : low + 1;
  low = 0;
  while (low < high) {
    char name[NAME_BYTES];
    unsigned middle = low + (high - low) / 2;
    write_name(series, middle, name);
    if (strcmp(name, from) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

bool series_next(const char *from, char name[NAME_BYTES]) {
  for (const struct series *series = all; series < all + series_count; series += 1) {
    for (unsigned index = first_from(series, from); index < series->count; index += 1) {
      if (series->deleted[index]) continue;
      write_name(series, index, name);
      return true;
    }
  }
  return false;
}

bool series_delete(const char *name) {
  unsigned index;
  const struct series *series = series_of(name, &index);
  return series && atomic_exchange(&series->deleted[index], 1) == 0;
}

void series_reset(void) {
  for (const struct series *series = all; series < all + series_count; series += 1) {
    for (unsigned index = 0; index < series->count; index += 1) series->deleted[index] = 0;
  }
}
