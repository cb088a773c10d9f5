// The loop over one connection's requests, and how answers are written. See session.h.
#include "session.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

struct totals totals;
bool is_verifying, is_verbose;

static bool copy(char *into, size_t bytes, const char *from, size_t length) {
  if (length >= bytes) return false;
  memcpy(into, from, length);
  into[length] = '\0';
  return true;
}

// Takes "METHOD /account/container/blob?query HTTP/1.1" apart.
static bool parse(struct request *request, const char *head) {
  size_t method = strcspn(head, " ");
  if (!copy(request->method, sizeof request->method, head, method)) return false;
  const char *path = head + method + 1;
  if (head[method] != ' ' || path[0] != '/') return false;
  size_t length = strcspn(path, "? \r\n");
  const char *query = path[length] == '?' ? path + length + 1 : "";
  if (!copy(request->query, sizeof request->query, query, strcspn(query, " \r\n"))) return false;
  const char *end = path + length;
  const char *container = memchr(path + 1, '/', length - 1);
  container = container ? container + 1 : end;
  const char *blob = memchr(container, '/', (size_t)(end - container));
  const char *container_end = blob ? blob : end;
  blob = blob ? blob + 1 : end;
  request->head = head;
  int64_t body = http_content_length(head);
  request->body_bytes = body < 0 ? 0 : (uint64_t)body;
  char coding[16];
  if (http_header(head, "Transfer-Encoding", coding, sizeof coding)) return false;
  return copy(request->container, sizeof request->container, container, (size_t)(container_end - container)) &&
         copy(request->blob, sizeof request->blob, blob, (size_t)(end - blob)) &&
         http_percent_decode(request->container) && http_percent_decode(request->blob);
}

bool request_query(const struct request *request, const char *key, char *into, size_t bytes) {
  size_t length = strlen(key);
  for (const char *at = request->query; *at; at += at[0] == '&') {
    size_t part = strcspn(at, "&");
    if (strncmp(at, key, length) == 0 && at[length] == '=')
      return copy(into, bytes, at + length + 1, part - length - 1) && http_percent_decode(into);
    at += part;
  }
  return false;
}

bool request_query_is(const struct request *request, const char *key, const char *value) {
  char found[64];
  return request_query(request, key, found, sizeof found) && strcmp(found, value) == 0;
}

void answer_header(struct session *session, const char *format, ...) {
  size_t room = OUT_BYTES - session->out_used;
  va_list values;
  va_start(values, format);
  int n = vsnprintf(session->out + session->out_used, room, format, values);
  va_end(values);
  if (n < 0 || (size_t)n + 2 >= room) abort(); // all that is written here is bounded
  session->out_used += (size_t)n;
  memcpy(session->out + session->out_used, "\r\n", 2);
  session->out_used += 2;
}

void answer_time(struct session *session, const char *name, int64_t seconds) {
  char text[64];
  struct tm tm;
  time_t time = (time_t)seconds;
  strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&time, &tm));
  answer_header(session, "%s: %s", name, text);
}

void answer_begin(struct session *session, const char *status) {
  char version[32];
  session->out_used = 0;
  answer_header(session, "HTTP/1.1 %s", status);
  answer_header(session, "Server: Windows-Azure-Blob/1.0");
  if (http_header(session->request.head, "x-ms-version", version, sizeof version))
    answer_header(session, "x-ms-version: %s", version);
  answer_header(session, "x-ms-request-id: 00000000-0000-0000-0000-%012llx", (unsigned long long)totals.requests);
  answer_time(session, "Date", time(NULL));
}

bool answer_end(struct session *session, uint64_t content_length, const void *body, size_t body_bytes) {
  answer_header(session, "Content-Length: %llu\r\n", (unsigned long long)content_length);
  size_t together = body_bytes < OUT_BYTES - session->out_used ? body_bytes : 0;
  if (together > 0) memcpy(session->out + session->out_used, body, together);
  if (!conn_write(&session->conn, session->out, session->out_used + together)) return false;
  return together == body_bytes || conn_write(&session->conn, body, body_bytes);
}

bool answer_error(struct session *session, const char *status, const char *code) {
  char body[512];
  int n = snprintf(body, sizeof body,
                   "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>%s</Code><Message>%s</Message></Error>", code,
                   status);
  bool is_head = strcmp(session->request.method, "HEAD") == 0;
  totals.failures += 1;
  if (is_verbose) fprintf(stderr, "  %s %s\n", status, code);
  answer_begin(session, status);
  answer_header(session, "x-ms-error-code: %s", code);
  answer_header(session, "Content-Type: application/xml");
  if (session->ends) answer_header(session, "Connection: close");
  return answer_end(session, (uint64_t)n, body, is_head ? 0 : (size_t)n);
}

bool answer_empty(struct session *session) {
  return answer_end(session, 0, NULL, 0);
}

// One request and its answer. False: the connection is of no use any more.
static bool serve(struct session *session) {
  struct request *request = &session->request;
  char value[32];
  if (!parse(request, session->in.head)) {
    request->head = "";
    session->ends = true;
    answer_error(session, "400 Bad Request", "InvalidUri");
    conn_flush(&session->conn);
    return false;
  }
  totals.requests += 1;
  totals.bytes_in += request->body_bytes;
  if (is_verbose) fprintf(stderr, "%.*s\n", (int)strcspn(request->head, "\r"), request->head);
  if (http_header(request->head, "Expect", value, sizeof value)) {
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    if (!conn_write(&session->conn, go_on, sizeof go_on - 1) || !conn_flush(&session->conn)) return false;
  }
  uint64_t left = request->body_bytes;
  bool is_alive = request->blob[0] ? blob_request(session) : container_request(session);
  // A handler that had no use for the body has left body_bytes as it was.
  if (request->body_bytes == left) {
    while (is_alive && left > 0) {
      size_t n = left < SCRATCH_BYTES ? (size_t)left : SCRATCH_BYTES;
      is_alive = http_read_all(&session->in, session->scratch, n);
      left -= n;
    }
  }
  is_alive = is_alive && conn_flush(&session->conn);
  return is_alive && !(http_header(request->head, "Connection", value, sizeof value) && strcasecmp(value, "close") == 0);
}

void session_run(struct session *session) {
  totals.connections += 1;
  session->ends = false;
  session->in.conn = &session->conn;
  session->in.have = session->in.used = 0;
  while (http_read_head(&session->in) && serve(session)) continue;
  conn_close(&session->conn);
  free(session);
}
