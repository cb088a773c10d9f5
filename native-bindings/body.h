// One body that a thread takes off a socket and writes to a file: body.c. body-thread.c makes it from what JavaScript asks for.
#ifndef LHSM_BODY_H
#define LHSM_BODY_H

#include <node_api.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "byte-io.h"
#include "tls-session.h"
#include "work-threads.h"

struct body {
  struct work work;
  struct body *next_owned;
  struct session *session; // NULL without TLS
  int socket;              // a duplicate, open until JavaScript knows of the end: it may be shut down until then
  int file;
  uint64_t at, end, file_bytes; // `at` is where the first byte of `buffer` belongs
  bool keeps_holes, sums;
  int stall_ms;
  unsigned char *buffer; // content, at the front what has come already; behind it ciphertext
  size_t buffer_bytes, filled, cipher_bytes;
  volatile double *progress; // bytes written are added there; or NULL
  atomic_bool is_stopped;
  struct ending ending;
  uint64_t crc;
  uint64_t spliced; // bytes of it that were not copied here
  bool has_more; // without TLS: bytes have come behind it
  napi_ref refs[3]; // what must live as long: buffer, progress, session
};

// The work: takes the body, and says in it how far it came and why no further.
void body_run(struct work *work);

// Has it end soon; from any thread. The connection is of no more use then, whoever else has it.
void body_stop(struct body *body);

#endif
