// The part of HTTP/1.1 that server and floor need: message heads, and bodies of a known length.
#ifndef HTTP_H
#define HTTP_H

#include <stdint.h>

#include "conn.h"

#define HTTP_HEAD_BYTES (64 * 1024)

// Reads messages off one connection. What came behind a head is kept for the body.
struct http_in {
  struct conn *conn;
  size_t have; // bytes in buffer
  size_t used; // of them, already handed out
  char *head;  // the head last read: NUL-terminated, ends with its last header's CRLF
  char buffer[HTTP_HEAD_BYTES + 1];
};

// Reads up to the blank line and sets `head`. False at the end of the connection, and for a head that is too long.
bool http_read_head(struct http_in *in);
// The value of a header as a copy in `into`, without the blanks around it; false when it is not there or too long.
bool http_header(const char *head, const char *name, char *into, size_t bytes);
// Content-Length, or -1 when it is not there or odd.
int64_t http_content_length(const char *head);
// Up to `bytes` of the body: first what was read with the head. As conn_read.
ssize_t http_read(struct http_in *in, void *into, size_t bytes);
// As http_read, for bytes that nobody wants.
ssize_t http_discard(struct http_in *in, void *scratch, size_t bytes);
// Reads exactly `bytes`.
bool http_read_all(struct http_in *in, void *into, size_t bytes);
// Decodes %XX in place; false for a broken one or a NUL.
bool http_percent_decode(char *text);

#endif
