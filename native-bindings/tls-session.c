// TLS over memory, for tls-session.ts: the OpenSSL that is part of Node encrypts and decrypts between buffers of the
// caller's, whole reads of a socket at a time. Node's own TLS streams hand over 16 KiB at a time, copied three times.
#include "tls-session.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "napi-helpers.h"

// What may wait to be sent: a peer that has us answer for ever, and reads nothing, is not to have all memory. More than the
// largest piece that is encrypted at once.
#define SPILL_BYTES (1024 * 1024)
// What may come without any content in it, the longest handshake included: key updates and tickets without end, which count as
// life of the peer's, are not to be read for ever.
#define BARREN_BYTES (1024 * 1024)

static BIO_METHOD *memory_method;
static pthread_once_t memory_once = PTHREAD_ONCE_INIT;

bool tls_keep(struct session *session, const unsigned char *bytes, size_t length) {
  if (session->kept_at == session->kept_bytes) session->kept_at = session->kept_bytes = 0;
  if (length > session->kept_room - session->kept_bytes) {
    size_t room = session->kept_bytes + length;
    unsigned char *larger = realloc(session->kept, room);
    if (!larger) return false;
    session->kept = larger;
    session->kept_room = room;
  }
  if (length > 0) memcpy(session->kept + session->kept_bytes, bytes, length);
  session->kept_bytes += length;
  return true;
}

static int memory_read(BIO *bio, char *into, int wanted) {
  struct session *session = BIO_get_data(bio);
  BIO_clear_retry_flags(bio);
  if (wanted <= 0) return 0;
  if (session->barren > BARREN_BYTES) return -1;
  size_t kept = session->kept_bytes - session->kept_at;
  if (kept > 0) {
    size_t bytes = (size_t)wanted < kept ? (size_t)wanted : kept;
    memcpy(into, session->kept + session->kept_at, bytes);
    session->kept_at += bytes;
    session->barren += bytes;
    return (int)bytes;
  }
  if (session->in_left == 0 && !(session->refill && session->refill(session, session->refill_data))) {
    BIO_set_retry_read(bio);
    return -1;
  }
  size_t bytes = (size_t)wanted < session->in_left ? (size_t)wanted : session->in_left;
  memcpy(into, session->in, bytes);
  session->in += bytes;
  session->in_left -= bytes;
  session->barren += bytes;
  return (int)bytes;
}

static int memory_write(BIO *bio, const char *from, int given) {
  struct session *session = BIO_get_data(bio);
  BIO_clear_retry_flags(bio);
  if (given <= 0) return 0;
  size_t bytes = (size_t)given;
  // What is spilled comes behind what is in `out`: no going back to it.
  if (session->spill_bytes == 0 && bytes <= session->out_room) {
    memcpy(session->out, from, bytes);
    session->out += bytes;
    session->out_room -= bytes;
    return given;
  }
  if (bytes > SPILL_BYTES - session->spill_bytes) return -1;
  if (bytes > session->spill_room - session->spill_bytes) {
    size_t room = 2 * (session->spill_bytes + bytes);
    unsigned char *larger = realloc(session->spill, room);
    if (!larger) return -1;
    session->spill = larger;
    session->spill_room = room;
  }
  memcpy(session->spill + session->spill_bytes, from, bytes);
  session->spill_bytes += bytes;
  return given;
}

static long memory_control(BIO *bio, int command, long number, void *pointer) {
  (void)bio, (void)number, (void)pointer;
  return command == BIO_CTRL_FLUSH;
}

bool tls_read(struct session *session, unsigned char *into, size_t room, size_t *bytes) {
  if (!SSL_read_ex(session->ssl, into, room, bytes)) return false;
  session->barren = 0;
  return true;
}

static void make_memory_method(void) {
  BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "buffers of the caller's");
  if (method && BIO_meth_set_read(method, memory_read) && BIO_meth_set_write(method, memory_write) &&
      BIO_meth_set_ctrl(method, memory_control))
    memory_method = method;
}

