// What a thread does with a GET: sends the request, takes head and body, writes the body to a file.
//
// Why not in JavaScript's threads: a request there is a message to a worker, an event of a socket, for a small file a write in a
// third thread, and the same way back; the threads' waking each other costs several times what the kernel does for a small file. Here
// the thread that waits for the answer writes it. Only answers that are quite ordinary are taken; of all others JavaScript is
// told to ask again in the way that understands everything (connection.ts, get-job.ts).
#define _GNU_SOURCE
#include "get.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "body.h"

static bool give_up(struct get *get, enum outcome outcome) { return end(&get->use.ending, outcome, 0); }

// Shows the head to JavaScript. False when the body is not wanted.
static bool ask(struct get *get) {
  atomic_store(&get->is_asking, true);
  work_tell(get->work.owner, get->work.id | GET_ASKS);
  while (sem_wait(&get->answered) != 0) continue;
  return !atomic_load(&get->use.is_stopped) || give_up(get, STOPPED);
}

void get_go(struct get *get, bool keeps_holes, bool sums) {
  get->keeps_holes = keeps_holes;
  get->sums = sums;
  atomic_store(&get->is_asking, false);
  sem_post(&get->answered);
}

void get_stop(struct get *get) {
  use_stop(&get->use);
  atomic_store(&get->is_asking, false);
  sem_post(&get->answered);
}

// What is not small goes through the buffer, or through no memory at all: body.c. Answers as take_answer.
static bool take_large(struct get *get, struct link *link) {
  struct session *session = link->session;
  const size_t filled = get->filled - get->head_bytes;
  // It takes its time, and JavaScript's and the file system's.
  work_blocks();
  if (get->asks && !ask(get)) {
    work_goes_on();
    return false;
  }
  memcpy(get->buffer, get->answer + get->head_bytes, filled);
  struct body body = {
      .session = session,
      .socket = link->socket,
      .file = get->file,
      .at = get->start,
      .end = get->end,
      .file_bytes = get->file_bytes,
      .keeps_holes = get->keeps_holes,
      .sums = get->sums,
      .stall_ms = get->use.route->stall_ms,
      .buffer = get->buffer,
      .buffer_bytes = get->buffer_bytes,
      .cipher_bytes = get->cipher_bytes,
      .filled = filled,
      .progress = get->progress,
      .is_stopped = &get->use.is_stopped,
      .ending = &get->use.ending,
  };
  body_move(&body);
  work_goes_on();
  get->at = body.at;
  get->crc = body.crc;
  get->spliced = body.spliced;
  const bool has_more = session ? session->kept_at < session->kept_bytes : body.has_more;
  return get->use.ending.outcome == WHOLE && !has_more;
}

// Takes an answer whole, and nothing more; a body that is not small is then written, too. Answers whether the connection is good
// for another.
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
      if (!empty || !get_parse(answer, empty + 2, get, &head)) return give_up(get, UNUSUAL);
      head.bytes = (size_t)(empty + 4 - answer);
      get->head_at_us = get_now_us();
      get->is_content = (head.status == 200 || head.status == 206) && !head.is_other;
      if (head.bytes > HEAD_BYTES || (head.length > SMALL_BYTES && !get->is_content)) return give_up(get, UNUSUAL);
    }
    const uint64_t whole = head.bytes + head.length;
    get->head_bytes = head.bytes;
    const bool has_more = get->filled > whole;
    if (head.length > SMALL_BYTES) {
      if (has_more) get->filled = (size_t)whole;
      return take_large(get, link) && head.keeps_alive && !has_more;
    }
    if (has_more) {
      get->is_content = false; // none of it is written
      return give_up(get, UNUSUAL);
    }
    if (get->filled == whole) break;
  }
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

void get_run(struct work *work) {
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
  const bool is_written = get->at > get->start;
  if (use->ending.outcome != WHOLE || !get->is_content || is_written) return;
  // The connection is another's already: a file system that hangs holds up this file alone.
  struct body body = {
      .file = get->file,
      .at = get->start,
      .end = get->end,
      .file_bytes = get->file_bytes,
      .keeps_holes = get->keeps_holes,
      .sums = true,
      .buffer = get->answer + get->head_bytes,
      .filled = (size_t)(get->end - get->start),
      .ending = &use->ending,
  };
  work_blocks();
  body_write(&body);
  work_goes_on();
  get->at = body.at;
  get->crc = body.crc;
}

int64_t get_now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}
