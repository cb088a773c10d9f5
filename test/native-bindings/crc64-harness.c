// Checks native-bindings/crc64-core.c without Node: crc64-harness [IMPLEMENTATION], which must then be there. Every
// implementation against published vectors, and bit by bit against the definition, at every alignment and many lengths.
// Run under sanitizers by crc64.test.ts, under qemu by check-aarch64.sh.
#include "../../native-bindings/crc64-core.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 4096

static unsigned checks, failures;

static void expect(const char *name, const char *what, size_t length, uint64_t got, uint64_t wanted) {
  checks++;
  if (got == wanted) return;
  failures++;
  fprintf(stderr, "%s: %s, %zu bytes: %016" PRIx64 ", wanted %016" PRIx64 "\n", name, what, length, got, wanted);
}

// The definition: one bit after the other.
static uint64_t by_bits(uint64_t previous, const unsigned char *bytes, size_t length) {
  uint64_t crc = ~previous;
  for (size_t n = 0; n < length; n++) {
    crc ^= bytes[n];
    for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >> 1) ^ UINT64_C(0x9a6c9329ac4bc9b5) : crc >> 1;
  }
  return ~crc;
}

// NVM Command Set Specification 1.0a, 5.2.1.3.5 "64b CRC Test Cases"; the check value is of the CRC RevEng catalogue.
static void vectors(const struct crc64_implementation *it) {
  static unsigned char block[BLOCK];
  expect(it->name, "check value", 9, it->update(0, (const unsigned char *)"123456789", 9), UINT64_C(0xae8b14860a799888));
  memset(block, 0, BLOCK);
  expect(it->name, "zeros", BLOCK, it->update(0, block, BLOCK), UINT64_C(0x6482d367eb22b64e));
  memset(block, 0xff, BLOCK);
  expect(it->name, "ff", BLOCK, it->update(0, block, BLOCK), UINT64_C(0xc0ddba7302eca3ac));
  for (int n = 0; n < BLOCK; n++) block[n] = (unsigned char)n;
  expect(it->name, "incrementing", BLOCK, it->update(0, block, BLOCK), UINT64_C(0x3e729f5f6750449c));
  for (int n = 0; n < BLOCK; n++) block[n] = (unsigned char)(0xff - n);
  expect(it->name, "decrementing", BLOCK, it->update(0, block, BLOCK), UINT64_C(0x9a2df64b8e9e517e));
}

// A buffer of exactly this length, so that a sanitizer sees any byte read beyond it.
static void lengths(const struct crc64_implementation *it) {
  uint64_t previous = 0;
  for (size_t length = 0; length <= 700; length++) {
    for (size_t offset = 0; offset < 17; offset += 1 + length / 100) {
      unsigned char *buffer = malloc(offset + length + !(offset + length));
      for (size_t n = 0; n < offset + length; n++) buffer[n] = (unsigned char)(rand() >> 7);
      uint64_t wanted = by_bits(previous, buffer + offset, length);
      expect(it->name, "any bytes", length, it->update(previous, buffer + offset, length), wanted);
      uint64_t alone = it->update(0, buffer + offset, length);
      expect(it->name, "combined", length, crc64_combine(previous, alone, length), wanted);
      previous = wanted;
      free(buffer);
    }
  }
}

int main(int argc, char **argv) {
  const struct crc64_implementation *implementations;
  size_t count = crc64_init(&implementations);
  int missing = argc > 1;
  for (size_t n = 0; n < count; n++) {
    if (argc > 1 && strcmp(argv[1], implementations[n].name) == 0) missing = 0;
    vectors(&implementations[n]);
    lengths(&implementations[n]);
    printf("%s: checked\n", implementations[n].name);
  }
  if (missing) fprintf(stderr, "this processor has no %s\n", argv[1]);
  printf("%u checks, %u failed\n", checks, failures);
  return failures > 0 || missing;
}
