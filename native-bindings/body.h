// A body, or the rest of one, that a thread takes off a socket and writes to a file: body.c. body-thread.c has it done with what
// JavaScript's connections begin to receive, get.c with what comes on its own.
#ifndef LHSM_BODY_H
#define LHSM_BODY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "byte-io.h"
#include "tls-session.h"

struct body {
  struct session *session; // NULL without TLS
  int socket;
  int file;
  uint64_t at, end, file_bytes; // `at` is where the first byte of `buffer` belongs
  bool keeps_holes, sums;
  int stall_ms;
  unsigned char *buffer; // content, at the front what has come already; behind it ciphertext
  size_t buffer_bytes, filled, cipher_bytes;
  volatile double *progress; // bytes written are added there; or NULL
  atomic_bool *is_stopped; // whoever sets it shuts the socket down as well
  struct ending *ending;
  // What comes of it:
  uint64_t crc;
  uint64_t spliced; // bytes of it that were not copied here
  bool has_more;    // without TLS: bytes have come behind it
};

// Takes it: `at` says how far it came, and the ending why no further. What of TLS has come behind it is kept in the session.
void body_move(struct body *body);

// Writes what is there, all of it, and takes nothing.
void body_write(struct body *body);

#endif
