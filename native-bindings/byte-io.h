// Bytes off a socket and into a file, by calls that wait: byte-io.c. body.c and link.c move bytes with it.
#ifndef LHSM_BYTE_IO_H
#define LHSM_BYTE_IO_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tls-session.h"

// How a transfer ended, in the order of transfer-end.ts.
enum outcome { WHOLE, ENDED, STALLED, STOPPED, SOCKET_FAILED, FILE_FAILED, TLS_FAILED, UNUSUAL };

struct ending {
  enum outcome outcome;
  int error;          // errno
  uint64_t failed_at; // where the file could not be written
  struct tls_failure failure;
};

// Says why it ended; always false.
bool end(struct ending *ending, enum outcome outcome, int error);

// Says why a call of OpenSSL's that gave `result` has failed; where it wanted more to read, whoever reads for it has said so.
bool end_tls(struct ending *ending, const struct session *session, int result);

// A socket, and when to give up.
struct source {
  int socket;
  int stall_ms;
  bool is_quick; // for quick work: work-threads.h
  atomic_bool *is_stopped; // once set, the socket is shut down as well, to wake who waits for it
  struct ending *ending;
};

// For when nothing has come: waits. True when it is worth another look, which is the last one when the time was up; false after
// that, and the ending says so.
bool await_bytes(const struct source *source, bool *is_last_look);

// At least one byte, waited for; 0 when there will be none, and the ending says why.
size_t receive(const struct source *source, void *into, size_t room);

// False when the file could not take all, and the ending says why.
bool write_all(int file, const unsigned char *from, size_t bytes, uint64_t at, struct ending *ending);

// Whether there is nothing in it but zeros; it must not be empty.
bool is_zero(const unsigned char *bytes, size_t length);

#endif
