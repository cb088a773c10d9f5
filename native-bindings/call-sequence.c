// Calls C functions one after the other, so that one trip to a thread of libuv's pool does the work of many: waking a
// thread costs more than most of the calls. ffi.ts fills the array and has this run.
#include <errno.h>
#include <stdint.h>

#define MAX_ARGS 9

// ffi.ts knows the offsets.
struct call {
  uint64_t function;
  uint64_t args[MAX_ARGS];
  int64_t result;
  int32_t error;       // errno right after the call, where it failed
  int32_t after;       // made only if that call did not fail; -1: in any case
  uint32_t loads;      // bit i: args[i] is where the argument stands by then
  uint32_t is_long;    // the function returns 64 bits, not an int
  int32_t tolerated;   // an errno that is no failure; 0: none
  int32_t unused;
};

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

__attribute__((visibility("default"))) int run_calls(struct call *calls, int count);

int run_calls(struct call *calls, int count) {
  for (int i = 0; i < count; i++) {
    const int32_t after = calls[i].after;
    if (after < 0 || calls[after].result >= 0) {
      make(&calls[i]);
    } else {
      calls[i].result = calls[after].result;
      calls[i].error = calls[after].error;
    }
  }
  return 0;
}