static napi_value throw_error(napi_env env, const char *code, const char *message) {
  napi_throw_error(env, code, message);
  return NULL;
}

// The names that Node has for these (node:tls, "X509 certificate error codes"); all others are one to us.
static const char *certificate_code(long result) {
  switch (result) {
#define CASE(name) \
  case X509_V_ERR_##name: \
    return #name
    CASE(UNABLE_TO_GET_ISSUER_CERT);
    CASE(UNABLE_TO_DECRYPT_CERT_SIGNATURE);
    CASE(UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY);
    CASE(CERT_SIGNATURE_FAILURE);
    CASE(CERT_NOT_YET_VALID);
    CASE(CERT_HAS_EXPIRED);
    CASE(DEPTH_ZERO_SELF_SIGNED_CERT);
    CASE(SELF_SIGNED_CERT_IN_CHAIN);
    CASE(UNABLE_TO_GET_ISSUER_CERT_LOCALLY);
    CASE(UNABLE_TO_VERIFY_LEAF_SIGNATURE);
    CASE(CERT_CHAIN_TOO_LONG);
    CASE(CERT_REVOKED);
    CASE(INVALID_CA);
    CASE(PATH_LENGTH_EXCEEDED);
    CASE(INVALID_PURPOSE);
    CASE(CERT_UNTRUSTED);
    CASE(CERT_REJECTED);
    CASE(HOSTNAME_MISMATCH);
#undef CASE
  case X509_V_ERR_IP_ADDRESS_MISMATCH:
    return "HOSTNAME_MISMATCH";
  default:
    return "CERT_REJECTED";
  }
}

void tls_describe(const struct session *session, struct tls_failure *failure) {
  long verified = session ? SSL_get_verify_result(session->ssl) : X509_V_OK;
  unsigned long error = ERR_peek_last_error();
  const char *reason = error ? ERR_reason_error_string(error) : NULL;
  if (verified != X509_V_OK) {
    snprintf(failure->code, sizeof failure->code, "%s", certificate_code(verified));
    snprintf(failure->message, sizeof failure->message, "%s", X509_verify_cert_error_string(verified));
  } else if (reason) {
    snprintf(failure->code, sizeof failure->code, "ERR_SSL_%s", reason);
    for (char *at = failure->code; *at; at++) {
      if (*at >= 'a' && *at <= 'z') *at = (char)(*at - 'a' + 'A');
      else if (*at == ' ' || *at == '-') *at = '_';
    }
    ERR_error_string_n(error, failure->message, sizeof failure->message);
  } else if (session && session->barren > BARREN_BYTES) {
    snprintf(failure->code, sizeof failure->code, "ERR_SSL_NO_CONTENT");
    snprintf(failure->message, sizeof failure->message, "the peer sends and sends, and none of it is content");
  } else {
    snprintf(failure->code, sizeof failure->code, "ERR_SSL_UNKNOWN");
    snprintf(failure->message, sizeof failure->message, "TLS failed, and OpenSSL does not say why");
  }
  ERR_clear_error();
}

static napi_value throw_tls(napi_env env, const struct session *session) {
  struct tls_failure failure;
  tls_describe(session, &failure);
  return throw_error(env, failure.code, failure.message);
}

