// Threads that get small blobs, each as a whole: send the request, take head and body, write the body to a file.
// small-get-threads.ts uses them.
//
// Why not in JavaScript's threads: a small file there is a message to a worker, an event of a socket, a write in a third
// thread, and the same way back; the threads' waking each other costs several times what the kernel does for the file. Here
// the thread that waits for the answer writes it. Only answers that are quite ordinary are taken; of all others JavaScript is
// told to ask again in the way that understands everything (connection.ts, get-job.ts).
#define _GNU_SOURCE
#include "small-get.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "crc64-core.h"
#include "link.h"
#include "napi-helpers.h"
#include "work-threads.h"

// As MAX_HEAD_BYTES of response-parser.ts.
#define HEAD_BYTES (32 * 1024)
// As SMALL_BODY_BYTES of connection.ts.
#define BODY_BYTES (32 * 1024)

struct get {
  struct work work;
  struct use use;
  int file;
  size_t expected_bytes;
  char *request;
  size_t request_bytes;
  char *etag; // of the version that it must be, without quotes; NULL for any
  char *holes_header; // says 1 where blocks of zeros are to stay holes; or NULL
  bool keeps_holes;
  bool is_content; // what came behind the head is what was asked for
  size_t filled, head_bytes;
  uint64_t crc;
  struct get *next_spare;
  unsigned char answer[HEAD_BYTES + BODY_BYTES];
};

// One for each JavaScript thread.
struct instance {
  struct owner owner;
  struct get **gets; // by their ids; NULL where there is none
  size_t places;
  struct get *spare; // as many as there have been at once
};

// --- the head of an answer ---

struct head {
  size_t bytes; // with the empty line
  int status;
  size_t length; // of the body
  bool keeps_alive;
  bool keeps_holes;
  bool is_other; // another range, size or version than was asked for
};

static bool is_token(const char *at, const char *stop) {
  for (; at < stop; at++) {
    const unsigned char c = (unsigned char)*at;
    const bool is_alnum = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
    if (!is_alnum && (c == 0 || !strchr("!#$%&'*+.^_`|~-", c))) return false;
  }
  return true;
}

static bool is_text(const char *at, const char *stop) {
  for (; at < stop; at++) {
    const unsigned char c = (unsigned char)*at;
    if ((c < 32 && c != '\t') || c == 127) return false;
  }
  return true;
}

static bool is_name(const char *at, size_t length, const char *name) {
  return strlen(name) == length && strncasecmp(at, name, length) == 0;
}

static void strip(const char **at, const char **stop, const char *set) {
  while (*at < *stop && strchr(set, **at)) ++*at;
  while (*stop > *at && strchr(set, (*stop)[-1])) --*stop;
}

static bool is_value(const char *at, const char *stop, const char *set, const char *value) {
  strip(&at, &stop, set);
  return strlen(value) == (size_t)(stop - at) && memcmp(at, value, (size_t)(stop - at)) == 0;
}

static bool read_length(const char *at, const char *stop, size_t *length) {
  strip(&at, &stop, " \t");
  if (at == stop || stop - at > 9) return false;
  for (*length = 0; at < stop; at++) {
    if (*at < '0' || *at > '9') return false;
    *length = *length * 10 + (size_t)(*at - '0');
  }
  return true;
}

static bool has_word(const char *at, const char *stop, const char *word) {
  const size_t length = strlen(word);
  for (; (size_t)(stop - at) >= length; at++) {
    if (strncasecmp(at, word, length) == 0) return true;
  }
  return false;
}

