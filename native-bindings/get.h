// A GET that a thread sends, and whose answer it takes and writes to a file: get.c, and get-head.c for what is in a head. get-thread.c
// has them done for JavaScript.
#ifndef LHSM_GET_H
#define LHSM_GET_H

#include <node_api.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "link.h"
#include "work-threads.h"

// As MAX_HEAD_BYTES of response-parser.ts.
#define HEAD_BYTES (32 * 1024)
// As SMALL_BODY_BYTES of connection.ts: it has its place behind the head.
#define SMALL_BYTES (32 * 1024)

// With the id of one that asks; ids are below it.
#define GET_ASKS (UINT32_C(1) << 31)

struct get {
  struct work work;
  struct use use;
  int file;
  uint64_t start, end, file_bytes; // the range, in the blob and in the file, which have so many bytes
  char *request;
  size_t request_bytes;
  char *etag;         // of the version that it must be, without quotes; NULL for any
  char *holes_header; // says 1 where blocks of zeros are to stay holes; or NULL
  char *sum_header;   // is there where the body is to be summed; or NULL
  bool keeps_holes, sums;
  bool asks; // JavaScript judges the head of a body that is not small before it is written, and says how
  // For a body that is not small, else NULL: content, and behind it ciphertext.
  unsigned char *buffer;
  size_t buffer_bytes, cipher_bytes;
  volatile double *progress; // bytes written are added there; or NULL
  napi_ref refs[2];          // what must live as long: buffer, progress
  atomic_bool is_asking; // it waits
  sem_t answered;        // by get_go or get_stop
  // What comes of it:
  bool is_content; // what came behind the head is what was asked for
  size_t filled, head_bytes;
  int64_t head_at_us; // when the head was there
  uint64_t at;        // everything from the start to here is in the file
  uint64_t crc;       // of that
  uint64_t spliced;
  struct get *next_spare;
  unsigned char answer[HEAD_BYTES + SMALL_BYTES];
};

struct head {
  size_t bytes; // with the empty line
  int status;
  uint64_t length; // of the body
  bool keeps_alive;
  bool is_other; // another range, size or version than was asked for
};

// Reads what decides where an answer of HTTP/1.1 ends, one Content-Length without a coding, and whether it is what was asked
// for. All else that is in it response-parser.ts looks at. False for what is not as usual. `stop` is behind the line break of
// the last header. What the headers say of how the body is written goes to the request.
bool get_parse(const char *at, const char *stop, struct get *get, struct head *head);

// For who asks: the body is written like that.
void get_go(struct get *get, bool keeps_holes, bool sums);

// Has it end soon.
void get_stop(struct get *get);

// The work.
void get_run(struct work *work);

// Of the clock that head_at_us is of.
int64_t get_now_us(void);

#endif
