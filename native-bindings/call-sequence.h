// One C call as JavaScript lays it out; call-sequence.ts knows the offsets.
#pragma once
#include <stdint.h>

#define MAX_ARGS 9

struct call {
  uint64_t function;
  uint64_t args[MAX_ARGS];
  int64_t result;
  int32_t error;             // errno right after the call, where it failed
  int32_t tolerated;         // an errno that is no failure; 0: none
  uint32_t loads;            // bit i: args[i] is where the argument stands by then
  uint32_t is_long;          // the function returns 64 bits, not an int
  const struct call *after;  // made only if that call did not fail; NULL: in any case
  struct call *next;
};

// Makes the calls of the list, one after the other.
void run_calls(struct call *first);