// Reads what decides where an answer of HTTP/1.1 ends, one Content-Length without a coding, and whether it is what was asked
// for. All else that is in it response-parser.ts looks at. False for what is not as usual. `stop` is behind the line break of
// the last header.
static bool parse(const char *at, const char *stop, const struct get *get, struct head *head) {
  if (stop - at < 14 || memcmp(at, "HTTP/1.1 ", 9) != 0 || (at[12] != ' ' && at[12] != '\r')) return false;
  for (int digit = 9; digit < 12; digit++) {
    if (at[digit] < '0' || at[digit] > '9') return false;
    head->status = head->status * 10 + (at[digit] - '0');
  }
  if (head->status < 200 || head->status > 599 || head->status == 204 || head->status == 304) return false;
  char range[64]; // of the whole
  snprintf(range, sizeof range, "bytes 0-%zu/%zu", get->expected_bytes - 1, get->expected_bytes);
  bool has_length = false, has_range = false, has_etag = false, has_holes = false;
  head->keeps_alive = true;
  for (bool is_first = true; at < stop; is_first = false) {
    const char *line = at;
    const char *line_stop = memmem(at, (size_t)(stop - at), "\r\n", 2);
    if (!line_stop || !is_text(line, line_stop)) return false;
    at = line_stop + 2;
    if (is_first) continue;
    const char *colon = memchr(line, ':', (size_t)(line_stop - line));
    if (!colon || colon == line || !is_token(line, colon)) return false;
    const size_t name = (size_t)(colon - line);
    if (is_name(line, name, "transfer-encoding")) return false;
    if (is_name(line, name, "connection") && has_word(colon + 1, line_stop, "close")) head->keeps_alive = false;
    if (is_name(line, name, "content-range")) {
      if (has_range) return false;
      has_range = true;
      if (!is_value(colon + 1, line_stop, " \t", range)) head->is_other = true;
    }
    if (is_name(line, name, "etag")) {
      if (has_etag || is_value(colon + 1, line_stop, " \t", "")) return false;
      has_etag = true;
      if (get->etag && !is_value(colon + 1, line_stop, " \t\"", get->etag)) head->is_other = true;
    }
    if (get->holes_header && is_name(line, name, get->holes_header)) {
      if (has_holes) return false;
      has_holes = true;
      head->keeps_holes = is_value(colon + 1, line_stop, " \t", "1");
    }
    if (!is_name(line, name, "content-length")) continue;
    if (has_length || !read_length(colon + 1, line_stop, &head->length)) return false;
    has_length = true;
  }
  if (!has_etag || (head->status == 206 && !has_range) || head->length != get->expected_bytes) head->is_other = true;
  return has_length;
}

// --- one request, in a thread ---

static bool give_up(struct get *get, enum outcome outcome) { return end(&get->use.ending, outcome, 0); }

// Takes an answer whole, and nothing more. Answers whether the connection is good for another.
static bool take_answer(struct get *get, struct link *link) {
  struct head head = {0};
  const char *answer = (const char *)get->answer;
  for (;;) {
    const size_t before = get->filled;
    const size_t bytes = link_receive(link, get->answer + before, sizeof get->answer - before);
    if (bytes == 0) return false;
    get->filled += bytes;
    if (head.bytes == 0) {
      // Another protocol may never send an empty line.
      if (memcmp(answer, "HTTP/1.1", get->filled < 8 ? get->filled : 8) != 0) return give_up(get, UNUSUAL);
      const size_t from = before > 3 ? before - 3 : 0;
      const char *empty = memmem(answer + from, get->filled - from, "\r\n\r\n", 4);
      if (!empty && get->filled <= HEAD_BYTES) continue;
      if (!empty || !parse(answer, empty + 2, get, &head)) return give_up(get, UNUSUAL);
      head.bytes = (size_t)(empty + 4 - answer);
      if (head.bytes > HEAD_BYTES || head.length > BODY_BYTES) return give_up(get, UNUSUAL);
    }
    const size_t whole = head.bytes + head.length;
    if (get->filled > whole) return give_up(get, UNUSUAL);
    if (get->filled == whole) break;
  }
  get->head_bytes = head.bytes;
  get->is_content = (head.status == 200 || head.status == 206) && !head.is_other;
  get->keeps_holes = head.keeps_holes;
  // Who has answered wrongly once is not asked on that connection again.
  return head.keeps_alive && (get->is_content || head.status >= 300);
}

// Whether a connection that was used before had been closed before the request was read.
static bool was_stale(const struct get *get) {
  const struct ending *ending = &get->use.ending;
  if (get->filled > 0) return false;
  if (ending->outcome == ENDED) return true;
  return ending->outcome == SOCKET_FAILED && (ending->error == ECONNRESET || ending->error == EPIPE);
}

static void run(struct work *work) {
  struct get *get = (struct get *)work; // its first member
  struct use *use = &get->use;
  for (bool is_fresh = false;; is_fresh = true) {
    struct link *link = link_take(use, is_fresh);
    if (!link) break;
    const bool was_used = link->is_used;
    const bool is_good = link_send(link, get->request, get->request_bytes) && take_answer(get, link);
    link_give(use, link, is_good);
    if (!was_used || !was_stale(get)) break;
  }
  // Who is stopped has seen its socket shut down, in one way or another.
  if (atomic_load(&use->is_stopped)) give_up(get, STOPPED);
  if (use->ending.outcome != WHOLE || !get->is_content) return;
  // The connection is another's already: a file system that hangs holds up this file alone.
  const unsigned char *body = get->answer + get->head_bytes;
  const struct crc64_implementation *implementations;
  crc64_init(&implementations);
  get->crc = implementations[0].update(0, body, get->expected_bytes);
  // Nothing in it but zeros is a hole up to the last byte, which gives the file its size: as write_data of body-thread.c.
  const size_t bytes = get->expected_bytes;
  const size_t from = get->keeps_holes && bytes > 0 && is_zero(body, bytes) ? bytes - 1 : 0;
  work_blocks();
  write_all(get->file, body + from, bytes - from, from, &use->ending);
  work_goes_on();
}

