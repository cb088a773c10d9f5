#define _GNU_SOURCE
#include "splice-io.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

// Room for 256 pieces, one for each page of it. That is what everybody may have (pipe(7), pipe-max-size).
#define PIPE_BYTES (1024 * 1024)
// So much is worth a write when nothing more has come: it is still in the core's cache.
#define WARM_BYTES (256 * 1024)

static bool splices_whole;

// Before 5.10 a file system without a splice of its own, as Lustre's before 2.15.53, was given the pieces of a pipe each in a write:
// one packet, a part of a page. Later it refuses (36e2c7421f02), which shows.
static void look_at_kernel(void) {
  struct utsname its;
  unsigned major = 0, minor = 0;
  splices_whole = uname(&its) == 0 && sscanf(its.release, "%u.%u", &major, &minor) == 2 &&
                  (major > 5 || (major == 5 && minor >= 10));
}

bool conduit_open(struct conduit *conduit) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, look_at_kernel);
  conduit->bytes = 0;
  if (!splices_whole || pipe2(conduit->ends, O_CLOEXEC) != 0) return false;
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
    // Bytes are there, and still none comes: there is no room, or an urgent one is first, which recv(2) passes over.
    if (is_ready || conduit->bytes >= WARM_BYTES) return true;
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
