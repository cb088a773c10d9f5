// A thread for each piece of work, kept for the next. Work may block for as long as it likes, and holds up no other.
#define _GNU_SOURCE
#include "work-threads.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "napi-helpers.h"

// A thread without work ends after that long.
#define IDLE_S 5
#define STACK_BYTES (256 * 1024)
// While so many threads are busy with quick work, no other is woken for more of it: they come to it sooner than one wakes.
#define ENOUGH_ATTENTIVE 4
// What waits is not to wait longer than that for a thread that waits itself.
#define PATIENCE_NS 300000
// Nor for one that waits so briefly again and again: a peer may send byte by byte.
#define SHORT_WAITS 32

static pthread_mutex_t lock = PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP;
static pthread_cond_t arrived = PTHREAD_COND_INITIALIZER, over = PTHREAD_COND_INITIALIZER;
// All below belong to the lock.
static struct work *first, **last = &first;
static size_t waiting;
// Threads without work, those that are just being born among them: never fewer than there is waiting.
static size_t idle;
// One of them has been woken that has not looked yet. A burst wakes one thread, and that one the next: who hands the work
// over would else spend more on waking than on all the rest.
static bool is_waking;

// Threads that are going to look for work soon, or to rouse another: those that do quick work, but for the time that they wait.
static size_t attentive;
// How often this thread has waited since it took its work, or has roused another.
static _Thread_local unsigned waits;

// To be called with the lock, which it gives back: who is woken by its holder would at once wait for it.
static void rouse_and_unlock(bool is_wanted) {
  const bool wakes = is_wanted && first && !is_waking;
  if (wakes) is_waking = true;
  pthread_mutex_unlock(&lock);
  if (wakes) pthread_cond_signal(&arrived);
}

void work_tell(const struct owner *owner, uint32_t number) {
  // The pipe has room for thousands of them, and is read.
  while (write(owner->done_fd, &number, sizeof number) < 0 && errno == EINTR) continue;
}

static void *serve(void *unused) {
  (void)unused;
  pthread_setname_np(pthread_self(), "lhsm-body");
  pthread_mutex_lock(&lock);
  for (;;) {
    if (!first) {
      struct timespec until;
      clock_gettime(CLOCK_REALTIME, &until);
      until.tv_sec += IDLE_S;
      int late = 0;
      while (!first && late == 0) late = pthread_cond_timedwait(&arrived, &lock, &until);
      if (!first) break;
    }
    struct work *work = first;
    first = work->next;
    if (!first) last = &first;
    waiting--;
    idle--;
    is_waking = false; // who was woken may have come too late, or not have slept yet
    const bool is_quick = work->is_quick;
    attentive += is_quick;
    rouse_and_unlock(!is_quick || attentive < ENOUGH_ATTENTIVE);
    waits = 0;
    work->run(work);
    struct owner *owner = work->owner;
    // From here on the work is JavaScript's, and may be gone.
    work_tell(owner, work->id);
    pthread_mutex_lock(&lock);
    attentive -= is_quick;
    idle++;
    owner->running--; // not before: who waits for that closes the pipe
    if (owner->running == 0) pthread_cond_broadcast(&over);
  }
  idle--;
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
  if (failure == 0) idle++;
  return failure;
}

void work_blocks(void) {
  pthread_mutex_lock(&lock);
  attentive--;
  rouse_and_unlock(attentive == 0);
}

void work_goes_on(void) {
  pthread_mutex_lock(&lock);
  attentive++;
  pthread_mutex_unlock(&lock);
}

int work_poll(struct pollfd *wanted, int timeout_ms) {
  const struct timespec patience = {.tv_nsec = PATIENCE_NS};
  int ready = ++waits < SHORT_WAITS ? ppoll(wanted, 1, &patience, NULL) : 0;
  if (ready != 0) return ready;
  waits = 0;
  pthread_mutex_lock(&lock);
  attentive--;
  rouse_and_unlock(true);
  ready = poll(wanted, 1, timeout_ms);
  work_goes_on();
  return ready;
}

int work_begin(struct work *work) {
  int failure = 0;
  bool wakes = false;
  pthread_mutex_lock(&lock);
  const bool needs_birth = idle <= waiting;
  if (needs_birth) failure = bear();
  if (failure == 0) {
    work->next = NULL;
    *last = work;
    last = &work->next;
    waiting++;
    work->owner->running++;
    // Who is born looks by itself.
    wakes = !needs_birth && (!work->is_quick || attentive < ENOUGH_ATTENTIVE);
  }
  rouse_and_unlock(wakes);
  return failure;
}

void work_await(struct owner *owner, void (*stop)(void *data), void *data) {
  pthread_mutex_lock(&lock);
  if (owner->running > 0) {
    stop(data);
    while (owner->running > 0) pthread_cond_wait(&over, &lock);
  }
  pthread_mutex_unlock(&lock);
  if (owner->done_fd >= 0) close(owner->done_fd);
  owner->done_fd = -1;
}

napi_value work_open(napi_env env, struct owner *owner) {
  int ends[2];
  napi_value result = NULL;
  if (owner->done_fd >= 0) return throw_errno(env, "open: once only", EEXIST);
  if (pipe2(ends, O_CLOEXEC) != 0) return throw_errno(env, "pipe2", errno);
  owner->done_fd = ends[1];
  napi_create_int32(env, ends[0], &result);
  return result;
}
