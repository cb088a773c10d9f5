// A blob service for benches and tests that costs next to nothing: content comes from a pattern in memory, uploads are
// counted, judged and thrown away. Loopback only, HTTP/1.1 with keep-alive, a thread for each connection.
//
//   blob-server [--series NAME:COUNT:BYTES[:PER_DIRECTORY]]… [--meta KEY=VALUE]… [--crc64-meta KEY]
//               [--cert FILE --key FILE] [--port N] [--verify] [--verbose]
//
// Prints {"port":N} on a line. Then it takes commands on standard input, and answers each with a line of JSON:
//   stats          what was done since the last reset, and the CPU seconds since the start
//   reset          forgets uploads and counts
//   verify on|off  whether every uploaded byte is compared with the pattern
// It ends with its standard input.
#include <arpa/inet.h>
#include <getopt.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "series.h"
#include "session.h"
#include "uploads.h"

static SSL_CTX *context;

static _Noreturn void die(const char *what) {
  perror(what);
  exit(1);
}

static _Noreturn void refuse(const char *what) {
  fprintf(stderr, "blob-server: %s is not understood\n", what);
  exit(2);
}

static void *serve(void *arg) {
  int fd = (int)(intptr_t)arg;
  struct session *session = malloc(sizeof *session);
  if (session && conn_accept(&session->conn, fd, context)) session_run(session);
  else free(session);
  return NULL;
}

static void *accept_all(void *arg) {
  int listener = (int)(intptr_t)arg;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, 256 * 1024);
  for (;;) {
    pthread_t thread;
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0 && pthread_create(&thread, &attributes, serve, (void *)(intptr_t)fd) != 0) close(fd);
  }
  return NULL;
}

static int listen_on(int *port) {
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((in_port_t)*port)};
  socklen_t length = sizeof at;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (struct sockaddr *)&at, sizeof at) != 0) die("bind");
  if (listen(listener, 1024) != 0) die("listen");
  if (getsockname(listener, (struct sockaddr *)&at, &length) != 0) die("getsockname");
  *port = ntohs(at.sin_port);
  return listener;
}

static double seconds(struct timeval time) {
  return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static void print_stats(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  struct uploads_counts counts = uploads_counts();
  printf("{\"cpuSeconds\":%.6f,\"connections\":%llu,\"requests\":%llu,\"failures\":%llu,\"bytesIn\":%llu,"
         "\"bytesOut\":%llu,\"uploads\":{\"blobs\":%llu,\"bytes\":%llu,\"placed\":%llu,\"compared\":%llu,"
         "\"damaged\":%llu}}\n",
         seconds(usage.ru_utime) + seconds(usage.ru_stime), (unsigned long long)totals.connections,
         (unsigned long long)totals.requests, (unsigned long long)totals.failures, (unsigned long long)totals.bytes_in,
         (unsigned long long)totals.bytes_out, (unsigned long long)counts.blobs, (unsigned long long)counts.bytes,
         (unsigned long long)counts.placed, (unsigned long long)counts.compared, (unsigned long long)counts.damaged);
}

static void reset(void) {
  blobs_reset();
  totals.connections = totals.requests = totals.failures = totals.bytes_in = totals.bytes_out = 0;
}

static void obey(const char *command) {
  if (strcmp(command, "stats\n") == 0) {
    print_stats();
    return;
  }
  if (strcmp(command, "reset\n") == 0) reset();
  else if (strcmp(command, "verify on\n") == 0) is_verifying = true;
  else if (strcmp(command, "verify off\n") == 0) is_verifying = false;
  else {
    printf("{\"error\":\"no such command\"}\n");
    return;
  }
  printf("{}\n");
}

int main(int argc, char **argv) {
  static const struct option options[] = {
      {"series", required_argument, NULL, 's'},     {"meta", required_argument, NULL, 'm'},
      {"crc64-meta", required_argument, NULL, 'c'}, {"cert", required_argument, NULL, 'C'},
      {"key", required_argument, NULL, 'K'},        {"port", required_argument, NULL, 'p'},
      {"verify", no_argument, NULL, 'v'},           {"verbose", no_argument, NULL, 'V'},
      {0},
  };
  const char *cert = NULL, *key = NULL;
  int port = 0, option;
  while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
    if (option == 's' && !series_add(optarg)) refuse(optarg);
    else if (option == 'm' && !series_add_meta(optarg)) refuse(optarg);
    else if (option == 'c') series_add_crc64_meta(optarg);
    else if (option == 'C') cert = optarg;
    else if (option == 'K') key = optarg;
    else if (option == 'p') port = atoi(optarg);
    else if (option == 'v') is_verifying = true;
    else if (option == 'V') is_verbose = true;
    else if (option == '?') return 2;
  }
  if (optind < argc) refuse(argv[optind]);
  if (!cert != !key) refuse("one of --cert and --key without the other");
  signal(SIGPIPE, SIG_IGN);
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (cert) context = conn_server_context(cert, key);
  blobs_ready();
  pthread_t thread;
  int listener = listen_on(&port);
  if (pthread_create(&thread, NULL, accept_all, (void *)(intptr_t)listener) != 0) die("pthread_create");
  printf("{\"port\":%d}\n", port);
  char command[64];
  while (fgets(command, sizeof command, stdin)) obey(command);
  return 0;
}
