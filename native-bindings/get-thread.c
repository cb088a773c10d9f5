// GETs in threads, as JavaScript sees them: get-threads.ts uses them. get.c has what such a thread does.
#define _GNU_SOURCE
#include "get-thread.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "get.h"
#include "napi-helpers.h"
#include "route.h"

// One for each JavaScript thread.
struct instance {
  struct owner owner;
  struct get **gets; // by their ids; NULL where there is none
  size_t places;
  struct get *spare; // as many as there have been at once
};

static void stop_all(void *data) {
  struct instance *instance = data;
  for (size_t id = 0; id < instance->places; id++) {
    if (instance->gets[id]) get_stop(instance->gets[id]);
  }
}

// What it has of its own.
static void empty(struct get *get) {
  route_drop(get->use.route);
  free(get->request);
  free(get->etag);
  free(get->holes_header);
  free(get->sum_header);
  sem_destroy(&get->answered);
}

// The JavaScript thread ends.
static void await_gets(void *data) {
  struct instance *instance = data;
  work_await(&instance->owner, stop_all, instance);
  for (size_t id = 0; id < instance->places; id++) {
    struct get *get = instance->gets[id];
    if (!get) continue;
    empty(get);
    free(get);
  }
  for (struct get *get = instance->spare, *next; get; get = next) {
    next = get->next_spare;
    free(get);
  }
  free(instance->gets);
  free(instance);
}

// openGets(): number: the descriptor that ids of requests come through, four bytes each, when they are over
static napi_value open_gets(napi_env env, napi_callback_info info) {
  struct instance *instance = function_data(env, info);
  return work_open(env, &instance->owner);
}

static bool make_place(struct instance *instance, uint32_t *id) {
  for (size_t n = 0; n < instance->places; n++) {
    if (instance->gets[n]) continue;
    *id = (uint32_t)n;
    return true;
  }
  const size_t places = 2 * instance->places + 16;
  struct get **gets = realloc(instance->gets, places * sizeof *gets);
  if (!gets) return false;
  memset(gets + instance->places, 0, (places - instance->places) * sizeof *gets);
  *id = (uint32_t)instance->places;
  instance->gets = gets;
  instance->places = places;
  return true;
}

// Zeroed, but for the memory of the answer.
static struct get *new_get(struct instance *instance) {
  struct get *get = instance->spare;
  if (get) instance->spare = get->next_spare;
  else if (!(get = malloc(sizeof *get))) return NULL;
  memset(get, 0, offsetof(struct get, answer));
  sem_init(&get->answered, 0, 0);
  return get;
}

static void forget(napi_env env, struct instance *instance, struct get *get) {
  empty(get);
  for (size_t n = 0; n < sizeof get->refs / sizeof *get->refs; n++) {
    if (get->refs[n]) napi_delete_reference(env, get->refs[n]);
  }
  get->next_spare = instance->spare;
  instance->spare = get;
}

// A Latin-1 string in memory of its own; NULL without memory, or when it is none.
static char *text_of(napi_env env, napi_value value, size_t *length) {
  char *text = NULL;
  if (napi_get_value_string_latin1(env, value, NULL, 0, length) == napi_ok && (text = malloc(*length + 1)))
    napi_get_value_string_latin1(env, value, text, *length + 1, length);
  return text;
}

static bool read_count(napi_env env, napi_value value, uint64_t *count) {
  int64_t number = -1;
  if (napi_get_value_int64(env, value, &number) != napi_ok || number < 0) return false;
  *count = (uint64_t)number;
  return true;
}

// buffer: Uint8Array, contentBytes: number, progress: Float64Array, slot: number; what is behind the content is for ciphertext
static bool read_memory(napi_env env, const napi_value *argv, struct get *get) {
  napi_typedarray_type buffer_type = napi_int8_array, progress_type = napi_int8_array;
  size_t bytes = 0, slots = 0;
  uint64_t content = 0;
  int64_t slot = -1;
  void *buffer = NULL, *counters = NULL;
  if (napi_get_typedarray_info(env, argv[0], &buffer_type, &bytes, &buffer, NULL, NULL) != napi_ok ||
      buffer_type != napi_uint8_array || !read_count(env, argv[1], &content) ||
      napi_get_typedarray_info(env, argv[2], &progress_type, &slots, &counters, NULL, NULL) != napi_ok ||
      progress_type != napi_float64_array || napi_get_value_int64(env, argv[3], &slot) != napi_ok)
    return false;
  // What comes with the head must have room.
  if (content < sizeof get->answer || content > bytes || slot >= (int64_t)slots) return false;
  if (get->use.route->has_tls && content == bytes) return false;
  get->buffer = buffer;
  get->buffer_bytes = (size_t)content;
  get->cipher_bytes = bytes - get->buffer_bytes;
  get->progress = slot >= 0 ? (double *)counters + slot : NULL;
  return napi_create_reference(env, argv[0], 1, &get->refs[0]) == napi_ok &&
         napi_create_reference(env, argv[2], 1, &get->refs[1]) == napi_ok;
}

