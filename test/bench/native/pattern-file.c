// Files with the content that the blob server gives its blobs: pattern-file make|check < LIST
// Each line of the list: number of the blob, bytes, file, with tabs between them. `make` writes the files, `check`
// compares them and names those that differ; their number (at most 100) is its exit status.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pattern.h"

static _Noreturn void die(const char *what) {
  fprintf(stderr, "pattern-file: %s: %s\n", what, strerror(errno));
  exit(125);
}

static void make(const char *path, uint64_t index, uint64_t size) {
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) die(path);
  for (uint64_t at = 0; at < size;) {
    size_t most = size - at < PATTERN_BYTES ? (size_t)(size - at) : PATTERN_BYTES;
    ssize_t n = write(fd, pattern_at(pattern_phase(index, at)), most);
    if (n <= 0) die(path);
    at += (uint64_t)n;
  }
  if (close(fd) != 0) die(path);
}

// The first offset that is wrong, or -1.
static int64_t check(const char *path, uint64_t index, uint64_t size) {
  static unsigned char buffer[256 * 1024];
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  uint64_t at = 0;
  if (fd < 0) return 0;
  for (;;) {
    ssize_t n = read(fd, buffer, sizeof buffer);
    if (n < 0) die(path);
    if (n == 0 || at + (uint64_t)n > size || !pattern_equals(buffer, (size_t)n, pattern_phase(index, at))) break;
    at += (uint64_t)n;
  }
  struct stat stat;
  bool is_whole = at == size && fstat(fd, &stat) == 0 && (uint64_t)stat.st_size == size;
  close(fd);
  return is_whole ? -1 : (int64_t)at;
}

int main(int argc, char **argv) {
  char *line = NULL;
  size_t room = 0;
  int wrong = 0;
  bool is_make = argc == 2 && strcmp(argv[1], "make") == 0;
  if (argc != 2 || (!is_make && strcmp(argv[1], "check") != 0)) {
    fprintf(stderr, "usage: pattern-file make|check < LIST\n");
    return 125;
  }
  pattern_init();
  for (ssize_t n; (n = getline(&line, &room, stdin)) > 0;) {
    if (line[n - 1] == '\n') line[n - 1] = '\0';
    char *at = line;
    uint64_t index = strtoull(strsep(&at, "\t"), NULL, 10);
    uint64_t size = at ? strtoull(strsep(&at, "\t"), NULL, 10) : 0;
    const char *path = at ? at : "";
    int64_t offset = -1;
    if (is_make) make(path, index, size);
    else offset = check(path, index, size);
    if (offset < 0) continue;
    if (wrong < 10) printf("%s is wrong from byte %lld on\n", path, (long long)offset);
    wrong += wrong < 100;
  }
  free(line);
  return wrong;
}
