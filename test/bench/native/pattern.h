// The content of every blob: random bytes with a prime period, begun at another place for each blob. So any block
// that lands in the wrong place or the wrong file shows, and nobody has to keep content.
#ifndef PATTERN_H
#define PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PATTERN_BYTES 1048583u
// What a phase must be found by.
#define PATTERN_KEY_BYTES 8

// Makes the pattern; call it before anything else here, once.
void pattern_init(void);
// Where in the pattern byte `offset` of blob number `index` is.
uint32_t pattern_phase(uint64_t index, uint64_t offset);
// The bytes from a phase on: PATTERN_BYTES of them are readable.
const unsigned char *pattern_at(uint32_t phase);
// The phase at which these PATTERN_KEY_BYTES stand, -1 when they are not of the pattern.
int64_t pattern_find(const void *key);
// Whether the bytes are the pattern's from `phase` on.
bool pattern_equals(const void *bytes, size_t length, uint32_t phase);

#endif