void tls_end(struct session *session) {
  // Connections just end here; OpenSSL would take that for a reason not to take their sessions up again.
  if (session->ssl) SSL_set_shutdown(session->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  SSL_free(session->ssl);
  SSL_SESSION_free(session->ticket);
  free(session->spill);
  free(session->kept);
  memset(session, 0, sizeof *session);
}

static void finalize_session(napi_env env, void *data, void *hint) {
  (void)env, (void)hint;
  tls_end(data);
  free(data);
}

static void finalize_context(napi_env env, void *data, void *hint) {
  (void)env, (void)hint;
  SSL_CTX_free(data);
}

// Keeps the newest ticket; 1: the reference is ours now.
static int keep_ticket(SSL *ssl, SSL_SESSION *ticket) {
  struct session *session = SSL_get_app_data(ssl);
  if (!session) return 0;
  SSL_SESSION_free(session->ticket);
  session->ticket = ticket;
  return 1;
}

// A certificate has no password; without this OpenSSL would ask for one at the terminal.
static int no_password(char *into, int room, int is_writing, void *data) {
  (void)into, (void)room, (void)is_writing, (void)data;
  return -1;
}

// Adds the certificates of a PEM text, up to the first that cannot be read, as node:tls does; answers how many.
static size_t trust(SSL_CTX *ctx, const char *pem, size_t bytes) {
  BIO *text = BIO_new_mem_buf(pem, (int)bytes);
  size_t count = 0;
  for (X509 *each; text && (each = PEM_read_bio_X509_AUX(text, NULL, no_password, NULL)); X509_free(each)) {
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), each)) count++;
  }
  BIO_free(text);
  return count;
}

// A string in memory of its own, or NULL with an exception.
static char *string_of(napi_env env, napi_value value, size_t *bytes) {
  char *text = NULL;
  if (napi_get_value_string_utf8(env, value, NULL, 0, bytes) == napi_ok && (text = malloc(*bytes + 1)) &&
      napi_get_value_string_utf8(env, value, text, *bytes + 1, bytes) == napi_ok)
    return text;
  free(text);
  throw_type(env, "a string is needed");
  return NULL;
}

// The same of each text of an array, and where OpenSSL was built to look; false with an exception.
static bool trust_all(napi_env env, SSL_CTX *ctx, napi_value pems, bool has_system) {
  uint32_t length = 0;
  size_t count = 0;
  if (napi_get_array_length(env, pems, &length) != napi_ok) {
    throw_type(env, "context: certificates must be an array");
    return false;
  }
  for (uint32_t n = 0; n < length; n++) {
    napi_value each;
    size_t bytes = 0;
    char *pem = napi_get_element(env, pems, n, &each) == napi_ok ? string_of(env, each, &bytes) : NULL;
    if (!pem) return false;
    count += trust(ctx, pem, bytes);
    free(pem);
  }
  if (has_system ? SSL_CTX_set_default_verify_paths(ctx) : count > 0) {
    ERR_clear_error(); // the end of a text is an error to PEM_read
    return true;
  }
  if (ERR_peek_last_error()) throw_tls(env, NULL);
  else throw_error(env, "ERR_SSL_NO_CERTIFICATE", "there is no certificate to trust");
  return false;
}

// context(pems: string[], hasSystem: boolean, ciphers: string, suites: string, least: number, most: number): External
// Trusts the certificates of `pems`, and with `hasSystem` those where OpenSSL was built to look; ciphers up to TLS 1.2, and
// suites of TLS 1.3, as OpenSSL has them; versions as they go over the wire, 0x0303 for TLS 1.2.
static napi_value context(napi_env env, napi_callback_info info) {
  napi_value argv[6], result = NULL;
  size_t argc = 6, bytes = 0;
  uint32_t least = 0, most = 0;
  bool has_system = false;
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  if (napi_get_value_bool(env, argv[1], &has_system) != napi_ok ||
      napi_get_value_uint32(env, argv[4], &least) != napi_ok || napi_get_value_uint32(env, argv[5], &most) != napi_ok)
    return throw_type(env, "context: hasSystem must be a boolean, versions numbers");
  pthread_once(&memory_once, make_memory_method);
  ERR_clear_error();
  SSL_CTX *ctx = memory_method ? SSL_CTX_new(TLS_client_method()) : NULL;
  if (!ctx) return throw_tls(env, NULL);
  char *ciphers = NULL, *suites = NULL;
  bool is_good = trust_all(env, ctx, argv[0], has_system) && (ciphers = string_of(env, argv[2], &bytes)) &&
                 (suites = string_of(env, argv[3], &bytes));
  const bool has_thrown = !is_good;
  // No ciphers, an error to OpenSSL, are those of TLS 1.3 alone.
  is_good = is_good && (ciphers[0] == 0 || SSL_CTX_set_cipher_list(ctx, ciphers)) &&
            SSL_CTX_set_ciphersuites(ctx, suites) && SSL_CTX_set_min_proto_version(ctx, (int)least) &&
            SSL_CTX_set_max_proto_version(ctx, (int)most);
  free(ciphers);
  free(suites);
  if (is_good) {
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, keep_ticket);
    if (napi_create_external(env, ctx, finalize_context, NULL, &result) == napi_ok) return result;
  } else if (!has_thrown) throw_tls(env, NULL);
  SSL_CTX_free(ctx);
  return NULL;
}

