// A keep-alive connection that threads use one after the other, by calls that wait: link.c. get.c has its requests
// carried by them.
#ifndef LHSM_LINK_H
#define LHSM_LINK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "byte-io.h"
#include "tls-session.h"

#define LINK_CIPHER_BYTES (32 * 1024)
#define MAX_ADDRESSES 16

struct link {
  struct link *next;
  int socket;
  struct session *session; // NULL without TLS
  bool is_used;            // it has carried a request
  bool waits;              // for what is to come; else only what has come is taken
  int64_t idle_since_s;
  struct source source; // of who uses it
  unsigned char cipher[LINK_CIPHER_BYTES];
};

// Where links lead, and those that nobody uses.
struct route {
  int stall_ms;
  bool has_tls;
  struct tls_peer peer;
  pthread_mutex_t lock;
  // All below belong to the lock.
  struct sockaddr_storage addresses[MAX_ADDRESSES];
  size_t address_count;
  struct link *idle; // the one used last in front
  SSL_SESSION *ticket;
  size_t references;
  bool is_closed;
};

// Who uses a link, and may be stopped by another thread.
struct use {
  struct route *route;
  int socket; // belongs to the route's lock; -1 while there is none
  atomic_bool is_stopped;
  struct ending ending;
};

// NULL without memory for it.
struct route *route_new(int stall_ms, const struct tls_peer *peer);
void route_hold(struct route *route);
// Gives a reference back: with the last one it is freed.
void route_drop(struct route *route);
// Closes the links that have been idle for so many seconds, or that the peer has closed; with 0 all, and those that are in use
// when they are given back.
void route_sweep(struct route *route, int64_t idle_s);

// A link for one request; `is_fresh`: not one that may have been closed meanwhile. NULL when there is none: the ending says
// why, of a connection that could not be made UNUSUAL, or STALLED.
struct link *link_take(struct use *use, bool is_fresh);
// Gives it back, or closes it.
void link_give(struct use *use, struct link *link, bool is_reusable);

// All or nothing; false, and the ending says why.
bool link_send(struct link *link, const char *text, size_t bytes);
// At least one byte of content; 0 when there will be none, and the ending says why.
size_t link_receive(struct link *link, unsigned char *into, size_t room);

// From another thread: who uses a link gives up soon.
void use_stop(struct use *use);

#endif
