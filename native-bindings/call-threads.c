// Threads that make the calls of call-sequence.c, and say through a pipe which are done; call-threads.ts uses them.
//
// Why not libuv's: it wakes a thread for every piece of work, on the thread that hands it over, which was a third of the main
// thread's time in a batch restore. Here a burst wakes one thread; that one, before it goes to work, wakes the next if there
// is more to do. Calls shorter than a wake-up share a thread so, and one that hangs holds up nobody. Nor can calls that
// hang use up libuv's threads, which file I/O needs.
#define _GNU_SOURCE
#include "call-sequence.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

// call-threads.ts knows the offsets.
struct trip {
  struct call *calls;
  struct trip *next;
  int32_t id;
};

static pthread_mutex_t lock = PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP;
static pthread_cond_t arrived = PTHREAD_COND_INITIALIZER;
// All below belong to the lock.
static struct trip *first, **end = &first;
static int threads;
static int idle;
// A thread has been woken or born that has not looked for work yet.
static int waking;
static int done_fd = -1;

static _Noreturn void *serve(void *unused);

// A new thread; signals are for the others.
static int bear(void) {
  pthread_t thread;
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int failure = pthread_create(&thread, NULL, serve, NULL);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (failure == 0) pthread_detach(thread);
  return failure;
}

// Sees to it that some thread will look for work. As many are born as there are trips at once, and the caller bounds those.
// Gives an errno if none is idle and none can be had: whoever comes back finds the trip, or prod_threads finds a thread.
// To be called with the lock, which it gives back: who is woken by its holder would at once wait for it.
static int rouse_and_unlock(void) {
  int failure = 0;
  const int needed = first != NULL && !waking, wakes = needed && idle > 0;
  if (needed) {
    waking = 1;
    if (!wakes) failure = bear();
    if (failure != 0) waking = 0;
    else if (!wakes) threads++;
  }
  pthread_mutex_unlock(&lock);
  if (wakes) pthread_cond_signal(&arrived);
  return failure;
}

static _Noreturn void *serve(void *unused) {
  (void)unused;
  // For `top -H` and the like.
  pthread_setname_np(pthread_self(), "lhsm-call");
  // What has come from the file system can wait until the main thread, which most of the work is for, gives its core up: to
  // take that from it in the middle of a turn costs more than it saves. Where a core is free it changes nothing.
  pthread_setschedparam(pthread_self(), SCHED_BATCH, &(struct sched_param){0});
  pthread_mutex_lock(&lock);
  waking = 0;
  for (;;) {
    struct trip *const trip = first;
    if (trip == NULL) {
      idle++;
      pthread_cond_wait(&arrived, &lock);
      idle--;
      waking = 0;
      continue;
    }
    first = trip->next;
    if (first == NULL) end = &first;
    rouse_and_unlock();
    const int32_t id = trip->id;
    run_calls(trip->calls);
    // Shorter than PIPE_BUF, so it is written whole or not at all. From here on the trip is JavaScript's again.
    while (write(done_fd, &id, sizeof id) < 0 && errno == EINTR) continue;
    pthread_mutex_lock(&lock);
  }
}

// Opens the pipe; gives its reading end, or below 0 an errno. To be called once.
__attribute__((visibility("default"))) int open_threads(void);
int open_threads(void) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return -errno;
  done_fd = ends[1];
  return ends[0];
}

// Has a list of trips made; the id of each comes through the pipe when it is over. Gives 0, or below 0 an errno when none of them
// will be made.
__attribute__((visibility("default"))) int start_trips(struct trip *list);
int start_trips(struct trip *list) {
  struct trip *last = list;
  while (last->next != NULL) last = last->next;
  pthread_mutex_lock(&lock);
  struct trip **const former = end;
  *end = list;
  end = &last->next;
  int failure = rouse_and_unlock();
  if (failure == 0) return 0;
  pthread_mutex_lock(&lock);
  if (threads > 0) failure = 0;
  // Without a thread nothing else can be in the queue.
  else *(end = former) = NULL;
  pthread_mutex_unlock(&lock);
  return -failure;
}

// Tries again to have a thread for what waits, should all there are hang in calls: gives below 0 an errno when none can be had.
__attribute__((visibility("default"))) int prod_threads(void);
int prod_threads(void) {
  pthread_mutex_lock(&lock);
  return -rouse_and_unlock();
}
