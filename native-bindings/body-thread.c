// Threads that take the rest of a body off a socket and write it to a file, as JavaScript sees them: body-threads.ts uses them.
// body.c has what such a thread does.
#define _GNU_SOURCE
#include "body-thread.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "body.h"
#include "napi-helpers.h"
#include "work-threads.h"

struct job {
  struct work work;
  struct job *next_owned;
  struct body body; // its socket is a duplicate, open until JavaScript knows of the end: it may be shut down until then
  atomic_bool is_stopped;
  struct ending ending;
  napi_ref refs[3]; // what must live as long: buffer, progress, session
};

// One for each JavaScript thread.
struct instance {
  struct owner owner;
  struct job *jobs;
  uint32_t next_id;
};

static void run(struct work *work) { body_move(&((struct job *)work)->body); } // its first member

static void stop(struct job *job) {
  atomic_store(&job->is_stopped, true);
  // Wakes who waits for the peer. The connection is of no more use then, whoever else has it.
  shutdown(job->body.socket, SHUT_RDWR);
}

static void stop_all(void *data) {
  struct instance *instance = data;
  for (struct job *job = instance->jobs; job; job = job->next_owned) stop(job);
}

// The JavaScript thread ends: its memory must not go before those that use it.
static void await_bodies(void *data) {
  struct instance *instance = data;
  work_await(&instance->owner, stop_all, instance);
  for (struct job *job = instance->jobs, *next; job; job = next) {
    next = job->next_owned;
    close(job->body.socket);
    free(job);
  }
  free(instance);
}

// openBodies(): number: the descriptor that ids of bodies come through, four bytes each, when they are over
static napi_value open_bodies(napi_env env, napi_callback_info info) {
  struct instance *instance = function_data(env, info);
  return work_open(env, &instance->owner);
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

static void forget(napi_env env, struct job *job) {
  if (job->body.session) job->body.session->is_lent = false;
  if (job->body.socket >= 0) close(job->body.socket);
  for (size_t n = 0; n < sizeof job->refs / sizeof *job->refs; n++) {
    if (job->refs[n]) napi_delete_reference(env, job->refs[n]);
  }
  free(job);
}

// Fills a job from the request of body-threads.ts; false with an exception.
static bool read_request(napi_env env, napi_value request, struct job *job) {
  struct body *body = &job->body;
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
  if (napi_create_reference(env, buffer, 1, &job->refs[0]) != napi_ok ||
      napi_create_reference(env, progress, 1, &job->refs[1]) != napi_ok ||
      (has_tls && napi_create_reference(env, session, 1, &job->refs[2]) != napi_ok))
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
  struct instance *instance = function_data(env, info);
  struct job *job = calloc(1, sizeof *job);
  if (!job) return throw_errno(env, "takeBody", ENOMEM);
  job->work = (struct work){.owner = &instance->owner, .id = instance->next_id++, .run = run};
  job->body.socket = -1;
  job->body.is_stopped = &job->is_stopped;
  job->body.ending = &job->ending;
  if (!read_request(env, request, job)) {
    forget(env, job);
    return NULL;
  }
  const int failure = work_begin(&job->work);
  if (failure != 0) {
    forget(env, job);
    return throw_errno(env, "pthread_create", failure);
  }
  job->next_owned = instance->jobs;
  instance->jobs = job;
  napi_create_uint32(env, job->work.id, &result);
  return result;
}

static struct job **job_of(napi_env env, napi_callback_info info) {
  napi_value value;
  size_t argc = 1;
  uint32_t id = 0;
  napi_get_cb_info(env, info, &argc, &value, NULL, NULL);
  if (napi_get_value_uint32(env, value, &id) == napi_ok) {
    struct instance *instance = function_data(env, info);
    for (struct job **at = &instance->jobs; *at; at = &(*at)->next_owned) {
      if ((*at)->work.id == id) return at;
    }
  }
  napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "there is no such body");
  return NULL;
}

// stopBody(id): has it end soon; its id comes as ever
static napi_value stop_body(napi_env env, napi_callback_info info) {
  struct job **job = job_of(env, info);
  if (job) stop(*job);
  return NULL;
}

// endBody(id): { outcome, errno, at, failedAt, crc, spliced, hasMore, code, message } of one whose id has come
static napi_value end_body(napi_env env, napi_callback_info info) {
  struct job **place = job_of(env, info);
  if (!place) return NULL;
  struct job *job = *place;
  const struct body *body = &job->body;
  const struct ending *ending = &job->ending;
  *place = job->next_owned;
  napi_value result = NULL, outcome, error, at, failed_at, crc, spliced, has_more, code, message;
  if (napi_create_object(env, &result) == napi_ok &&
      napi_create_uint32(env, ending->outcome, &outcome) == napi_ok &&
      napi_create_int32(env, ending->error, &error) == napi_ok &&
      napi_create_double(env, (double)body->at, &at) == napi_ok &&
      napi_create_double(env, (double)ending->failed_at, &failed_at) == napi_ok &&
      napi_create_bigint_uint64(env, body->crc, &crc) == napi_ok &&
      napi_create_double(env, (double)body->spliced, &spliced) == napi_ok &&
      napi_get_boolean(env, body->has_more, &has_more) == napi_ok &&
      napi_create_string_latin1(env, ending->failure.code, NAPI_AUTO_LENGTH, &code) == napi_ok &&
      napi_create_string_latin1(env, ending->failure.message, NAPI_AUTO_LENGTH, &message) == napi_ok) {
    const napi_property_descriptor properties[] = {
        {"outcome", NULL, NULL, NULL, NULL, outcome, napi_enumerable, NULL},
        {"errno", NULL, NULL, NULL, NULL, error, napi_enumerable, NULL},
        {"at", NULL, NULL, NULL, NULL, at, napi_enumerable, NULL},
        {"failedAt", NULL, NULL, NULL, NULL, failed_at, napi_enumerable, NULL},
        {"crc", NULL, NULL, NULL, NULL, crc, napi_enumerable, NULL},
        {"spliced", NULL, NULL, NULL, NULL, spliced, napi_enumerable, NULL},
        {"hasMore", NULL, NULL, NULL, NULL, has_more, napi_enumerable, NULL},
        {"code", NULL, NULL, NULL, NULL, code, napi_enumerable, NULL},
        {"message", NULL, NULL, NULL, NULL, message, napi_enumerable, NULL},
    };
    napi_define_properties(env, result, sizeof properties / sizeof *properties, properties);
  }
  forget(env, job);
  return result;
}

bool body_define(napi_env env, napi_value exports) {
  struct instance *instance = calloc(1, sizeof *instance);
  if (!instance) return false;
  instance->owner = NEW_OWNER;
  const napi_property_descriptor properties[] = {
      {"openBodies", NULL, open_bodies, NULL, NULL, NULL, napi_enumerable, instance},
      {"takeBody", NULL, take_body, NULL, NULL, NULL, napi_enumerable, instance},
      {"stopBody", NULL, stop_body, NULL, NULL, NULL, napi_enumerable, instance},
      {"endBody", NULL, end_body, NULL, NULL, NULL, napi_enumerable, instance},
  };
  return napi_add_env_cleanup_hook(env, await_bodies, instance) == napi_ok &&
         napi_define_properties(env, exports, sizeof properties / sizeof *properties, properties) == napi_ok;
}
