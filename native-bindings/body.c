// What a thread does with the rest of a body: off the socket, summed, into the file.
//
// Why not in JavaScript's thread: what one core has received or decrypted is costly to read for another, and a copy out of
// a cold cache was a third of a restore. Here a body passes through one small buffer of one thread, still warm when it is
// summed and written; and what is neither summed nor decrypted nor looked through for holes passes through none (splice-io.h).
// Reads and writes block: a file system that hangs holds up one body, and no other.
#define _GNU_SOURCE
#include "body.h"

#include <errno.h>
#include <openssl/err.h>
#include <string.h>
#include <sys/socket.h>

#include "crc64-core.h"
#include "splice-io.h"

// Aligned blocks of that size stay holes when they are all zero; slab.ts has the same.
#define HOLE_BYTES 65536
// Writes end at multiples of that, whatever has come: a page that is written in part may have to be read first (Lustre's
// vvp_io, for what lies below the file's size), and no page is larger.
#define ALIGNED_BYTES 65536

static struct source source_of(struct body *body) {
  return (struct source){
      .socket = body->socket, .stall_ms = body->stall_ms, .is_stopped = body->is_stopped, .ending = body->ending};
}

static bool refill(struct session *session, void *data) {
  struct body *body = data;
  unsigned char *cipher = body->buffer + body->buffer_bytes;
  session->in = cipher;
  const struct source source = source_of(body);
  session->in_left = receive(&source, cipher, body->cipher_bytes);
  return session->in_left > 0;
}

// As `receive`, of content.
static size_t take(struct body *body, unsigned char *into, size_t room) {
  if (!body->session) {
    const struct source source = source_of(body);
    return receive(&source, into, room);
  }
  size_t bytes = 0;
  ERR_clear_error();
  return tls_read(body->session, into, room, &bytes) ? bytes : end_tls(body->ending, body->session, 0);
}

static bool write_all_of(struct body *body, const unsigned char *from, size_t bytes, uint64_t at) {
  return write_all(body->file, from, bytes, at, body->ending);
}

// As write_all_of, but whole blocks of zeros stay holes. The file's last byte is always written: nothing else gives a new file its
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
    if (!write_all_of(body, from + (data - at), block - data, data)) return false;
    data = next == body->file_bytes ? next - 1 : next;
  }
  return write_all_of(body, from + (data - at), stop - data, data);
}

static void advance(struct body *body, size_t bytes) {
  body->at += bytes;
  if (body->progress) *body->progress += (double)bytes;
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
  if (!(body->keeps_holes ? write_data : write_all_of)(body, body->buffer, bytes, body->at)) return false;
  body->crc = crc;
  body->filled -= bytes;
  if (body->filled > 0) memmove(body->buffer, body->buffer + bytes, body->filled);
  advance(body, bytes);
  return true;
}

// Where the write that begins at `at` ends at most: at a multiple of the buffer's size, so aligned to blocks of zeros, and to stripes.
static size_t write_limit(const struct body *body, uint64_t stop) {
  const uint64_t edge = (body->at / body->buffer_bytes + 1) * body->buffer_bytes;
  return (size_t)((edge < stop ? edge : stop) - body->at);
}

// What has come is kept, and not asked for again.
static void keep_what_came(struct body *body) {
  const enum outcome outcome = body->ending->outcome;
  const int error = body->ending->error;
  if (outcome != STOPPED && flush(body, body->filled)) end(body->ending, outcome, error);
}

// Takes and writes up to there, through the buffer. False when it was over before.
static bool copy_to(struct body *body, uint64_t stop) {
  while (body->at < stop) {
    const size_t limit = write_limit(body, stop);
    if (body->filled >= limit) {
      if (!flush(body, limit)) return false;
      continue;
    }
    const size_t bytes = take(body, body->buffer + body->filled, limit - body->filled);
    body->filled += bytes;
    if (bytes > 0) continue;
    keep_what_came(body);
    return false;
  }
  return true;
}

// Takes and writes what comes through a pipe, until it is over, or until the rest has to be copied: then it gives true.
static bool splice_on(struct body *body, struct conduit *conduit) {
  const struct source source = source_of(body);
  while (body->at < body->end) {
    const size_t limit = write_limit(body, body->end);
    const bool is_over = !conduit_fill(conduit, &source, limit);
    if (is_over && body->ending->outcome == STOPPED) return false;
    size_t bytes = conduit->bytes;
    if (!is_over && bytes < limit) {
      const uint64_t aligned = (body->at + bytes) / ALIGNED_BYTES * ALIGNED_BYTES;
      bytes = aligned > body->at ? (size_t)(aligned - body->at) : 0;
    }
    const size_t written = conduit_write(conduit, body->file, bytes, body->at);
    advance(body, written);
    body->spliced += written;
    if (is_over || written < bytes || bytes == 0) {
      // Whether the file cannot take it at all, and why, is for pwrite to say.
      body->filled = conduit->bytes;
      if (!conduit_drain(conduit, body->buffer)) return end(body->ending, SOCKET_FAILED, errno);
      if (is_over) keep_what_came(body);
      return !is_over;
    }
  }
  return false;
}

// Where nobody has to see the bytes, all that is aligned goes through a pipe. True when the rest has to be copied.
static bool splice_rest(struct body *body) {
  struct conduit conduit;
  uint64_t aligned = (body->at + body->filled + ALIGNED_BYTES - 1) / ALIGNED_BYTES * ALIGNED_BYTES;
  if (aligned >= body->end || !conduit_open(&conduit)) return true;
  const bool has_rest = copy_to(body, aligned) && splice_on(body, &conduit);
  conduit_close(&conduit);
  return has_rest;
}

void body_move(struct body *body) {
  struct session *session = body->session;
  struct ending *ending = body->ending;
  bool (*const refill_before)(struct session *, void *) = session ? session->refill : NULL;
  void *const data_before = session ? session->refill_data : NULL;
  if (session) {
    session->refill = refill;
    session->refill_data = body;
  }
  const bool is_unseen = !session && !body->keeps_holes && !body->sums;
  if (!is_unseen || splice_rest(body)) copy_to(body, body->end);
  if (session) {
    // What has come behind the body is seen by whoever reads the session next.
    session->refill = refill_before;
    session->refill_data = data_before;
    if (session->in_left > 0 && !tls_keep(session, session->in, session->in_left) && ending->outcome == WHOLE)
      end(ending, SOCKET_FAILED, ENOMEM);
    session->in = NULL;
    session->in_left = 0;
  } else if (ending->outcome == WHOLE) {
    unsigned char byte;
    body->has_more = recv(body->socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
  }
}

void body_write(struct body *body) { flush(body, body->filled); }