// Who the certificate must be of.
static int expect_host(SSL *ssl, const char *host, bool is_address) {
  if (is_address) return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host);
  SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  return SSL_set1_host(ssl, host) && SSL_set_tlsext_host_name(ssl, host);
}

static bool set_ticket(SSL *ssl, const unsigned char *der, size_t bytes) {
  SSL_SESSION *ticket = d2i_SSL_SESSION(NULL, &der, (long)bytes);
  bool is_set = ticket && SSL_set_session(ssl, ticket);
  SSL_SESSION_free(ticket);
  return is_set;
}

bool tls_peer_of(napi_env env, const napi_value *argv, struct tls_peer *peer) {
  void *ctx = NULL;
  size_t bytes = 0;
  if (napi_get_value_external(env, argv[0], &ctx) != napi_ok) return throw_type(env, "a TLS context is needed");
  if (napi_get_value_string_utf8(env, argv[1], peer->host, sizeof peer->host, &bytes) != napi_ok || bytes == 0 ||
      bytes >= sizeof peer->host - 1 || strlen(peer->host) != bytes ||
      peer->host[0] == '.') // of a dot any subdomain would do
    return throw_type(env, "host must be a name or an address");
  if (napi_get_value_bool(env, argv[2], &peer->is_address) != napi_ok)
    return throw_type(env, "isAddress must be a boolean");
  peer->ctx = ctx;
  return true;
}

bool tls_begin(struct session *session, const struct tls_peer *peer) {
  ERR_clear_error();
  BIO *bio = BIO_new(memory_method);
  session->ssl = bio ? SSL_new(peer->ctx) : NULL;
  if (!session->ssl) {
    BIO_free(bio);
    return false;
  }
  BIO_set_data(bio, session);
  BIO_set_init(bio, 1);
  SSL_set_bio(session->ssl, bio, bio); // the reference is the SSL's
  SSL_set_app_data(session->ssl, session);
  SSL_set_verify(session->ssl, SSL_VERIFY_PEER, NULL);
  SSL_set_connect_state(session->ssl);
  return expect_host(session->ssl, peer->host, peer->is_address);
}

// open(context: External, host: string, isAddress: boolean, ticket?: Uint8Array): External
static napi_value open_session(napi_env env, napi_callback_info info) {
  napi_value argv[4], result;
  size_t argc = 4, ticket_bytes = 0;
  void *ticket = NULL;
  struct tls_peer peer;
  bool has_ticket = false;
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  if (!tls_peer_of(env, argv, &peer)) return NULL;
  napi_is_typedarray(env, argv[3], &has_ticket);
  if (has_ticket) napi_get_typedarray_info(env, argv[3], NULL, &ticket_bytes, &ticket, NULL, NULL);

  struct session *session = calloc(1, sizeof *session);
  if (!session) return throw_error(env, "ENOMEM", "no memory for a TLS session");
  if (!tls_begin(session, &peer)) {
    throw_tls(env, session->ssl ? session : NULL);
    finalize_session(env, session, NULL);
    return NULL;
  }
  // A ticket of no use is none: the handshake is then a full one.
  if (has_ticket && !set_ticket(session->ssl, ticket, ticket_bytes)) ERR_clear_error();
  if (napi_create_external(env, session, finalize_session, NULL, &result) != napi_ok) {
    finalize_session(env, session, NULL);
    return NULL;
  }
  return result;
}