// --- for JavaScript ---

static void stop_all(void *data) {
  struct instance *instance = data;
  for (size_t id = 0; id < instance->places; id++) {
    if (instance->gets[id]) use_stop(&instance->gets[id]->use);
  }
}

// What it has of its own.
static void empty(struct get *get) {
  route_drop(get->use.route);
  free(get->request);
  free(get->etag);
  free(get->holes_header);
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

static void finalize_route(napi_env env, void *data, void *hint) {
  (void)env, (void)hint;
  route_drop(data);
}

// openRoute(stallMs: number, context: External | undefined, host: string, isAddress: boolean): External
static napi_value open_route(napi_env env, napi_callback_info info) {
  napi_value argv[4], result = NULL;
  size_t argc = 4;
  napi_valuetype type = napi_undefined;
  double stall_ms = 0;
  struct tls_peer peer;
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  if (napi_get_value_double(env, argv[0], &stall_ms) != napi_ok || !(stall_ms >= 0))
    return throw_type(env, "openRoute: stallMs must be a number");
  if (napi_typeof(env, argv[1], &type) != napi_ok) return throw_type(env, "openRoute: a TLS context or undefined");
  const bool has_tls = type != napi_undefined;
  if (has_tls && !tls_peer_of(env, argv + 1, &peer)) return NULL;
  struct route *route = route_new(stall_ms < INT_MAX ? (int)stall_ms : INT_MAX, has_tls ? &peer : NULL);
  if (!route) return throw_errno(env, "openRoute", ENOMEM);
  if (napi_create_external(env, route, finalize_route, NULL, &result) == napi_ok) return result;
  route_drop(route);
  return NULL;
}

static struct route *route_of(napi_env env, napi_value value) {
  void *route = NULL;
  if (napi_get_value_external(env, value, &route) == napi_ok && route) return route;
  throw_type(env, "a route is needed");
  return NULL;
}

static bool read_address(const char *text, uint16_t port, struct sockaddr_storage *address) {
  struct sockaddr_in *four = (struct sockaddr_in *)address;
  struct sockaddr_in6 *six = (struct sockaddr_in6 *)address;
  memset(address, 0, sizeof *address);
  if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
    four->sin_family = AF_INET;
    four->sin_port = htons(port);
    return true;
  }
  if (inet_pton(AF_INET6, text, &six->sin6_addr) != 1) return false;
  six->sin6_family = AF_INET6;
  six->sin6_port = htons(port);
  return true;
}

// setAddresses(route: External, port: number, addresses: string[]): in the order in which they are tried, sixteen at most
static napi_value set_addresses(napi_env env, napi_callback_info info) {
  napi_value argv[3];
  size_t argc = 3;
  uint32_t port = 0, count = 0;
  struct sockaddr_storage addresses[MAX_ADDRESSES];
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  struct route *route = route_of(env, argv[0]);
  if (!route) return NULL;
  if (napi_get_value_uint32(env, argv[1], &port) != napi_ok || port > UINT16_MAX ||
      napi_get_array_length(env, argv[2], &count) != napi_ok)
    return throw_type(env, "setAddresses: a port and an array are needed");
  if (count > MAX_ADDRESSES) count = MAX_ADDRESSES;
  for (uint32_t n = 0; n < count; n++) {
    napi_value each;
    char text[64];
    size_t length = 0;
    if (napi_get_element(env, argv[2], n, &each) != napi_ok ||
        napi_get_value_string_utf8(env, each, text, sizeof text, &length) != napi_ok ||
        !read_address(text, (uint16_t)port, &addresses[n]))
      return throw_type(env, "setAddresses: not an address");
  }
  pthread_mutex_lock(&route->lock);
  memcpy(route->addresses, addresses, count * sizeof *addresses);
  route->address_count = count;
  pthread_mutex_unlock(&route->lock);
  return NULL;
}

// sweepRoute(route: External, idleS: number): closes connections that nobody has used for so long, in seconds; with 0 all, and
// those that are in use when they are given back
static napi_value sweep_route(napi_env env, napi_callback_info info) {
  napi_value argv[2];
  size_t argc = 2;
  uint32_t idle_s = 0;
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  struct route *route = route_of(env, argv[0]);
  if (!route) return NULL;
  if (napi_get_value_uint32(env, argv[1], &idle_s) != napi_ok) return throw_type(env, "sweepRoute: seconds are needed");
  route_sweep(route, idle_s);
  return NULL;
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
  return get;
}

