// Calls C functions one after the other, so that one trip to a thread does the work of many: waking a thread costs more
// than most of the calls. call-sequence.ts fills the list in, call-threads.c has it run.
#include "call-sequence.h"

#include <errno.h>
#include <stddef.h>

// Integers and pointers only: both ABIs that the product knows put those into registers and 8-byte slots, and a callee does not
// mind more of them than it takes.
typedef long function(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);

static void make(struct call *call) {
  uint64_t a[MAX_ARGS];
  for (int i = 0; i < MAX_ARGS; i++)
    a[i] = call->loads >> i & 1 ? *(const uint64_t *)(uintptr_t)call->args[i] : call->args[i];
  function *made = (function *)(uintptr_t)call->function;
  errno = 0;
  long result = made(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8]);
  call->result = call->is_long ? result : (int32_t)result;
  call->error = call->result < 0 ? errno : 0;
  if (call->error != 0 && call->error == call->tolerated) call->result = call->error = 0;
}

void run_calls(struct call *first) {
  for (struct call *call = first; call != NULL; call = call->next) {
    const struct call *after = call->after;
    if (after == NULL || after->result >= 0) {
      make(call);
    } else {
      call->result = after->result;
      call->error = after->error;
    }
  }
}
