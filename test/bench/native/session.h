// One client's connection: requests come in, answers go out. The request handlers use it.
#ifndef SESSION_H
#define SESSION_H

#include <stdatomic.h>

#include "blobs.h"
#include "http.h"

#define OUT_BYTES (32 * 1024)
#define SCRATCH_BYTES (512 * 1024)

struct request {
  char method[8];
  char container[256]; // empty: the account itself
  char blob[NAME_BYTES]; // empty: the container itself
  char query[8192];
  const char *head;
  uint64_t body_bytes;
};

struct session {
  struct conn conn;
  struct http_in in;
  struct request request;
  struct blob blob; // for whoever handles the request
  char name[NAME_BYTES];
  char out[OUT_BYTES];
  size_t out_used;
  bool ends; // says so in its next answer
  unsigned char scratch[SCRATCH_BYTES];
};

// What the server did since the last reset.
struct totals {
  _Atomic uint64_t connections, requests, failures, bytes_in, bytes_out;
};
extern struct totals totals;
// --verify: compare every uploaded byte; --verbose: a line for each request on standard error.
extern bool is_verifying, is_verbose;

// Serves until the client leaves; frees the session.
void session_run(struct session *session);

// The value of a parameter, decoded; false when it is not there or too long.
bool request_query(const struct request *request, const char *key, char *into, size_t bytes);
bool request_query_is(const struct request *request, const char *key, const char *value);

// Begins an answer: status line and the headers that all have.
void answer_begin(struct session *session, const char *status);
void answer_header(struct session *session, const char *format, ...) __attribute__((format(printf, 2, 3)));
void answer_time(struct session *session, const char *name, int64_t seconds);
// Ends the head, sends it together with a short body. False: the connection is broken.
bool answer_end(struct session *session, uint64_t content_length, const void *body, size_t body_bytes);
// An error as Azure words it, a whole answer.
bool answer_error(struct session *session, const char *status, const char *code);
bool answer_empty(struct session *session);

// requests on blobs and on containers and the account.
bool blob_request(struct session *session);
bool container_request(struct session *session);
bool list_blobs(struct session *session);

#endif
