// The native floor: what moving the bytes costs at least. Threads with a connection each, blocking calls, nothing else.
//
//   floor restore|archive|small --url http[s]://127.0.0.1:PORT/ACCOUNT/CONTAINER --query SAS --list FILE
//         [--connections N] [--range BYTES] [--buffer BYTES] [--no-write] [--ca FILE]
//
// Each line of the list: blob, bytes, file, with tabs between them. `restore` gets ranges and writes them into new
// files, `archive` puts blocks, `small` gets each blob as a whole into a file of its own.
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "http.h"

struct file {
  char *blob, *path;
  uint64_t bytes;
  int fd;
  atomic_uint blocks_left;
};

struct job {
  struct file *file;
  uint64_t start, end;
  unsigned number; // of the block in its file
};

// One thread's.
struct worker {
  struct conn conn;
  struct http_in in;
  unsigned char *buffer;
};

static struct file *files;
static size_t file_count, job_count;
static struct job *jobs;
static atomic_size_t next_job;
static bool (*run_job)(struct worker *, const struct job *);
static const char *host_and_path, *query;
static int port;
static SSL_CTX *context;
static bool is_writing = true;
static size_t buffer_bytes = 256 * 1024;

static _Noreturn void die(const char *what) {
  fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void *need(void *memory) {
  if (!memory) die("malloc");
  return memory;
}

static bool send_head(struct worker *worker, const char *method, const struct job *job, const char *parameters,
                      const char *headers, uint64_t content_length) {
  char head[4096];
  int n = snprintf(head, sizeof head,
                   "%s %s/%s?%s%s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nx-ms-version: 2025-01-05\r\n%sContent-Length: %llu"
                   "\r\n\r\n",
                   method, host_and_path, job->file->blob, parameters, query, port, headers,
                   (unsigned long long)content_length);
  return n > 0 && (size_t)n < sizeof head && conn_write(&worker->conn, head, (size_t)n);
}

static bool read_answer(struct worker *worker, const char *status) {
  if (!conn_flush(&worker->conn) || !http_read_head(&worker->in)) return false;
  if (strncmp(worker->in.head, "HTTP/1.1 ", 9) == 0 && strncmp(worker->in.head + 9, status, 3) == 0) return true;
  fprintf(stderr, "floor: wanted %s: %s\n", status, worker->in.head);
  return false;
}

static bool write_all(int fd, const unsigned char *from, size_t bytes, uint64_t at) {
  for (size_t done = 0; done < bytes;) {
    ssize_t n = pwrite(fd, from + done, bytes - done, (off_t)(at + done));
    if (n <= 0) die("pwrite");
    done += (size_t)n;
  }
  return true;
}

static bool restore_range(struct worker *worker, const struct job *job) {
  char range[96];
  snprintf(range, sizeof range, "x-ms-range: bytes=%llu-%llu\r\n", (unsigned long long)job->start,
           (unsigned long long)job->end - 1);
  if (!send_head(worker, "GET", job, "", range, 0) || !read_answer(worker, "206")) return false;
  if (http_content_length(worker->in.head) != (int64_t)(job->end - job->start)) return false;
  for (uint64_t at = job->start, n; at < job->end; at += n) {
    n = job->end - at < buffer_bytes ? job->end - at : buffer_bytes;
    if (!http_read_all(&worker->in, worker->buffer, (size_t)n)) return false;
    if (is_writing) write_all(job->file->fd, worker->buffer, (size_t)n, at);
  }
  return true;
}

static bool restore_small(struct worker *worker, const struct job *job) {
  if (!send_head(worker, "GET", job, "", "", 0) || !read_answer(worker, "200")) return false;
  int64_t bytes = http_content_length(worker->in.head);
  if (bytes < 0 || (size_t)bytes > buffer_bytes) return false;
  if (!http_read_all(&worker->in, worker->buffer, (size_t)bytes)) return false;
  if (!is_writing) return true;
  int fd = open(job->file->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) die(job->file->path);
  write_all(fd, worker->buffer, (size_t)bytes, 0);
  close(fd);
  return true;
}

// Ids of blocks are Base64: these eight characters are.
static bool commit(struct worker *worker, const struct job *job) {
  unsigned count = 0;
  for (const struct job *each = jobs; each < jobs + job_count; each += 1) count += each->file == job->file;
  char *list = need(malloc(64 + count * 32u));
  size_t n = (size_t)sprintf(list, "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>");
  for (unsigned at = 0; at < count; at += 1) n += (size_t)sprintf(list + n, "<Latest>b%07u</Latest>", at);
  n += (size_t)sprintf(list + n, "</BlockList>");
  bool is_done = send_head(worker, "PUT", job, "comp=blocklist&", "", n) && conn_write(&worker->conn, list, n) &&
                 read_answer(worker, "201");
  free(list);
  return is_done;
}

static bool put_block(struct worker *worker, const struct job *job) {
  char parameters[64];
  snprintf(parameters, sizeof parameters, "comp=block&blockid=b%07u&", job->number);
  if (!send_head(worker, "PUT", job, parameters, "", job->end - job->start)) return false;
  for (uint64_t at = job->start; at < job->end;) {
    size_t most = job->end - at < buffer_bytes ? (size_t)(job->end - at) : buffer_bytes;
    ssize_t n = pread(job->file->fd, worker->buffer, most, (off_t)at);
    if (n <= 0) die(job->file->path);
    if (!conn_write(&worker->conn, worker->buffer, (size_t)n)) return false;
    at += (uint64_t)n;
  }
  if (!read_answer(worker, "201")) return false;
  return atomic_fetch_sub(&job->file->blocks_left, 1) > 1 || commit(worker, job);
}

static void *work(void *unused) {
  struct worker *worker = need(calloc(1, sizeof *worker));
  worker->buffer = need(aligned_alloc(4096, buffer_bytes));
  worker->in.conn = &worker->conn;
  if (!conn_connect(&worker->conn, port, context)) exit(1);
  for (size_t at; (at = atomic_fetch_add(&next_job, 1)) < job_count;) {
    if (!run_job(worker, &jobs[at])) die("a request failed");
  }
  conn_close(&worker->conn);
  free(worker->buffer);
  free(worker);
  return unused;
}

static void read_list(const char *path) {
  FILE *list = fopen(path, "re");
  char *line = NULL;
  size_t room = 0;
  if (!list) die(path);
  for (ssize_t n; (n = getline(&line, &room, list)) > 0;) {
    if (line[n - 1] == '\n') line[n - 1] = '\0';
    if ((file_count & (file_count - 1)) == 0) files = need(realloc(files, 2 * (file_count + 1) * sizeof *files));
    char *at = line;
    struct file *file = &files[file_count++];
    *file = (struct file){.fd = -1};
    file->blob = need(strdup(strsep(&at, "\t")));
    file->bytes = at ? strtoull(strsep(&at, "\t"), NULL, 10) : 0;
    file->path = need(strdup(at ? at : ""));
  }
  free(line);
  fclose(list);
}

// Cuts the files into jobs, and opens them.
static void make_jobs(uint64_t range_bytes, int flags) {
  size_t most = file_count;
  for (size_t at = 0; at < file_count; at += 1) most += files[at].bytes / range_bytes;
  jobs = need(malloc((most + 1) * sizeof *jobs));
  for (struct file *file = files; file < files + file_count; file += 1) {
    if (flags >= 0 && is_writing && (file->fd = open(file->path, flags | O_CLOEXEC, 0644)) < 0) die(file->path);
    unsigned number = 0;
    for (uint64_t at = 0; at < file->bytes || number == 0; at += range_bytes, number += 1) {
      uint64_t end = file->bytes - at < range_bytes ? file->bytes : at + range_bytes;
      jobs[job_count++] = (struct job){.file = file, .start = at, .end = end, .number = number};
    }
    file->blocks_left = number;
  }
}

static void read_url(const char *url) {
  if (sscanf(url, "http%*[s]://127.0.0.1:%d", &port) != 1 && sscanf(url, "http://127.0.0.1:%d", &port) != 1) {
    fprintf(stderr, "floor: %s is not an address on 127.0.0.1\n", url);
    exit(2);
  }
  const char *authority = strstr(url, "//") + 2;
  host_and_path = strchr(authority, '/') ? strchr(authority, '/') : "";
}

int main(int argc, char **argv) {
  static const struct option options[] = {
      {"url", required_argument, NULL, 'u'},         {"query", required_argument, NULL, 'q'},
      {"list", required_argument, NULL, 'l'},        {"connections", required_argument, NULL, 'n'},
      {"range", required_argument, NULL, 'r'},       {"buffer", required_argument, NULL, 'b'},
      {"no-write", no_argument, NULL, 'w'},          {"ca", required_argument, NULL, 'c'},
      {0},
  };
  const char *url = "", *list = NULL;
  uint64_t range_bytes = 8 * 1024 * 1024;
  size_t connections = 16;
  query = "";
  for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    if (option == 'u') url = optarg;
    else if (option == 'q') query = optarg;
    else if (option == 'l') list = optarg;
    else if (option == 'n') connections = strtoul(optarg, NULL, 10);
    else if (option == 'r') range_bytes = strtoull(optarg, NULL, 10);
    else if (option == 'b') buffer_bytes = strtoul(optarg, NULL, 10);
    else if (option == 'w') is_writing = false;
    else if (option == 'c') context = conn_client_context(optarg);
    else return 2;
  }
  const char *what = optind < argc ? argv[optind] : "";
  if (!list || range_bytes == 0 || buffer_bytes < 4096) return 2;
  read_url(url);
  read_list(list);
  if (strcmp(what, "restore") == 0) {
    run_job = restore_range;
    make_jobs(range_bytes, O_WRONLY | O_CREAT | O_TRUNC);
  } else if (strcmp(what, "archive") == 0) {
    run_job = put_block;
    make_jobs(range_bytes, O_RDONLY);
  } else if (strcmp(what, "small") == 0) {
    run_job = restore_small;
    make_jobs(UINT64_MAX, -1);
  } else return 2;
  if (connections > job_count) connections = job_count;
  pthread_t *threads = need(calloc(connections + 1, sizeof *threads));
  for (size_t at = 0; at < connections; at += 1) {
    if (pthread_create(&threads[at], NULL, work, NULL) != 0) die("pthread_create");
  }
  for (size_t at = 0; at < connections; at += 1) pthread_join(threads[at], NULL);
  return 0;
}
