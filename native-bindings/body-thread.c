// Threads that take the rest of a body off a socket and write it to a file; body-threads.ts uses them.
//
// Why not in JavaScript's thread: what one core has received or decrypted is costly to read for another, and a copy out of
// a cold cache was a third of a restore. Here a body passes through one small buffer of one thread, still warm when it is
// summed and written. Reads and writes block: a file system that hangs holds up one body, and no other.
#define _GNU_SOURCE
#include "body-thread.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/err.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "crc64-core.h"
#include "tls-session.h"

// Aligned blocks of that size stay holes when they are all zero; slab.ts has the same.
#define HOLE_BYTES 65536
// A thread without work ends after that long.
#define IDLE_S 5
#define STACK_BYTES (256 * 1024)

// In the order of body-threads.ts.
enum outcome { WHOLE, ENDED, STALLED, STOPPED, SOCKET_FAILED, FILE_FAILED, TLS_FAILED };

struct body {
  struct body *next_waiting, *next_owned;
  struct instance *owner;
  uint32_t id;
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
  enum outcome outcome;
  int error; // errno
  uint64_t failed_at; // where the file could not be written
  uint64_t crc;
  bool has_more; // without TLS: bytes have come behind it
  struct tls_failure failure;
  napi_ref refs[3]; // what must live as long: buffer, progress, session
};

