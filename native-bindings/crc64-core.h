// CRC-64/NVME without Node: crc64.c makes an addon of it, test/native-bindings/crc64-harness.c checks it alone.
#ifndef LHSM_CRC64_CORE_H
#define LHSM_CRC64_CORE_H

#include <stddef.h>
#include <stdint.h>

struct crc64_implementation {
  const char *name;
  // The CRC of what gave `previous` followed by these bytes; `previous` is 0 at the beginning.
  uint64_t (*update)(uint64_t previous, const unsigned char *bytes, size_t length);
};

// Makes the tables, once a process, and finds what this processor can do. To be called before everything else, by
// any thread. Answers how many implementations there are; the fastest is the first.
size_t crc64_init(const struct crc64_implementation **implementations);

// The CRC of a message followed by another one, from the CRC of each and the other one's length in bytes (< 2^61).
uint64_t crc64_combine(uint64_t crc, uint64_t crc_after, uint64_t length_after);

#endif
