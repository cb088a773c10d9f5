// Threads for work that blocks, each piece in a thread of its own: work-threads.c. body-thread.c and get-thread.c have bodies
// and requests done there.
#ifndef LHSM_WORK_THREADS_H
#define LHSM_WORK_THREADS_H

#include <node_api.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Whose work it is: one for each JavaScript thread and kind of work.
struct owner {
  size_t running; // belongs to the lock of work-threads.c
  int done_fd;
};

// The first member of what is to be done. It is JavaScript's again once its id has come through the owner's pipe.
struct work {
  struct work *next;
  struct owner *owner;
  uint32_t id;
  void (*run)(struct work *work);
  // It is over soon, except while it says that it waits: see below.
  bool is_quick;
};

// An owner without a pipe.
#define NEW_OWNER ((struct owner){.done_fd = -1})

// Opens the pipe that the ids of finished work come through, four bytes each; gives its reading end, or an exception.
napi_value work_open(napi_env env, struct owner *owner);

// Has it done in a thread. Gives an errno when none can be had: then nothing was begun.
int work_begin(struct work *work);

// Sends a number through the owner's pipe, from a thread whose work is not over.
void work_tell(const struct owner *owner, uint32_t number);

// For quick work, which others of its kind may be waiting behind. Around a call that may block for long:
void work_blocks(void);
void work_goes_on(void);
// As poll(2): waits, and sees to it that no other work waits for that.
int work_poll(struct pollfd *wanted, int timeout_ms);

// Waits until nothing of the owner's is under way, whose ids may still be in the pipe, and closes it. `stop` is called first,
// if there is anything.
void work_await(struct owner *owner, void (*stop)(void *data), void *data);

#endif
