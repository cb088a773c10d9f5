// CRC-64/NVME, which Azure calls CRC64: polynomial 0xad93d23594c93659, reflected, initial value and final xor all ones
// (NVM Express NVM Command Set Specification 1.0, "64b CRC"). By carry-less multiplication where the processor
// has it, by tables everywhere.
//
// Reflected: bit 63 of a word is the coefficient of x^0, bit 0 that of x^63, the first byte of a message has its highest
// powers. Everything below is arithmetic of polynomials over GF(2), modulo P. No constant is copied from anywhere:
// all are powers of x, computed by crc64_init.
#include "crc64-core.h"

#include <pthread.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#include <arm_neon.h>
#include <sys/auxv.h>
#ifndef HWCAP_PMULL
#define HWCAP_PMULL (1 << 4) // asm/hwcap.h
#endif
#endif

#define POLYNOMIAL UINT64_C(0x9a6c9329ac4bc9b5) // 0xad93d23594c93659 reflected
#define ONE (UINT64_C(1) << 63)                  // x^0

// slices[n][b]: byte b followed by n zero bytes.
static uint64_t slices[8][256];
// powers[n]: x^(2^n).
static uint64_t powers[64];

static uint64_t times_x(uint64_t a) { return (a >> 1) ^ (POLYNOMIAL & -(a & 1)); }

static uint64_t multiply(uint64_t a, uint64_t b) {
  uint64_t product = 0;
  for (; a != 0; a <<= 1) {
    product ^= b & -(a >> 63);
    b = times_x(b);
  }
  return product;
}

// x^n
static uint64_t power(uint64_t n) {
  uint64_t result = ONE;
  for (int bit = 0; n != 0; n >>= 1, bit++) {
    if (n & 1) result = multiply(result, powers[bit]);
  }
  return result;
}

uint64_t crc64_combine(uint64_t crc, uint64_t crc_after, uint64_t length_after) {
  // As in zlib's crc32_combine: the final xor of the first and the initial value of the second cancel out.
  return multiply(crc, power(length_after * 8)) ^ crc_after;
}

static uint64_t load(const unsigned char *at) {
  uint64_t word;
  memcpy(&word, at, sizeof word);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  word = __builtin_bswap64(word);
#endif
  return word;
}

static uint64_t by_table(uint64_t crc, const unsigned char *at, size_t length) {
  for (; length >= 8; at += 8, length -= 8) {
    crc ^= load(at);
    crc = slices[7][crc & 0xff] ^ slices[6][crc >> 8 & 0xff] ^ slices[5][crc >> 16 & 0xff] ^
          slices[4][crc >> 24 & 0xff] ^ slices[3][crc >> 32 & 0xff] ^ slices[2][crc >> 40 & 0xff] ^
          slices[1][crc >> 48 & 0xff] ^ slices[0][crc >> 56];
  }
  for (; length > 0; at++, length--) crc = (crc >> 8) ^ slices[0][(crc ^ *at) & 0xff];
  return crc;
}

static uint64_t update_by_table(uint64_t previous, const unsigned char *bytes, size_t length) {
  return ~by_table(~previous, bytes, length);
}

#if defined(__x86_64__)
#define FOLDING "pclmulqdq"
#define FOLDING_TARGET __attribute__((target("pclmul,sse4.1")))
typedef __m128i vector;