// One for each JavaScript thread. `bodies` is its own, `running` belongs to the lock.
struct instance {
  struct body *bodies;
  size_t running;
  uint32_t next_id;
  int done_fd;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t arrived = PTHREAD_COND_INITIALIZER, over = PTHREAD_COND_INITIALIZER;
// All below belong to the lock.
static struct body *first, **last = &first;
static int idle;
static size_t waiting;

// --- one body, in a thread ---

static bool end(struct body *body, enum outcome outcome, int error) {
  body->outcome = outcome;
  body->error = error;
  return false;
}

// At least one byte, waited for; 0 when there will be none, and the outcome says why.
static size_t receive(struct body *body, unsigned char *into, size_t room) {
  for (bool is_last_look = false;;) {
    if (atomic_load(&body->is_stopped)) return end(body, STOPPED, 0);
    ssize_t bytes = recv(body->socket, into, room, MSG_DONTWAIT);
    if (bytes > 0) return (size_t)bytes;
    if (bytes == 0) return end(body, atomic_load(&body->is_stopped) ? STOPPED : ENDED, 0);
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return end(body, SOCKET_FAILED, errno);
    if (is_last_look) return end(body, STALLED, 0);
    struct pollfd wanted = {.fd = body->socket, .events = POLLIN};
    is_last_look = poll(&wanted, 1, body->stall_ms) == 0;
  }
}

static bool refill(struct session *session, void *data) {
  struct body *body = data;
  unsigned char *cipher = body->buffer + body->buffer_bytes;
  session->in = cipher;
  session->in_left = receive(body, cipher, body->cipher_bytes);
  return session->in_left > 0;
}

// As `receive`, of content.
static size_t take(struct body *body, unsigned char *into, size_t room) {
  if (!body->session) return receive(body, into, room);
  size_t bytes = 0;
  ERR_clear_error();
  if (SSL_read_ex(body->session->ssl, into, room, &bytes)) return bytes;
  int error = SSL_get_error(body->session->ssl, 0);
  // Then `refill` has said why.
  if (error == SSL_ERROR_WANT_READ) return 0;
  if (error == SSL_ERROR_ZERO_RETURN) return end(body, ENDED, 0);
  tls_describe(body->session, &body->failure);
  return end(body, TLS_FAILED, 0);
}

static bool write_all(struct body *body, const unsigned char *from, size_t bytes, uint64_t at) {
  while (bytes > 0) {
    ssize_t written = pwrite(body->file, from, bytes, (off_t)at);
    if (written < 0 && errno == EINTR) continue;
    // pwrite answers 0 only for 0 bytes asked; anything else would loop here for ever.
    if (written <= 0) {
      body->failed_at = at;
      return end(body, FILE_FAILED, written < 0 ? errno : EIO);
    }
    from += written;
    bytes -= (size_t)written;
    at += (uint64_t)written;
  }
  return true;
}

static bool is_zero(const unsigned char *bytes, size_t length) {
  return bytes[0] == 0 && memcmp(bytes, bytes + 1, length - 1) == 0;
}

// As write_all, but whole blocks of zeros stay holes. The file's last byte is always written: nothing else gives a new file its
// size. dataPieces in slab.ts has the same rules.
static bool write_data(struct body *body, const unsigned char *from, size_t bytes, uint64_t at) {
  const uint64_t stop = at + bytes;
  uint64_t data = at; // where what has to be written begins
  for (uint64_t block = at, next; block < stop; block = next) {
    next = (block / HOLE_BYTES + 1) * HOLE_BYTES;
    if (next > stop) next = stop;
    // A block of which only a part is here counts as data, except at the file's end.
    bool is_whole = block % HOLE_BYTES == 0 && (next % HOLE_BYTES == 0 || next == body->file_bytes);
    if (!is_whole || !is_zero(from + (block - at), next - block)) continue;
    if (!write_all(body, from + (data - at), block - data, data)) return false;
    data = next == body->file_bytes ? next - 1 : next;
  }
  return write_all(body, from + (data - at), stop - data, data);
}

// Writes so many bytes from the front of the buffer, and moves the others there.
static bool flush(struct body *body, size_t bytes) {
  if (bytes == 0) return true;
  uint64_t crc = body->crc;
  if (body->sums) {
    const struct crc64_implementation *implementations;
    crc64_init(&implementations);
    crc = implementations[0].update(crc, body->buffer, bytes);
  }
  if (!(body->keeps_holes ? write_data : write_all)(body, body->buffer, bytes, body->at)) return false;
  body->crc = crc;
  body->at += bytes;
  body->filled -= bytes;
  if (body->filled > 0) memmove(body->buffer, body->buffer + bytes, body->filled);
  if (body->progress) *body->progress += (double)bytes;
  return true;
}

static void run(struct body *body) {
  struct session *session = body->session;
  if (session) {
    session->refill = refill;
    session->refill_data = body;
  }
  body->outcome = WHOLE;
  for (;;) {
    // Writes end at multiples of the buffer's size: aligned to blocks of zeros, and to stripes.
    uint64_t stop = (body->at / body->buffer_bytes + 1) * body->buffer_bytes;
    size_t limit = (size_t)((stop < body->end ? stop : body->end) - body->at);
    if (body->filled >= limit) {
      if (!flush(body, limit) || body->at == body->end) break;
      continue;
    }
    size_t bytes = take(body, body->buffer + body->filled, limit - body->filled);
    body->filled += bytes;
    if (bytes > 0) continue;
    // What has come is kept, and not asked for again.
    enum outcome outcome = body->outcome;
    int error = body->error;
    if (outcome != STOPPED && flush(body, body->filled)) end(body, outcome, error);
    break;
  }
  if (session) {
    // What has come behind the body is seen by whoever reads the session next.
    session->refill = NULL;
    if (session->in_left > 0 && !tls_keep(session, session->in, session->in_left) && body->outcome == WHOLE)
      end(body, SOCKET_FAILED, ENOMEM);
    session->in = NULL;
    session->in_left = 0;
  } else if (body->outcome == WHOLE) {
    unsigned char byte;
    body->has_more = recv(body->socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
  }
}

// --- the threads ---

static void *serve(void *unused) {
  (void)unused;
  pthread_setname_np(pthread_self(), "lhsm-body");
  pthread_mutex_lock(&lock);
  for (;;) {
    if (!first) {
      struct timespec until;
      clock_gettime(CLOCK_REALTIME, &until);
      until.tv_sec += IDLE_S;
      idle++;
      int late = 0;
      while (!first && late == 0) late = pthread_cond_timedwait(&arrived, &lock, &until);
      idle--;
      if (!first) break;
    }
    struct body *body = first;
    first = body->next_waiting;
    if (!first) last = &first;
    waiting--;
    pthread_mutex_unlock(&lock);
    run(body);
    pthread_mutex_lock(&lock);
    // Under the lock: who waits for the end of its bodies closes the pipe. It has room for thousands of ids, and is read.
    struct instance *owner = body->owner;
    const uint32_t id = body->id; // the body is JavaScript's, and may be gone, while `write` still returns
    while (write(owner->done_fd, &id, sizeof id) < 0 && errno == EINTR) continue;
    owner->running--;
    pthread_cond_broadcast(&over);
  }
  pthread_mutex_unlock(&lock);
  OPENSSL_thread_stop();
  return NULL;
}

static int bear(void) {
  pthread_t thread;
  pthread_attr_t attributes;
  sigset_t all, before;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, STACK_BYTES);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  sigfillset(&all); // signals are for the others
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int failure = pthread_create(&thread, &attributes, serve, NULL);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
  return failure;
}

// Gives an errno when no thread can be had: then nothing was begun.
static int begin(struct body *body) {
  int failure = 0;
  pthread_mutex_lock(&lock);
  // Each body has a thread of its own.
  if ((size_t)idle <= waiting) failure = bear();
  if (failure == 0) {
    body->next_waiting = NULL;
    *last = body;
    last = &body->next_waiting;
    waiting++;
    body->owner->running++;
    pthread_cond_signal(&arrived);
  }
  pthread_mutex_unlock(&lock);
  return failure;
}

static void stop(struct body *body) {
  atomic_store(&body->is_stopped, true);
  // Wakes who waits for the peer. The connection is of no more use then, whoever else has it.
  shutdown(body->socket, SHUT_RDWR);
}

// --- for JavaScript ---

static napi_value throw_errno(napi_env env, const char *what, int error) {
  char code[16], message[128];
  snprintf(code, sizeof code, "%d", error);
  snprintf(message, sizeof message, "%s: %s", what, strerror(error));
  napi_throw_error(env, code, message);
  return NULL;
}

static struct instance *instance_of(napi_env env) {
  void *data = NULL;
  napi_get_instance_data(env, &data);
  return data;
}

// The JavaScript thread ends: its memory must not go before those that use it.
static void await_bodies(void *data) {
  struct instance *instance = data;
  pthread_mutex_lock(&lock);
  if (instance->running > 0) {
    for (struct body *body = instance->bodies; body; body = body->next_owned) stop(body);
    while (instance->running > 0) pthread_cond_wait(&over, &lock);
  }
  pthread_mutex_unlock(&lock);
  if (instance->done_fd >= 0) close(instance->done_fd);
  for (struct body *body = instance->bodies, *next; body; body = next) {
    next = body->next_owned;
    close(body->socket);
    free(body);
  }
  free(instance);
}

// openBodies(): number: the descriptor that ids of bodies come through, four bytes each, when they are over
static napi_value open_bodies(napi_env env, napi_callback_info info) {
  (void)info;
  struct instance *instance = instance_of(env);
  int ends[2];
  napi_value result = NULL;
  if (instance->done_fd >= 0) return throw_errno(env, "openBodies: once only", EEXIST);
  if (pipe2(ends, O_CLOEXEC) != 0) return throw_errno(env, "pipe2", errno);
  instance->done_fd = ends[1];
  napi_create_int32(env, ends[0], &result);
  return result;
}

// A number of the object's; exact up to 2^53.
static bool number_of(napi_env env, napi_value object, const char *name, double *number) {
  napi_value value;
  if (napi_get_named_property(env, object, name, &value) == napi_ok && napi_get_value_double(env, value, number) == napi_ok)
    return true;
  char message[64];
  snprintf(message, sizeof message, "takeBody: %s must be a number", name);
  napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", message);
  return false;
}

static bool flag_of(napi_env env, napi_value object, const char *name) {
  napi_value value;
  bool flag = false;
  return napi_get_named_property(env, object, name, &value) == napi_ok && napi_get_value_bool(env, value, &flag) == napi_ok &&
         flag;
}

static void forget(napi_env env, struct body *body) {
  if (body->session) body->session->is_lent = false;
  if (body->socket >= 0) close(body->socket);
  for (size_t n = 0; n < sizeof body->refs / sizeof *body->refs; n++) {
    if (body->refs[n]) napi_delete_reference(env, body->refs[n]);
  }
  free(body);
}

// Fills a body from the request of body-threads.ts; false with an exception.
static bool read_request(napi_env env, napi_value request, struct body *body) {
  double socket, file, at, end, file_bytes, stall_ms, content_bytes, filled, slot;
  napi_value buffer, progress, session;
  napi_valuetype type = napi_undefined;
  napi_typedarray_type kind = napi_int8_array;
  size_t bytes = 0, slots = 0;
  void *data = NULL, *counters = NULL;
  if (!number_of(env, request, "socket", &socket) || !number_of(env, request, "file", &file) ||
      !number_of(env, request, "at", &at) || !number_of(env, request, "end", &end) ||
      !number_of(env, request, "fileBytes", &file_bytes) || !number_of(env, request, "stallMs", &stall_ms) ||
      !number_of(env, request, "contentBytes", &content_bytes) || !number_of(env, request, "filled", &filled) ||
      !number_of(env, request, "slot", &slot))
    return false;
  if (napi_get_named_property(env, request, "buffer", &buffer) != napi_ok ||
      napi_get_typedarray_info(env, buffer, &kind, &bytes, &data, NULL, NULL) != napi_ok || kind != napi_uint8_array ||
      napi_get_named_property(env, request, "progress", &progress) != napi_ok ||
      napi_get_typedarray_info(env, progress, &kind, &slots, &counters, NULL, NULL) != napi_ok ||
      kind != napi_float64_array || napi_get_named_property(env, request, "session", &session) != napi_ok ||
      napi_typeof(env, session, &type) != napi_ok) {
    napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "takeBody: not a request");
    return false;
  }
  const bool has_tls = type == napi_external;
  if (has_tls && !(body->session = tls_session_of(env, session))) return false;
  if (!(content_bytes >= 1 && content_bytes <= (double)bytes && filled >= 0 && filled <= content_bytes && at >= 0 &&
        at + filled <= end && at < end && end <= file_bytes && slot < (double)slots && stall_ms >= 0) ||
      (has_tls && content_bytes == (double)bytes)) {
    napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "takeBody: the request's numbers do not fit each other");
    return false;
  }
  body->file = (int)file;
  body->at = (uint64_t)at;
  body->end = (uint64_t)end;
  body->file_bytes = (uint64_t)file_bytes;
  body->stall_ms = stall_ms < INT_MAX ? (int)stall_ms : INT_MAX;
  body->buffer = data;
  body->buffer_bytes = (size_t)content_bytes;
  body->cipher_bytes = bytes - body->buffer_bytes;
  body->filled = (size_t)filled;
  body->progress = slot >= 0 ? (double *)counters + (size_t)slot : NULL;
  body->keeps_holes = flag_of(env, request, "keepHoles");
  body->sums = flag_of(env, request, "crc");
  if (napi_create_reference(env, buffer, 1, &body->refs[0]) != napi_ok ||
      napi_create_reference(env, progress, 1, &body->refs[1]) != napi_ok ||
      (has_tls && napi_create_reference(env, session, 1, &body->refs[2]) != napi_ok))
    return false;
  body->socket = fcntl((int)socket, F_DUPFD_CLOEXEC, 0);
  if (body->socket < 0) {
    throw_errno(env, "dup", errno);
    return false;
  }
  if (has_tls) body->session->is_lent = true;
  return true;
}