enum { ROUTE, TEXT, FILE_FD, START, END, FILE_BYTES, ETAG, HOLES_HEADER, SUM_HEADER, KEEP_HOLES, SUM, ASKS, MEMORY, ARGUMENTS = MEMORY + 4 };

// False with an exception.
static bool read_get(napi_env env, const napi_value *argv, struct get *get) {
  napi_valuetype types[ARGUMENTS] = {napi_undefined};
  size_t length = 0;
  for (size_t n = TEXT; n < ARGUMENTS; n++) napi_typeof(env, argv[n], &types[n]);
  const bool has_memory = types[MEMORY] != napi_undefined;
  if (types[TEXT] != napi_string || napi_get_value_int32(env, argv[FILE_FD], &get->file) != napi_ok ||
      !read_count(env, argv[START], &get->start) || !read_count(env, argv[END], &get->end) ||
      !read_count(env, argv[FILE_BYTES], &get->file_bytes) || get->start > get->end || get->end > get->file_bytes ||
      (has_memory ? !read_memory(env, argv + MEMORY, get) : get->end - get->start > SMALL_BYTES)) {
    throw_type(env, "startGet: a text, a descriptor, a range, and memory for a body that is not small are needed");
    return false;
  }
  napi_get_value_bool(env, argv[KEEP_HOLES], &get->keeps_holes);
  napi_get_value_bool(env, argv[SUM], &get->sums);
  napi_get_value_bool(env, argv[ASKS], &get->asks);
  get->at = get->start;
  char **const texts[] = {&get->request, &get->etag, &get->holes_header, &get->sum_header};
  const size_t places[] = {TEXT, ETAG, HOLES_HEADER, SUM_HEADER};
  for (size_t n = 0; n < sizeof places / sizeof *places; n++) {
    if (types[places[n]] != napi_string) continue;
    *texts[n] = text_of(env, argv[places[n]], n == 0 ? &get->request_bytes : &length);
    if (*texts[n]) continue;
    throw_errno(env, "startGet", ENOMEM);
    return false;
  }
  return true;
}

// startGet(route: External, request: string, file: number, start: number, end: number, fileBytes: number, etag?: string,
//          holesHeader?: string, sumHeader?: string, keepHoles: boolean, sum: boolean, asks: boolean, and for a body that is not small
//          buffer: Uint8Array, contentBytes: number, progress: Float64Array, slot: number): number
// Sends that text, and writes the body to its place in the file if it is that range of a blob of so many bytes, in the version
// of that ETag, which has no quotes. Answers the request's id. One that asks lets its id come with the highest bit set when a
// right answer with a body that is not small has begun, and waits for goGet or stopGet; its id comes as ever.
static napi_value start_get(napi_env env, napi_callback_info info) {
  napi_value argv[ARGUMENTS], result = NULL;
  size_t argc = ARGUMENTS;
  uint32_t id = 0;
  struct instance *instance = function_data(env, info);
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  struct route *route = route_of(env, argv[ROUTE]);
  if (!route) return NULL;
  struct get *get = make_place(instance, &id) ? new_get(instance) : NULL;
  if (!get) return throw_errno(env, "startGet", ENOMEM);
  get->work = (struct work){.owner = &instance->owner, .id = id, .run = get_run, .is_quick = true};
  get->use.route = route;
  get->use.socket = -1;
  route_hold(route);
  const bool is_read = read_get(env, argv, get);
  const int failure = is_read ? work_begin(&get->work) : 0;
  if (failure != 0) throw_errno(env, "startGet", failure);
  if (!is_read || failure != 0) {
    forget(env, instance, get);
    return NULL;
  }
  instance->gets[id] = get;
  napi_create_uint32(env, id, &result);
  return result;
}

static struct get *get_of(napi_env env, struct instance *instance, napi_value value) {
  uint32_t id = 0;
  if (napi_get_value_uint32(env, value, &id) == napi_ok && id < instance->places && instance->gets[id])
    return instance->gets[id];
  napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "there is no such request");
  return NULL;
}

// stopGet(id: number): has it end soon; its id comes as ever
static napi_value stop_get(napi_env env, napi_callback_info info) {
  napi_value value;
  size_t argc = 1;
  struct instance *instance = function_data(env, info);
  napi_get_cb_info(env, info, &argc, &value, NULL, NULL);
  struct get *get = get_of(env, instance, value);
  if (get) get_stop(get);
  return NULL;
}

