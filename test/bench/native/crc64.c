// CRC-64/NVME (polynomial 0xad93d23594c93659, reflected, all bits inverted before and after), eight bytes a step.
#include "crc64.h"

#include <pthread.h>
#include <string.h>

static uint64_t tables[8][256];

static void make_tables(void) {
  for (unsigned byte = 0; byte < 256; byte += 1) {
    uint64_t crc = byte;
    for (int bit = 0; bit < 8; bit += 1) crc = crc & 1 ? crc >> 1 ^ 0x9a6c9329ac4bc9b5u : crc >> 1;
    tables[0][byte] = crc;
  }
  for (unsigned byte = 0; byte < 256; byte += 1) {
    for (int step = 1; step < 8; step += 1) {
      uint64_t crc = tables[step - 1][byte];
      tables[step][byte] = tables[0][crc & 255] ^ crc >> 8;
    }
  }
}

uint64_t crc64(uint64_t crc, const void *from, size_t bytes) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, make_tables);
  const unsigned char *at = from;
  crc = ~crc;
  for (; bytes >= 8; bytes -= 8, at += 8) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
    crc ^= word;
    uint64_t next = 0;
    for (int step = 0; step < 8; step += 1) next ^= tables[7 - step][crc >> 8 * step & 255];
    crc = next;
  }
  for (; bytes > 0; bytes -= 1, at += 1) crc = tables[0][(crc ^ *at) & 255] ^ crc >> 8;
  return ~crc;
}