// takeBody(request): number: the body's id; body-threads.ts has the request
static napi_value take_body(napi_env env, napi_callback_info info) {
  napi_value request, result = NULL;
  size_t argc = 1;
  napi_get_cb_info(env, info, &argc, &request, NULL, NULL);
  struct instance *instance = instance_of(env);
  struct body *body = calloc(1, sizeof *body);
  if (!body) return throw_errno(env, "takeBody", ENOMEM);
  body->owner = instance;
  body->id = instance->next_id++;
  body->socket = -1;
  if (!read_request(env, request, body)) {
    forget(env, body);
    return NULL;
  }
  const int failure = begin(body);
  if (failure != 0) {
    forget(env, body);
    return throw_errno(env, "pthread_create", failure);
  }
  body->next_owned = instance->bodies;
  instance->bodies = body;
  napi_create_uint32(env, body->id, &result);
  return result;
}

static struct body **body_of(napi_env env, napi_callback_info info) {
  napi_value value;
  size_t argc = 1;
  uint32_t id = 0;
  napi_get_cb_info(env, info, &argc, &value, NULL, NULL);
  if (napi_get_value_uint32(env, value, &id) == napi_ok) {
    for (struct body **at = &instance_of(env)->bodies; *at; at = &(*at)->next_owned) {
      if ((*at)->id == id) return at;
    }
  }
  napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "there is no such body");
  return NULL;
}

