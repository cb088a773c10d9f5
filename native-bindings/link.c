#define _GNU_SOURCE
#include "link.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "work-threads.h"

// An address behind which there are others has that long: the autoSelectFamilyAttemptTimeout of node:net.
#define ATTEMPT_MS 250

static int64_t now_s(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec;
}

// --- sending and receiving ---

// Waits until the socket can take something; false, and the ending says why.
static bool await_room(const struct source *source) {
  for (;;) {
    if (atomic_load(source->is_stopped)) return end(source->ending, STOPPED, 0);
    struct pollfd wanted = {.fd = source->socket, .events = POLLOUT};
    int ready = work_poll(&wanted, source->stall_ms);
    if (ready > 0) return true;
    if (ready == 0) return end(source->ending, STALLED, 0);
  }
}

static bool send_all(const struct source *source, const void *bytes, size_t length) {
  for (const char *from = bytes; length > 0;) {
    ssize_t sent = send(source->socket, from, length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      from += sent;
      length -= (size_t)sent;
    } else if (errno == EAGAIN) {
      if (!await_room(source)) return false;
    } else if (errno != EINTR) return end(source->ending, SOCKET_FAILED, errno);
  }
  return true;
}

// Sends what the session has put aside: all that it writes.
static bool send_spilled(struct link *link) {
  struct session *session = link->session;
  const size_t bytes = session->spill_bytes;
  session->spill_bytes = 0;
  return bytes == 0 || send_all(&link->source, session->spill, bytes);
}

// The same where nobody may wait. What cannot be sent stays there, and the link is of no more use.
static bool send_spilled_now(struct link *link) {
  struct session *session = link->session;
  const ssize_t bytes = (ssize_t)session->spill_bytes;
  if (bytes > 0 && send(link->socket, session->spill, session->spill_bytes, MSG_NOSIGNAL | MSG_DONTWAIT) != bytes) return false;
  session->spill_bytes = 0;
  return true;
}

static bool refill(struct session *session, void *data) {
  struct link *link = data;
  // The peer may wait for it, and send nothing before.
  if (!(link->waits ? send_spilled : send_spilled_now)(link)) return false;
  if (link->waits) session->in_left = receive(&link->source, link->cipher, sizeof link->cipher);
  else {
    ssize_t bytes = recv(link->socket, link->cipher, sizeof link->cipher, MSG_DONTWAIT);
    session->in_left = bytes > 0 ? (size_t)bytes : 0;
  }
  session->in = link->cipher;
  return session->in_left > 0;
}

bool link_send(struct link *link, const char *text, size_t bytes) {
  if (!link->session) return send_all(&link->source, text, bytes);
  size_t written = 0;
  ERR_clear_error();
  int result = SSL_write_ex(link->session->ssl, text, bytes, &written);
  return result == 1 ? send_spilled(link) : end_tls(link->source.ending, link->session, result);
}

size_t link_receive(struct link *link, unsigned char *into, size_t room) {
  if (!link->session) return receive(&link->source, into, room);
  size_t bytes = 0;
  ERR_clear_error();
  return tls_read(link->session, into, room, &bytes) ? bytes : end_tls(link->source.ending, link->session, 0);
}

// --- making one ---

static void set_socket(struct use *use, int socket) {
  pthread_mutex_lock(&use->route->lock);
  use->socket = socket;
  pthread_mutex_unlock(&use->route->lock);
}

void use_stop(struct use *use) {
  pthread_mutex_lock(&use->route->lock);
  atomic_store(&use->is_stopped, true);
  if (use->socket >= 0) shutdown(use->socket, SHUT_RDWR);
  pthread_mutex_unlock(&use->route->lock);
}

// What to free is the caller's; the socket is not closed.
static void destroy(struct link *link) {
  if (link->session) {
    tls_end(link->session);
    free(link->session);
  }
  free(link);
}

static void close_link(struct link *link) {
  close(link->socket);
  destroy(link);
}