static void forget(struct instance *instance, struct get *get) {
  empty(get);
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

// startGet(route: External, request: string, file: number, bytes: number, etag?: string, holesHeader?: string): number
// Sends that text, and writes the body to the beginning of the file if it is the whole of a blob of so many bytes, in the
// version of that ETag, which has no quotes. Answers the request's id.
static napi_value start_get(napi_env env, napi_callback_info info) {
  napi_value argv[6], result = NULL;
  size_t argc = 6, length = 0;
  int32_t file = -1;
  uint32_t bytes = 0, id = 0;
  napi_valuetype types[6] = {napi_undefined};
  struct instance *instance = function_data(env, info);
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  struct route *route = route_of(env, argv[0]);
  if (!route) return NULL;
  for (size_t n = 1; n < 6; n++) napi_typeof(env, argv[n], &types[n]);
  const bool has_etag = types[4] == napi_string, has_holes = types[5] == napi_string;
  if (types[1] != napi_string || napi_get_value_int32(env, argv[2], &file) != napi_ok ||
      napi_get_value_uint32(env, argv[3], &bytes) != napi_ok || bytes > BODY_BYTES)
    return throw_type(env, "startGet: a text, a descriptor, and bytes of a small body are needed");
  struct get *get = make_place(instance, &id) ? new_get(instance) : NULL;
  if (!get) return throw_errno(env, "startGet", ENOMEM);
  get->work = (struct work){.owner = &instance->owner, .id = id, .run = run, .is_quick = true};
  get->use.route = route;
  get->use.socket = -1;
  get->file = file;
  get->expected_bytes = bytes;
  route_hold(route);
  get->request = text_of(env, argv[1], &get->request_bytes);
  if (has_etag) get->etag = text_of(env, argv[4], &length);
  if (has_holes) get->holes_header = text_of(env, argv[5], &length);
  const bool has_all = get->request && (get->etag || !has_etag) && (get->holes_header || !has_holes);
  const int failure = has_all ? work_begin(&get->work) : ENOMEM;
  if (failure != 0) {
    forget(instance, get);
    return throw_errno(env, "startGet", failure);
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
  if (get) use_stop(&get->use);
  return NULL;
}

// What small-get-threads.ts reads in `state`.
enum { OUTCOME, ERRNO, FAILED_AT, ANSWERED, IS_CONTENT, CRC_LOW, CRC_HIGH, STATES };

// endGet(id: number, state: Uint32Array, text: Uint8Array): of one whose id has come. Puts into `text` the answer as far as it
// has come, of content the head only; or, where TLS failed, a code, a line break, and a message.
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
  size_t bytes = get->is_content ? get->head_bytes : get->filled;
  if (ending->outcome == TLS_FAILED)
    bytes = (size_t)snprintf(text, room, "%s\n%s", ending->failure.code, ending->failure.message);
  else memcpy(text, get->answer, bytes);
  state[OUTCOME] = ending->outcome;
  state[ERRNO] = (uint32_t)ending->error;
  state[FAILED_AT] = (uint32_t)ending->failed_at;
  state[ANSWERED] = (uint32_t)bytes;
  state[IS_CONTENT] = get->is_content;
  state[CRC_LOW] = (uint32_t)get->crc;
  state[CRC_HIGH] = (uint32_t)(get->crc >> 32);
  instance->gets[get->work.id] = NULL;
  forget(instance, get);
  return NULL;
}

bool small_get_define(napi_env env, napi_value exports) {
  struct instance *instance = calloc(1, sizeof *instance);
  if (!instance) return false;
  instance->owner = NEW_OWNER;
  const napi_property_descriptor properties[] = {
      {"openGets", NULL, open_gets, NULL, NULL, NULL, napi_enumerable, instance},
      {"openRoute", NULL, open_route, NULL, NULL, NULL, napi_enumerable, instance},
      {"setAddresses", NULL, set_addresses, NULL, NULL, NULL, napi_enumerable, instance},
      {"sweepRoute", NULL, sweep_route, NULL, NULL, NULL, napi_enumerable, instance},
      {"startGet", NULL, start_get, NULL, NULL, NULL, napi_enumerable, instance},
      {"stopGet", NULL, stop_get, NULL, NULL, NULL, napi_enumerable, instance},
      {"endGet", NULL, end_get, NULL, NULL, NULL, napi_enumerable, instance},
  };
  return napi_add_env_cleanup_hook(env, await_gets, instance) == napi_ok &&
         napi_define_properties(env, exports, sizeof properties / sizeof *properties, properties) == napi_ok;
}