static int can_fold(void) { return __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1"); }

FOLDING_TARGET static inline vector load_vector(const void *at) { return _mm_loadu_si128(at); }
FOLDING_TARGET static inline void store_vector(void *to, vector a) { _mm_storeu_si128(to, a); }
FOLDING_TARGET static inline vector add(vector a, vector b) { return _mm_xor_si128(a, b); }
// low(a) * low(b) + high(a) * high(b)
FOLDING_TARGET static inline vector multiply_halves(vector a, vector b) {
  return add(_mm_clmulepi64_si128(a, b, 0x00), _mm_clmulepi64_si128(a, b, 0x11));
}

#elif defined(__aarch64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define FOLDING "pmull"
#define FOLDING_TARGET __attribute__((target("+crypto")))
typedef uint64x2_t vector;

static int can_fold(void) { return (getauxval(AT_HWCAP) & HWCAP_PMULL) != 0; }

FOLDING_TARGET static inline vector load_vector(const void *at) { return vreinterpretq_u64_u8(vld1q_u8(at)); }
FOLDING_TARGET static inline void store_vector(void *to, vector a) { vst1q_u8(to, vreinterpretq_u8_u64(a)); }
FOLDING_TARGET static inline vector add(vector a, vector b) { return veorq_u64(a, b); }
FOLDING_TARGET static inline vector multiply_halves(vector a, vector b) {
  poly64x2_t p = vreinterpretq_p64_u64(a), q = vreinterpretq_p64_u64(b);
  poly128_t low = vmull_p64((poly64_t)vgetq_lane_p64(p, 0), (poly64_t)vgetq_lane_p64(q, 0));
  return add(vreinterpretq_u64_p128(low), vreinterpretq_u64_p128(vmull_high_p64(p, q)));
}
#endif

#ifdef FOLDING
#define LANES 8
#define VECTOR_BYTES sizeof(vector)

// What the halves of a vector are multiplied by to move it on by one vector, and by LANES vectors.
static uint64_t move_1[2], move_lanes[2];

// Moved on by n bits, the lower half of the register (64 higher powers) becomes x^(n+64) times what it was, the upper
// half x^n times. The reflected product of two words lies one bit off in its 128 bits, hence one power less.
static void init_move(uint64_t move[2], uint64_t bits) {
  move[0] = power(bits + 64 - 1);
  move[1] = power(bits - 1);
}

// Folds the message, LANES vectors a step, into one vector of the same remainder; tables do the rest.
FOLDING_TARGET static uint64_t update_by_folding(uint64_t previous, const unsigned char *at, size_t length) {
  if (length < VECTOR_BYTES) return update_by_table(previous, at, length);
  const uint64_t start[2] = {~previous, 0};
  const vector by_1 = load_vector(move_1);
  vector folded = add(load_vector(at), load_vector(start));
  at += VECTOR_BYTES, length -= VECTOR_BYTES;
  if (length >= (2 * LANES - 1) * VECTOR_BYTES) {
    const vector by_lanes = load_vector(move_lanes);
    vector lane[LANES];
    lane[0] = folded;
    for (int n = 1; n < LANES; n++, at += VECTOR_BYTES, length -= VECTOR_BYTES) lane[n] = load_vector(at);
    for (; length >= LANES * VECTOR_BYTES; length -= LANES * VECTOR_BYTES) {
#pragma GCC unroll 8
      for (int n = 0; n < LANES; n++, at += VECTOR_BYTES)
        lane[n] = add(multiply_halves(lane[n], by_lanes), load_vector(at));
    }
    folded = lane[0];
#pragma GCC unroll 8
    for (int n = 1; n < LANES; n++) folded = add(multiply_halves(folded, by_1), lane[n]);
  }
  for (; length >= VECTOR_BYTES; at += VECTOR_BYTES, length -= VECTOR_BYTES)
    folded = add(multiply_halves(folded, by_1), load_vector(at));
  unsigned char rest[sizeof(vector)];
  store_vector(rest, folded);
  return ~by_table(by_table(0, rest, sizeof rest), at, length);
}
#endif

static struct crc64_implementation found[2];
static size_t found_count;

static void init(void) {
  for (unsigned byte = 0; byte < 256; byte++) {
    uint64_t crc = byte;
    for (int bit = 0; bit < 8; bit++) crc = times_x(crc);
    slices[0][byte] = crc;
  }
  for (int n = 1; n < 8; n++) {
    for (unsigned byte = 0; byte < 256; byte++) {
      uint64_t crc = slices[n - 1][byte];
      slices[n][byte] = (crc >> 8) ^ slices[0][crc & 0xff];
    }
  }
  powers[0] = times_x(ONE);
  for (int n = 1; n < 64; n++) powers[n] = multiply(powers[n - 1], powers[n - 1]);
#ifdef FOLDING
  init_move(move_1, 8 * VECTOR_BYTES);
  init_move(move_lanes, 8 * VECTOR_BYTES * LANES);
  if (can_fold()) found[found_count++] = (struct crc64_implementation){FOLDING, update_by_folding};
#endif
  found[found_count++] = (struct crc64_implementation){"table", update_by_table};
}

size_t crc64_init(const struct crc64_implementation **implementations) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, init);
  *implementations = found;
  return found_count;
}
