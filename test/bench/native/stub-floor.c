// The least that a file system lets an import do: stub-floor LIBRARY DIRECTORY STUBS PER_DIRECTORY THREADS
// Makes directories of stubs, each stub by one llapi_hsm_import and two lsetxattr, as the import job does, with nothing
// around it. Prints {"stubs":…,"wallSeconds":…,"cpuSeconds":…}, the CPU time being this program's own.
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>

typedef int import_fn(const char *, int, const struct stat *, unsigned long long, int, int, int, char *, void *);

static import_fn *import;
static const char *base;
static unsigned stubs, per_directory;
static atomic_uint next;

static _Noreturn void die(const char *what, int error) {
  fprintf(stderr, "stub-floor: %s: %s\n", what, strerror(error));
  exit(1);
}

static double seconds(struct timeval time) {
  return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static void make_stub(unsigned number) {
  char path[4096], blob[4096], fid[16];
  struct stat stat = { .st_mode = S_IFREG | 0644, .st_uid = 1000, .st_gid = 1000, .st_size = 4096 };
  snprintf(path, sizeof path, "%s/d%u/f%u", base, number / per_directory, number);
  int rc = import(path, 1, &stat, 0, -1, 0, 0, NULL, fid);
  if (rc != 0) die(path, -rc);
  snprintf(blob, sizeof blob, "az://container/d%u/f%u", number / per_directory, number);
  if (lsetxattr(path, "trusted.lhsm_uuid", blob, strlen(blob), 0) != 0) die(path, errno);
  if (lsetxattr(path, "trusted.lhsm_etag", "\"0x8DD000000000000\"", 19, 0) != 0) die(path, errno);
}

// A directory is one piece of work, so that nobody waits for another's mkdir.
static void *work(void *nothing) {
  for (;;) {
    unsigned directory = atomic_fetch_add(&next, 1), first = directory * per_directory;
    if (first >= stubs) return nothing;
    char path[4096];
    snprintf(path, sizeof path, "%s/d%u", base, directory);
    if (mkdir(path, 0755) != 0) die(path, errno);
    for (unsigned at = first; at < first + per_directory && at < stubs; at += 1) make_stub(at);
  }
}

int main(int argc, char **argv) {
  if (argc != 6) {
    fprintf(stderr, "usage: stub-floor LIBRARY DIRECTORY STUBS PER_DIRECTORY THREADS\n");
    return 2;
  }
  void *library = dlopen(argv[1], RTLD_NOW);
  if (!library || !(import = (import_fn *)dlsym(library, "llapi_hsm_import"))) {
    fprintf(stderr, "stub-floor: %s\n", dlerror());
    return 1;
  }
  base = argv[2];
  stubs = (unsigned)atoi(argv[3]);
  per_directory = (unsigned)atoi(argv[4]);
  unsigned threads = (unsigned)atoi(argv[5]);
  if (stubs == 0 || per_directory == 0 || threads == 0 || threads > 256) return 2;

  struct timespec begun, ended;
  clock_gettime(CLOCK_MONOTONIC, &begun);
  pthread_t running[256];
  for (unsigned at = 0; at < threads; at += 1) {
    int error = pthread_create(&running[at], NULL, work, NULL);
    if (error != 0) die("pthread_create", error);
  }
  for (unsigned at = 0; at < threads; at += 1) pthread_join(running[at], NULL);
  clock_gettime(CLOCK_MONOTONIC, &ended);

  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  printf("{\"stubs\":%u,\"wallSeconds\":%.6f,\"cpuSeconds\":%.6f}\n", stubs,
         (double)(ended.tv_sec - begun.tv_sec) + (double)(ended.tv_nsec - begun.tv_nsec) / 1e9,
         seconds(usage.ru_utime) + seconds(usage.ru_stime));
  return 0;
}
