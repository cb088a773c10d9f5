// HTTP/1.1 message heads and bodies, see http.h.
#include "http.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool http_read_head(struct http_in *in) {
  memmove(in->buffer, in->buffer + in->used, in->have - in->used);
  in->have -= in->used;
  in->used = 0;
  size_t seen = 0;
  for (;;) {
    char *end = in->have < 4 ? NULL : memmem(in->buffer + seen, in->have - seen, "\r\n\r\n", 4);
    if (end) {
      in->used = (size_t)(end - in->buffer) + 4;
      end[2] = '\0';
      in->head = in->buffer;
      return true;
    }
    seen = in->have < 3 ? 0 : in->have - 3;
    if (in->have == HTTP_HEAD_BYTES) return false;
    ssize_t n = conn_read(in->conn, in->buffer + in->have, HTTP_HEAD_BYTES - in->have);
    if (n <= 0) return false;
    in->have += (size_t)n;
  }
}

bool http_header(const char *head, const char *name, char *into, size_t bytes) {
  size_t length = strlen(name);
  for (const char *line = strstr(head, "\r\n"); line && line[2]; line = strstr(line + 2, "\r\n")) {
    const char *at = line + 2;
    if (strncasecmp(at, name, length) != 0 || at[length] != ':') continue;
    at += length + 1;
    at += strspn(at, " \t");
    size_t value = strcspn(at, "\r");
    while (value > 0 && (at[value - 1] == ' ' || at[value - 1] == '\t')) value -= 1;
    if (value >= bytes) return false;
    memcpy(into, at, value);
    into[value] = '\0';
    return true;
  }
  return false;
}

int64_t http_content_length(const char *head) {
  char text[24];
  if (!http_header(head, "Content-Length", text, sizeof text) || text[0] == '\0') return -1;
  if (text[strspn(text, "0123456789")] != '\0' || strlen(text) > 18) return -1;
  return strtoll(text, NULL, 10);
}

// Bytes that were read together with the head.
static size_t left_over(const struct http_in *in, size_t bytes) {
  size_t left = in->have - in->used;
  return left < bytes ? left : bytes;
}

ssize_t http_read(struct http_in *in, void *into, size_t bytes) {
  size_t left = left_over(in, bytes);
  if (left == 0) return conn_read(in->conn, into, bytes);
  memcpy(into, in->buffer + in->used, left);
  in->used += left;
  return (ssize_t)left;
}

ssize_t http_discard(struct http_in *in, void *scratch, size_t bytes) {
  size_t left = left_over(in, bytes);
  if (left == 0) return conn_discard(in->conn, scratch, bytes);
  in->used += left;
  return (ssize_t)left;
}

bool http_read_all(struct http_in *in, void *into, size_t bytes) {
  for (size_t done = 0; done < bytes;) {
    ssize_t n = http_read(in, (char *)into + done, bytes - done);
    if (n <= 0) return false;
    done += (size_t)n;
  }
  return true;
}

static int hex(char digit) {
  const char *digits = "0123456789abcdef";
  const char *at = digit ? strchr(digits, digit | 0x20) : NULL;
  return at ? (int)(at - digits) : -1;
}

bool http_percent_decode(char *text) {
  char *to = text;
  for (const char *from = text; *from; from += 1) {
    if (*from != '%') {
      *to++ = *from;
      continue;
    }
    int high = hex(from[1]), low = high < 0 ? -1 : hex(from[2]);
    if (low < 0 || (high == 0 && low == 0)) return false;
    *to++ = (char)(high * 16 + low);
    from += 2;
  }
  *to = '\0';
  return true;
}
