#include "byte-io.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include "work-threads.h"

bool end(struct ending *ending, enum outcome outcome, int error) {
  ending->outcome = outcome;
  ending->error = error;
  return false;
}

bool end_tls(struct ending *ending, const struct session *session, int result) {
  switch (SSL_get_error(session->ssl, result)) {
  case SSL_ERROR_WANT_READ:
    return false;
  case SSL_ERROR_ZERO_RETURN:
    return end(ending, ENDED, 0);
  default:
    tls_describe(session, &ending->failure);
    return end(ending, TLS_FAILED, 0);
  }
}

bool await_bytes(const struct source *source, bool *is_last_look) {
  if (*is_last_look) return end(source->ending, STALLED, 0);
  struct pollfd wanted = {.fd = source->socket, .events = POLLIN};
  const int ready = source->is_quick ? work_poll(&wanted, source->stall_ms) : poll(&wanted, 1, source->stall_ms);
  *is_last_look = ready == 0;
  return true;
}

size_t receive(const struct source *source, void *into, size_t room) {
  struct ending *ending = source->ending;
  for (bool is_last_look = false;;) {
    if (atomic_load(source->is_stopped)) return end(ending, STOPPED, 0);
    ssize_t bytes = recv(source->socket, into, room, MSG_DONTWAIT);
    if (bytes > 0) return (size_t)bytes;
    if (bytes == 0) return end(ending, atomic_load(source->is_stopped) ? STOPPED : ENDED, 0);
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return end(ending, SOCKET_FAILED, errno);
    if (!await_bytes(source, &is_last_look)) return 0;
  }
}

bool write_all(int file, const unsigned char *from, size_t bytes, uint64_t at, struct ending *ending) {
  while (bytes > 0) {
    ssize_t written = pwrite(file, from, bytes, (off_t)at);
    if (written < 0 && errno == EINTR) continue;
    // pwrite answers 0 only for 0 bytes asked; anything else would loop here for ever.
    if (written <= 0) {
      ending->failed_at = at;
      return end(ending, FILE_FAILED, written < 0 ? errno : EIO);
    }
    from += written;
    bytes -= (size_t)written;
    at += (uint64_t)written;
  }
  return true;
}

bool is_zero(const unsigned char *bytes, size_t length) {
  return bytes[0] == 0 && memcmp(bytes, bytes + 1, length - 1) == 0;
}
