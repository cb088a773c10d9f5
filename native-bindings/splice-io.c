#define _GNU_SOURCE
#include "splice-io.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

// Room for 256 pieces, one for each page of it. That is what everybody may have (pipe(7), pipe-max-size).
#define PIPE_BYTES (1024 * 1024)
// So much is worth a write when nothing more has come: it is still in the core's cache.
#define WARM_BYTES (256 * 1024)

bool conduit_open(struct conduit *conduit) {
  conduit->bytes = 0;
  if (pipe2(conduit->ends, O_CLOEXEC) != 0) return false;
  // A smaller one, where it may not grow, only fills sooner.
  fcntl(conduit->ends[1], F_SETPIPE_SZ, PIPE_BYTES);
  return true;
}

void conduit_close(struct conduit *conduit) {
  close(conduit->ends[0]);
  close(conduit->ends[1]);
}

// Where splice(2) is not to be had for such a descriptor, or not at all.
static bool is_refusal(int error) {
  return error == EINVAL || error == ENOSYS || error == EPERM || error == EOPNOTSUPP;
}

bool conduit_fill(struct conduit *conduit, const struct source *source, size_t limit) {
  struct ending *ending = source->ending;
  for (bool is_last_look = false, is_ready = false; conduit->bytes < limit;) {
    if (atomic_load(source->is_stopped)) return end(ending, STOPPED, 0);
    const ssize_t bytes = splice(source->socket, NULL, conduit->ends[1], NULL, limit - conduit->bytes,
                                 SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (bytes > 0) {
      conduit->bytes += (size_t)bytes;
      is_last_look = is_ready = false;
      continue;
    }
    if (bytes == 0) return end(ending, atomic_load(source->is_stopped) ? STOPPED : ENDED, 0);
    if (errno == EINTR) continue;
    if (is_refusal(errno)) return true;
    if (errno != EAGAIN) return end(ending, SOCKET_FAILED, errno);
    // Bytes are there, and still none comes: there is no room.
    if ((is_ready && conduit->bytes > 0) || conduit->bytes >= WARM_BYTES) return true;
    if (!await_bytes(source, &is_last_look)) return false;
    is_ready = !is_last_look;
  }
  return true;
}

size_t conduit_write(struct conduit *conduit, int file, size_t bytes, uint64_t at) {
  size_t written = 0;
  while (written < bytes) {
    loff_t to = (loff_t)(at + written);
    const ssize_t more = splice(conduit->ends[0], NULL, file, &to, bytes - written, SPLICE_F_MOVE);
    if (more < 0 && errno == EINTR) continue;
    if (more <= 0) break;
    written += (size_t)more;
  }
  conduit->bytes -= written;
  return written;
}

bool conduit_drain(struct conduit *conduit, unsigned char *into) {
  while (conduit->bytes > 0) {
    const ssize_t bytes = read(conduit->ends[0], into, conduit->bytes);
    if (bytes < 0 && errno == EINTR) continue;
    // Nobody else reads it: it cannot be empty.
    if (bytes == 0) errno = EIO;
    if (bytes <= 0) return false;
    into += bytes;
    conduit->bytes -= (size_t)bytes;
  }
  return true;
}
