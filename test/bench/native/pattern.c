// The content of every blob, see pattern.h.
#include "pattern.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS (1u << 22)
#define NO_PHASE UINT32_MAX

// Twice the pattern, so that no reader has to go around its end.
static unsigned char bytes[2 * PATTERN_BYTES];
// A hash table of all phases by the bytes that stand there; made when first asked for.
static uint32_t *phases;

void pattern_init(void) {
  uint64_t state = 0x9e3779b97f4a7c15u;
  for (size_t at = 0; at < PATTERN_BYTES; at += 1) {
    // xorshift64 (Marsaglia); the top byte.
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    bytes[at] = (unsigned char)(state >> 56);
  }
  memcpy(bytes + PATTERN_BYTES, bytes, PATTERN_BYTES);
}

uint32_t pattern_phase(uint64_t index, uint64_t offset) {
  return (uint32_t)((index % PATTERN_BYTES * 7919 + offset % PATTERN_BYTES) % PATTERN_BYTES);
}

const unsigned char *pattern_at(uint32_t phase) {
  return bytes + phase;
}

static uint32_t slot_of(const void *key) {
  uint64_t word;
  memcpy(&word, key, sizeof word);
  return (uint32_t)((word * 0x9e3779b97f4a7c15u) >> 42);
}

static void make_phases(void) {
  phases = malloc(SLOTS * sizeof *phases);
  if (!phases) abort();
  for (uint32_t slot = 0; slot < SLOTS; slot += 1) phases[slot] = NO_PHASE;
  for (uint32_t phase = 0; phase < PATTERN_BYTES; phase += 1) {
    uint32_t slot = slot_of(bytes + phase);
    while (phases[slot] != NO_PHASE) slot = (slot + 1) % SLOTS;
    phases[slot] = phase;
  }
}

int64_t pattern_find(const void *key) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, make_phases);
  for (uint32_t slot = slot_of(key); phases[slot] != NO_PHASE; slot = (slot + 1) % SLOTS) {
    if (memcmp(bytes + phases[slot], key, PATTERN_KEY_BYTES) == 0) return phases[slot];
  }
  return -1;
}

bool pattern_equals(const void *at, size_t length, uint32_t phase) {
  const unsigned char *from = at;
  while (length > 0) {
    size_t n = length < PATTERN_BYTES ? length : PATTERN_BYTES;
    if (memcmp(from, bytes + phase, n) != 0) return false;
    phase = (uint32_t)((phase + n) % PATTERN_BYTES);
    from += n;
    length -= n;
  }
  return true;
}
