// CRC-64/NVME, the checksum that Azure Storage calls CRC64: for what the server says of its blobs. Not a fast one.
#ifndef CRC64_H
#define CRC64_H

#include <stddef.h>
#include <stdint.h>

// Continues `crc` (0 at the beginning) over the bytes.
uint64_t crc64(uint64_t crc, const void *from, size_t bytes);

#endif