// headOfGet(id: number, text: Uint8Array): number: copies the head for which one asks, and gives its length
static napi_value head_of_get(napi_env env, napi_callback_info info) {
  napi_value argv[2], result = NULL;
  size_t argc = 2, room = 0;
  napi_typedarray_type type = napi_int8_array;
  void *text = NULL;
  struct instance *instance = function_data(env, info);
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  struct get *get = get_of(env, instance, argv[0]);
  if (!get) return NULL;
  if (!atomic_load(&get->is_asking) || napi_get_typedarray_info(env, argv[1], &type, &room, &text, NULL, NULL) != napi_ok ||
      type != napi_uint8_array || room < get->head_bytes)
    return throw_type(env, "headOfGet: one that asks, and room for a head are needed");
  memcpy(text, get->answer, get->head_bytes);
  napi_create_uint32(env, (uint32_t)get->head_bytes, &result);
  return result;
}

// goGet(id: number, keepHoles: boolean, sum: boolean): to one that asks
static napi_value go_get(napi_env env, napi_callback_info info) {
  napi_value argv[3];
  size_t argc = 3;
  bool keeps_holes = false, sums = false;
  struct instance *instance = function_data(env, info);
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  struct get *get = get_of(env, instance, argv[0]);
  if (!get) return NULL;
  if (!atomic_load(&get->is_asking) || napi_get_value_bool(env, argv[1], &keeps_holes) != napi_ok ||
      napi_get_value_bool(env, argv[2], &sums) != napi_ok)
    return throw_type(env, "goGet: one that asks, and how to write are needed");
  get_go(get, keeps_holes, sums);
  return NULL;
}

// What get-threads.ts reads in `state`.
enum {
  OUTCOME, ERRNO, ANSWERED, REASON, IS_CONTENT, BODY_US,
  FAILED_AT, CRC = FAILED_AT + 2, AT = CRC + 2, SPLICED = AT + 2, STATES = SPLICED + 2, // two places each, the lower half first
};

static void put_halves(uint32_t *state, uint64_t number) {
  state[0] = (uint32_t)number;
  state[1] = (uint32_t)(number >> 32);
}

// endGet(id: number, state: Uint32Array, text: Uint8Array): of one whose id has come. Puts into `text` the answer as far as it
// has come, of content the head only; and where TLS failed, behind the head of content or nothing, a code, a line break, and a
// message.
static napi_value end_get(napi_env env, napi_callback_info info) {
  napi_value argv[3];
  size_t argc = 3, states = 0, room = 0;
  napi_typedarray_type state_type = napi_int8_array, text_type = napi_int8_array;
  void *state_data = NULL, *text = NULL;
  struct instance *instance = function_data(env, info);
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  struct get *get = get_of(env, instance, argv[0]);
  if (!get) return NULL;
  if (napi_get_typedarray_info(env, argv[1], &state_type, &states, &state_data, NULL, NULL) != napi_ok ||
      napi_get_typedarray_info(env, argv[2], &text_type, &room, &text, NULL, NULL) != napi_ok ||
      state_type != napi_uint32_array || text_type != napi_uint8_array || states < STATES || room < sizeof get->answer)
    return throw_type(env, "endGet: room for the state and an answer is needed");
  const struct ending *ending = &get->use.ending;
  uint32_t *state = state_data;
  const bool has_reason = ending->outcome == TLS_FAILED;
  const size_t bytes = get->is_content ? get->head_bytes : has_reason ? 0 : get->filled;
  memcpy(text, get->answer, bytes);
  state[REASON] = 0;
  if (has_reason)
    state[REASON] = (uint32_t)snprintf((char *)text + bytes, room - bytes, "%s\n%s", ending->failure.code, ending->failure.message);
  state[OUTCOME] = ending->outcome;
  state[ERRNO] = (uint32_t)ending->error;
  state[ANSWERED] = (uint32_t)bytes;
  state[IS_CONTENT] = get->is_content;
  state[BODY_US] = get->head_bytes > 0 ? (uint32_t)(get_now_us() - get->head_at_us) : 0;
  put_halves(state + FAILED_AT, ending->failed_at);
  put_halves(state + CRC, get->crc);
  put_halves(state + AT, get->at);
  put_halves(state + SPLICED, get->spliced);
  instance->gets[get->work.id] = NULL;
  forget(env, instance, get);
  return NULL;
}

bool get_define(napi_env env, napi_value exports) {
  struct instance *instance = calloc(1, sizeof *instance);
  if (!instance) return false;
  instance->owner = NEW_OWNER;
  const napi_property_descriptor properties[] = {
      {"openGets", NULL, open_gets, NULL, NULL, NULL, napi_enumerable, instance},
      {"startGet", NULL, start_get, NULL, NULL, NULL, napi_enumerable, instance},
      {"headOfGet", NULL, head_of_get, NULL, NULL, NULL, napi_enumerable, instance},
      {"goGet", NULL, go_get, NULL, NULL, NULL, napi_enumerable, instance},
      {"stopGet", NULL, stop_get, NULL, NULL, NULL, napi_enumerable, instance},
      {"endGet", NULL, end_get, NULL, NULL, NULL, napi_enumerable, instance},
  };
  return napi_add_env_cleanup_hook(env, await_gets, instance) == napi_ok &&
         napi_define_properties(env, exports, sizeof properties / sizeof *properties, properties) == napi_ok;
}
