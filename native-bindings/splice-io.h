// Bytes from a socket to a file that are not copied to user space in between, splice(2): splice-io.c. body.c moves bodies with it
// that nobody has to see.
#ifndef LHSM_SPLICE_IO_H
#define LHSM_SPLICE_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "byte-io.h"

// A pipe: it holds pieces of the kernel's own memory.
struct conduit {
  int ends[2];
  size_t bytes; // in it
};

// False where no pipe can be had, or where one is of no use.
bool conduit_open(struct conduit *conduit);
void conduit_close(struct conduit *conduit);

// Takes what comes off the socket until there are so many bytes in it, or fewer: a pipe has room for a number of pieces, and they may
// be small; or nothing more has come, and there is enough for a write; or the socket cannot be read like that. False when there
// will be no more, and the ending says why.
bool conduit_fill(struct conduit *conduit, const struct source *source, size_t limit);

// Writes so many bytes. Gives how many the file has taken; fewer when it takes no more, or nothing in that way.
size_t conduit_write(struct conduit *conduit, int file, size_t bytes, uint64_t at);

// Copies all there is in it. False with errno.
bool conduit_drain(struct conduit *conduit, unsigned char *into);

#endif
