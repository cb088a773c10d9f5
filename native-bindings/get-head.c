#define _GNU_SOURCE
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "get.h"

static bool is_token(const char *at, const char *stop) {
  for (; at < stop; at++) {
    const unsigned char c = (unsigned char)*at;
    const bool is_alnum = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
    if (!is_alnum && (c == 0 || !strchr("!#$%&'*+.^_`|~-", c))) return false;
  }
  return true;
}

static bool is_text(const char *at, const char *stop) {
  for (; at < stop; at++) {
    const unsigned char c = (unsigned char)*at;
    if ((c < 32 && c != '\t') || c == 127) return false;
  }
  return true;
}

static bool is_name(const char *at, size_t length, const char *name) {
  return strlen(name) == length && strncasecmp(at, name, length) == 0;
}

static void strip(const char **at, const char **stop, const char *set) {
  while (*at < *stop && strchr(set, **at)) ++*at;
  while (*stop > *at && strchr(set, (*stop)[-1])) --*stop;
}

static bool is_value(const char *at, const char *stop, const char *set, const char *value) {
  strip(&at, &stop, set);
  return strlen(value) == (size_t)(stop - at) && memcmp(at, value, (size_t)(stop - at)) == 0;
}

static bool read_length(const char *at, const char *stop, uint64_t *length) {
  strip(&at, &stop, " \t");
  if (at == stop || stop - at > 15) return false;
  for (*length = 0; at < stop; at++) {
    if (*at < '0' || *at > '9') return false;
    *length = *length * 10 + (uint64_t)(*at - '0');
  }
  return true;
}

static bool has_word(const char *at, const char *stop, const char *word) {
  const size_t length = strlen(word);
  for (; (size_t)(stop - at) >= length; at++) {
    if (strncasecmp(at, word, length) == 0) return true;
  }
  return false;
}

// As MAX_HEADERS of response-parser.ts.
#define MAX_HEADERS 1000
// More of the service's own are not as usual.
#define MAX_OWN 64

struct name {
  const char *at;
  size_t length;
};

// What response-parser.ts keeps may be there once only. False for what is there again, and when there is no room.
static bool is_new(struct name *names, size_t *count, const char *at, size_t length) {
  for (size_t n = 0; n < *count; n++) {
    if (names[n].length == length && strncasecmp(names[n].at, at, length) == 0) return false;
  }
  if (*count == MAX_OWN) return false;
  names[(*count)++] = (struct name){at, length};
  return true;
}

bool get_parse(const char *at, const char *stop, struct get *get, struct head *head) {
  if (stop - at < 14 || memcmp(at, "HTTP/1.1 ", 9) != 0 || (at[12] != ' ' && at[12] != '\r')) return false;
  for (int digit = 9; digit < 12; digit++) {
    if (at[digit] < '0' || at[digit] > '9') return false;
    head->status = head->status * 10 + (at[digit] - '0');
  }
  if (head->status < 200 || head->status > 599 || head->status == 204 || head->status == 304) return false;
  const uint64_t bytes = get->end - get->start;
  char range[96];
  snprintf(range, sizeof range, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, get->start, get->end - 1, get->file_bytes);
  bool has_length = false, has_range = false, has_etag = false, has_holes = false;
  struct name own[MAX_OWN];
  size_t own_count = 0, count = 0;
  head->keeps_alive = true;
  for (bool is_first = true; at < stop; is_first = false) {
    const char *line = at;
    const char *line_stop = memmem(at, (size_t)(stop - at), "\r\n", 2);
    if (!line_stop || !is_text(line, line_stop)) return false;
    at = line_stop + 2;
    if (is_first) continue;
    if (++count > MAX_HEADERS) return false;
    const char *colon = memchr(line, ':', (size_t)(line_stop - line));
    if (!colon || colon == line || !is_token(line, colon)) return false;
    const size_t name = (size_t)(colon - line);
    if (is_name(line, name, "transfer-encoding")) return false;
    const bool is_own = (name > 5 && strncasecmp(line, "x-ms-", 5) == 0) || is_name(line, name, "last-modified");
    if (is_own && !is_new(own, &own_count, line, name)) return false;
    if (is_name(line, name, "connection") && has_word(colon + 1, line_stop, "close")) head->keeps_alive = false;
    if (is_name(line, name, "content-range")) {
      if (has_range) return false;
      has_range = true;
      if (!is_value(colon + 1, line_stop, " \t", range)) head->is_other = true;
    }
    if (is_name(line, name, "etag")) {
      if (has_etag || is_value(colon + 1, line_stop, " \t", "")) return false;
      has_etag = true;
      if (get->etag && !is_value(colon + 1, line_stop, " \t\"", get->etag)) head->is_other = true;
    }
    if (get->holes_header && is_name(line, name, get->holes_header)) {
      if (has_holes) return false;
      has_holes = true;
      get->keeps_holes = is_value(colon + 1, line_stop, " \t", "1");
    }
    if (get->sum_header && is_name(line, name, get->sum_header)) get->sums = true;
    if (!is_name(line, name, "content-length")) continue;
    if (has_length || !read_length(colon + 1, line_stop, &head->length)) return false;
    has_length = true;
  }
  // 200 is the whole, where that was meant.
  const bool has_place = head->status == 206 ? has_range : bytes == get->file_bytes;
  if (!has_etag || !has_place || head->length != bytes) head->is_other = true;
  return has_length;
}