struct session *tls_session_of(napi_env env, napi_value value) {
  void *data = NULL;
  struct session *session = napi_get_value_external(env, value, &data) == napi_ok ? data : NULL;
  if (session && session->ssl && !session->is_lent) return session;
  throw_type(env, "an open TLS session is needed, and not one that is lent");
  return NULL;
}

// That of a function which takes nothing else.
static struct session *only_session(napi_env env, napi_callback_info info) {
  napi_value value;
  size_t argc = 1;
  napi_get_cb_info(env, info, &argc, &value, NULL, NULL);
  return tls_session_of(env, value);
}

struct bytes {
  unsigned char *at;
  size_t length;
};

static bool bytes_of(napi_env env, napi_value value, struct bytes *bytes) {
  napi_typedarray_type type = napi_int8_array;
  void *data = NULL;
  if (napi_get_typedarray_info(env, value, &type, &bytes->length, &data, NULL, NULL) == napi_ok &&
      type == napi_uint8_array) {
    bytes->at = data;
    return true;
  }
  throw_type(env, "a Uint8Array is needed");
  return false;
}

// The part of some ciphertext that three arguments name: the whole, from and to.
static bool part_of(napi_env env, const napi_value *argv, struct bytes *part) {
  uint32_t from = 0, to = 0;
  if (!bytes_of(env, argv[0], part)) return false;
  if (napi_get_value_uint32(env, argv[1], &from) != napi_ok || napi_get_value_uint32(env, argv[2], &to) != napi_ok ||
      from > to || to > part->length) {
    throw_type(env, "from and to must lie in the ciphertext");
    return false;
  }
  part->at += from;
  part->length = to - from;
  return true;
}

// What tls-session.ts reads in `state` after each call.
enum { CONSUMED, SPILLED, ESTABLISHED, CLOSED, TICKET, STATES };

static bool tell(napi_env env, napi_value state, const struct session *session, size_t consumed, bool is_closed) {
  napi_typedarray_type type = napi_int8_array;
  size_t length = 0;
  void *data = NULL;
  if (napi_get_typedarray_info(env, state, &type, &length, &data, NULL, NULL) != napi_ok ||
      type != napi_uint32_array || length < STATES) {
    throw_type(env, "state must be a Uint32Array");
    return false;
  }
  uint32_t *states = data;
  states[CONSUMED] = (uint32_t)consumed;
  states[SPILLED] = (uint32_t)session->spill_bytes;
  states[ESTABLISHED] = SSL_is_init_finished(session->ssl) != 0;
  states[CLOSED] = is_closed;
  states[TICKET] = session->ticket != NULL;
  return true;
}

static napi_value number(napi_env env, size_t value) {
  napi_value result = NULL;
  napi_create_uint32(env, (uint32_t)value, &result);
  return result;
}

// read(session, state, cipher: Uint8Array, from: number, to: number, into: Uint8Array): number
// Takes ciphertext until it is used up or `into` is full; answers the bytes in `into`. Carries the handshake on, too.
static napi_value read_session(napi_env env, napi_callback_info info) {
  napi_value argv[6];
  size_t argc = 6;
  struct bytes cipher, into;
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  struct session *session = tls_session_of(env, argv[0]);
  if (!session || !part_of(env, argv + 2, &cipher) || !bytes_of(env, argv[5], &into)) return NULL;
  session->in = cipher.at;
  session->in_left = cipher.length;
  ERR_clear_error();
  size_t done = 0;
  int error = SSL_ERROR_NONE;
  while (done < into.length) {
    size_t bytes = 0;
    if (tls_read(session, into.at + done, into.length - done, &bytes)) {
      done += bytes;
      continue;
    }
    error = SSL_get_error(session->ssl, 0);
    break;
  }
  size_t consumed = cipher.length - session->in_left;
  session->in = NULL;
  session->in_left = 0;
  if (!tell(env, argv[1], session, consumed, error == SSL_ERROR_ZERO_RETURN)) return NULL;
  if (error != SSL_ERROR_NONE && error != SSL_ERROR_WANT_READ && error != SSL_ERROR_ZERO_RETURN)
    return throw_tls(env, session);
  return number(env, done);
}

