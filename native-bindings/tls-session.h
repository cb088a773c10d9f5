// A TLS session over memory: tls-session.c makes them for JavaScript, body.c and link.c use them in threads.
#ifndef LHSM_TLS_SESSION_H
#define LHSM_TLS_SESSION_H

#include <node_api.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>

// One end of a connection. One thread at a time may use it.
struct session {
  SSL *ssl;
  bool is_lent; // to a thread that takes a body: it is not JavaScript's then
  // Ciphertext that has come: what was kept from an earlier call, then what is the caller's for the time of a call, then
  // what `refill` puts there when all that is used up; it answers false when there is none now.
  unsigned char *kept;
  size_t kept_at, kept_bytes, kept_room;
  const unsigned char *in;
  size_t in_left;
  size_t barren; // ciphertext taken since the last content
  bool (*refill)(struct session *session, void *data);
  void *refill_data;
  // Where ciphertext goes: the caller's, for the time of a call, and memory of our own for what had no room there, or
  // belongs to no write: handshake, alerts.
  unsigned char *out;
  size_t out_room;
  unsigned char *spill;
  size_t spill_bytes, spill_room;
  SSL_SESSION *ticket; // the newest, until it is asked for
};

// What OpenSSL says of a failure, in Node's codes: of the certificate, or ERR_SSL_ and OpenSSL's reason.
struct tls_failure {
  char code[128];
  char message[256];
};

// Whom to speak with, and what with.
struct tls_peer {
  SSL_CTX *ctx;
  char host[256]; // whom the certificate must name
  bool is_address;
};

// Reads one from three arguments: what tls-session.ts has for a context, host, isAddress; false with an exception.
bool tls_peer_of(napi_env env, const napi_value *argv, struct tls_peer *peer);

// Makes a session of zeroed memory. False with OpenSSL's reason in its queue; it is to be ended in any case.
bool tls_begin(struct session *session, const struct tls_peer *peer);

// Frees all that the session has; a second time does nothing.
void tls_end(struct session *session);

// As SSL_read_ex, and notes that content has come.
bool tls_read(struct session *session, unsigned char *into, size_t room, size_t *bytes);

void tls_describe(const struct session *session, struct tls_failure *failure);

// Keeps a copy of ciphertext that was not used, for the next read; false without memory for it.
bool tls_keep(struct session *session, const unsigned char *bytes, size_t length);

// The session in a value, if it is open and not lent; or NULL with an exception.
struct session *tls_session_of(napi_env env, napi_value value);

// Adds the functions that tls-session.ts calls.
bool tls_define(napi_env env, napi_value exports);

#endif