static struct source source_of(struct use *use, int socket) {
  return (struct source){
      .socket = socket,
      .stall_ms = use->route->stall_ms,
      .is_quick = true,
      .is_stopped = &use->is_stopped,
      .ending = &use->ending};
}

static bool connect_to(struct use *use, int socket, const struct sockaddr_storage *address, bool is_last) {
  struct source source = source_of(use, socket);
  if (!is_last && source.stall_ms > ATTEMPT_MS) source.stall_ms = ATTEMPT_MS;
  int failure = 0;
  socklen_t length = sizeof failure;
  if (connect(socket, (const struct sockaddr *)address, sizeof *address) == 0) return true;
  if (errno != EINPROGRESS) return end(&use->ending, SOCKET_FAILED, errno);
  if (!await_room(&source)) return false;
  getsockopt(socket, SOL_SOCKET, SO_ERROR, &failure, &length);
  return failure == 0 || end(&use->ending, SOCKET_FAILED, failure);
}

// A connected socket, or below 0.
static int open_socket(struct use *use) {
  struct sockaddr_storage addresses[MAX_ADDRESSES];
  struct route *route = use->route;
  pthread_mutex_lock(&route->lock);
  const size_t count = route->address_count;
  memcpy(addresses, route->addresses, count * sizeof *addresses);
  pthread_mutex_unlock(&route->lock);
  for (size_t n = 0; n < count && !atomic_load(&use->is_stopped); n++) {
    const int one = 1;
    use->ending = (struct ending){.outcome = WHOLE};
    int opened = socket(addresses[n].ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (opened < 0) continue;
    setsockopt(opened, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    set_socket(use, opened);
    if (connect_to(use, opened, &addresses[n], n + 1 == count)) return opened;
    set_socket(use, -1);
    close(opened);
  }
  // Whoever asks another way has the words for it; but not for the same wait once more.
  if (atomic_load(&use->is_stopped)) end(&use->ending, STOPPED, 0);
  else if (use->ending.outcome != STALLED) end(&use->ending, UNUSUAL, 0);
  return -1;
}

static bool shake_hands(struct use *use, struct link *link) {
  struct route *route = use->route;
  link->session = calloc(1, sizeof *link->session);
  if (!link->session) return end(&use->ending, UNUSUAL, 0);
  ERR_clear_error();
  if (!tls_begin(link->session, &route->peer)) {
    ERR_clear_error();
    return end(&use->ending, UNUSUAL, 0);
  }
  pthread_mutex_lock(&route->lock);
  // Each connection writes into its own.
  SSL_SESSION *ticket = route->ticket ? SSL_SESSION_dup(route->ticket) : NULL;
  pthread_mutex_unlock(&route->lock);
  // A ticket of no use is none: the handshake is then a full one.
  if (ticket && !SSL_set_session(link->session->ssl, ticket)) ERR_clear_error();
  SSL_SESSION_free(ticket);
  link->session->refill = refill;
  link->session->refill_data = link;
  int result = SSL_do_handshake(link->session->ssl);
  if (result == 1) return send_spilled(link);
  end_tls(&use->ending, link->session, result);
  // The alert that tells the peer, if it still hears: what has gone wrong is something else.
  send_spilled_now(link);
  return false;
}

static struct link *open_link(struct use *use) {
  struct link *link = malloc(sizeof *link);
  if (!link) {
    end(&use->ending, UNUSUAL, 0);
    return NULL;
  }
  memset(link, 0, offsetof(struct link, cipher));
  link->socket = open_socket(use);
  link->waits = true;
  link->source = source_of(use, link->socket);
  if (link->socket >= 0 && (!use->route->has_tls || shake_hands(use, link))) return link;
  if (link->socket >= 0) {
    set_socket(use, -1);
    close(link->socket);
  }
  destroy(link);
  return NULL;
}

// --- those that nobody uses ---

// Whether nothing has come unasked, nor the end: it would be taken for the next answer. Tickets and the like may have.
static bool is_quiet(struct link *link) {
  unsigned char byte;
  size_t bytes = 0;
  struct session *session = link->session;
  const bool is_empty = recv(link->socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
  // OpenSSL may have a part of what came.
  if (!session || (is_empty && session->in_left == 0 && !SSL_has_pending(session->ssl))) return is_empty;
  ERR_clear_error();
  link->waits = false;
  int result = SSL_peek_ex(session->ssl, &byte, 1, &bytes);
  link->waits = true;
  const bool has_none = result != 1 && SSL_get_error(session->ssl, result) == SSL_ERROR_WANT_READ &&
                        session->spill_bytes == 0 && !SSL_has_pending(session->ssl);
  ERR_clear_error();
  // The end of the connection is not told to the session.
  return has_none && recv(link->socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

struct link *link_take(struct use *use, bool is_fresh) {
  struct route *route = use->route;
  use->ending = (struct ending){.outcome = WHOLE};
  while (!is_fresh) {
    pthread_mutex_lock(&route->lock);
    struct link *link = route->idle;
    if (link) {
      route->idle = link->next;
      use->socket = link->socket;
    }
    pthread_mutex_unlock(&route->lock);
    if (!link) break;
    link->source = source_of(use, link->socket);
    if (is_quiet(link)) return link;
    link_give(use, link, false);
  }
  return open_link(use);
}

void link_give(struct use *use, struct link *link, bool is_reusable) {
  struct route *route = use->route;
  struct session *session = link->session;
  link->is_used = true;
  link->idle_since_s = now_s();
  pthread_mutex_lock(&route->lock);
  use->socket = -1;
  if (session && session->ticket) {
    SSL_SESSION_free(route->ticket);
    route->ticket = session->ticket;
    session->ticket = NULL;
  }
  const bool is_kept = is_reusable && !route->is_closed && !atomic_load(&use->is_stopped);
  if (is_kept) {
    link->next = route->idle;
    route->idle = link;
  }
  pthread_mutex_unlock(&route->lock);
  if (!is_kept) close_link(link);
}

// --- routes ---

struct route *route_new(int stall_ms, const struct tls_peer *peer) {
  struct route *route = calloc(1, sizeof *route);
  if (!route) return NULL;
  route->stall_ms = stall_ms;
  route->references = 1;
  pthread_mutex_init(&route->lock, NULL);
  if (peer) {
    route->has_tls = true;
    route->peer = *peer;
    SSL_CTX_up_ref(peer->ctx);
  }
  return route;
}

void route_hold(struct route *route) {
  pthread_mutex_lock(&route->lock);
  route->references++;
  pthread_mutex_unlock(&route->lock);
}

void route_drop(struct route *route) {
  pthread_mutex_lock(&route->lock);
  const bool is_last = --route->references == 0;
  pthread_mutex_unlock(&route->lock);
  if (!is_last) return;
  route_sweep(route, 0);
  SSL_SESSION_free(route->ticket);
  if (route->has_tls) SSL_CTX_free(route->peer.ctx);
  pthread_mutex_destroy(&route->lock);
  free(route);
}

void route_sweep(struct route *route, int64_t idle_s) {
  const int64_t until_s = now_s() - idle_s;
  struct use nobody = {.route = route, .socket = -1};
  struct link *kept = NULL, **end_of_kept = &kept, *gone = NULL;
  pthread_mutex_lock(&route->lock);
  if (idle_s == 0) route->is_closed = true;
  for (struct link *link = route->idle, *next; link; link = next) {
    next = link->next;
    link->source = source_of(&nobody, link->socket);
    if (idle_s > 0 && link->idle_since_s > until_s && is_quiet(link)) {
      *end_of_kept = link;
      end_of_kept = &link->next;
    } else {
      link->next = gone;
      gone = link;
    }
  }
  *end_of_kept = NULL;
  route->idle = kept;
  pthread_mutex_unlock(&route->lock);
  for (struct link *next; gone; gone = next) {
    next = gone->next;
    close_link(gone);
  }
}