// write(session, state, plain: Uint8Array, out: Uint8Array): number
// Encrypts all of `plain`; answers the bytes in `out`, which those that have been spilled follow.
static napi_value write_session(napi_env env, napi_callback_info info) {
  napi_value argv[4];
  size_t argc = 4, written = 0;
  struct bytes plain, out;
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  struct session *session = tls_session_of(env, argv[0]);
  if (!session || !bytes_of(env, argv[2], &plain) || !bytes_of(env, argv[3], &out)) return NULL;
  session->out = out.at;
  session->out_room = out.length;
  ERR_clear_error();
  bool is_done = plain.length == 0 || SSL_write_ex(session->ssl, plain.at, plain.length, &written);
  size_t used = out.length - session->out_room;
  session->out = NULL;
  session->out_room = 0;
  if (!tell(env, argv[1], session, 0, false)) return NULL;
  return is_done ? number(env, used) : throw_tls(env, session);
}

// keep(session, cipher: Uint8Array, from: number, to: number): has the next read begin with these
static napi_value keep(napi_env env, napi_callback_info info) {
  napi_value argv[4];
  size_t argc = 4;
  struct bytes cipher;
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  struct session *session = tls_session_of(env, argv[0]);
  if (!session || !part_of(env, argv + 1, &cipher)) return NULL;
  if (!tls_keep(session, cipher.at, cipher.length)) return throw_error(env, "ENOMEM", "no memory for ciphertext");
  return NULL;
}

// drain(session): Buffer with what has been spilled: to be sent before anything that is written later
static napi_value drain(napi_env env, napi_callback_info info) {
  napi_value result = NULL;
  struct session *session = only_session(env, info);
  if (!session) return NULL;
  if (napi_create_buffer_copy(env, session->spill_bytes, session->spill, NULL, &result) != napi_ok) return NULL;
  session->spill_bytes = 0;
  return result;
}

// ticket(session): Buffer with the newest one, once
static napi_value take_ticket(napi_env env, napi_callback_info info) {
  napi_value result = NULL;
  struct session *session = only_session(env, info);
  if (!session) return NULL;
  unsigned char *der = NULL;
  int bytes = session->ticket ? i2d_SSL_SESSION(session->ticket, &der) : 0;
  SSL_SESSION_free(session->ticket);
  session->ticket = NULL;
  napi_create_buffer_copy(env, bytes > 0 ? (size_t)bytes : 0, der, NULL, &result);
  OPENSSL_free(der);
  return result;
}

// free(session): gives its memory back before the garbage collector would; a second time does nothing
static napi_value release(napi_env env, napi_callback_info info) {
  napi_value argv[1];
  size_t argc = 1;
  void *data = NULL;
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  if (napi_get_value_external(env, argv[0], &data) != napi_ok || !data || ((struct session *)data)->is_lent)
    return throw_type(env, "a TLS session is needed, and not one that is lent");
  tls_end(data);
  return NULL;
}

bool tls_define(napi_env env, napi_value exports) {
  const napi_property_descriptor properties[] = {
      {"context", NULL, context, NULL, NULL, NULL, napi_enumerable, NULL},
      {"open", NULL, open_session, NULL, NULL, NULL, napi_enumerable, NULL},
      {"read", NULL, read_session, NULL, NULL, NULL, napi_enumerable, NULL},
      {"write", NULL, write_session, NULL, NULL, NULL, napi_enumerable, NULL},
      {"keep", NULL, keep, NULL, NULL, NULL, napi_enumerable, NULL},
      {"drain", NULL, drain, NULL, NULL, NULL, napi_enumerable, NULL},
      {"ticket", NULL, take_ticket, NULL, NULL, NULL, napi_enumerable, NULL},
      {"free", NULL, release, NULL, NULL, NULL, napi_enumerable, NULL},
  };
  return napi_define_properties(env, exports, sizeof properties / sizeof *properties, properties) == napi_ok;
}