// stopBody(id): has it end soon; its id comes as ever
static napi_value stop_body(napi_env env, napi_callback_info info) {
  struct body **body = body_of(env, info);
  if (body) stop(*body);
  return NULL;
}

// endBody(id): { outcome, errno, at, failedAt, crc, hasMore, code, message } of one whose id has come
static napi_value end_body(napi_env env, napi_callback_info info) {
  struct body **place = body_of(env, info);
  if (!place) return NULL;
  struct body *body = *place;
  *place = body->next_owned;
  napi_value result = NULL, outcome, error, at, failed_at, crc, has_more, code, message;
  if (napi_create_object(env, &result) == napi_ok &&
      napi_create_uint32(env, body->outcome, &outcome) == napi_ok &&
      napi_create_int32(env, body->error, &error) == napi_ok &&
      napi_create_double(env, (double)body->at, &at) == napi_ok &&
      napi_create_double(env, (double)body->failed_at, &failed_at) == napi_ok &&
      napi_create_bigint_uint64(env, body->crc, &crc) == napi_ok &&
      napi_get_boolean(env, body->has_more, &has_more) == napi_ok &&
      napi_create_string_latin1(env, body->failure.code, NAPI_AUTO_LENGTH, &code) == napi_ok &&
      napi_create_string_latin1(env, body->failure.message, NAPI_AUTO_LENGTH, &message) == napi_ok) {
    const napi_property_descriptor properties[] = {
        {"outcome", NULL, NULL, NULL, NULL, outcome, napi_enumerable, NULL},
        {"errno", NULL, NULL, NULL, NULL, error, napi_enumerable, NULL},
        {"at", NULL, NULL, NULL, NULL, at, napi_enumerable, NULL},
        {"failedAt", NULL, NULL, NULL, NULL, failed_at, napi_enumerable, NULL},
        {"crc", NULL, NULL, NULL, NULL, crc, napi_enumerable, NULL},
        {"hasMore", NULL, NULL, NULL, NULL, has_more, napi_enumerable, NULL},
        {"code", NULL, NULL, NULL, NULL, code, napi_enumerable, NULL},
        {"message", NULL, NULL, NULL, NULL, message, napi_enumerable, NULL},
    };
    napi_define_properties(env, result, sizeof properties / sizeof *properties, properties);
  }
  forget(env, body);
  return result;
}

bool body_define(napi_env env, napi_value exports) {
  struct instance *instance = calloc(1, sizeof *instance);
  if (!instance) return false;
  instance->done_fd = -1;
  const napi_property_descriptor properties[] = {
      {"openBodies", NULL, open_bodies, NULL, NULL, NULL, napi_enumerable, NULL},
      {"takeBody", NULL, take_body, NULL, NULL, NULL, napi_enumerable, NULL},
      {"stopBody", NULL, stop_body, NULL, NULL, NULL, napi_enumerable, NULL},
      {"endBody", NULL, end_body, NULL, NULL, NULL, napi_enumerable, NULL},
  };
  return napi_set_instance_data(env, instance, NULL, NULL) == napi_ok &&
         napi_add_env_cleanup_hook(env, await_bodies, instance) == napi_ok &&
         napi_define_properties(env, exports, sizeof properties / sizeof *properties, properties) == napi_ok;
}
