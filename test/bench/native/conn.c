// Blocking connections over loopback, see conn.h.
#include "conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

// TLS records are 16 KiB: without buffers on both sides of OpenSSL each would cost a call or two of the kernel.
#define TLS_BUFFER_BYTES (256 * 1024)

static void die_of_tls(const char *what) {
  fprintf(stderr, "%s: ", what);
  ERR_print_errors_fp(stderr);
  exit(1);
}

static SSL_CTX *new_context(const SSL_METHOD *method) {
  SSL_CTX *context = SSL_CTX_new(method);
  if (!context) die_of_tls("SSL_CTX_new");
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  // The order of Azure's own servers, whatever the client prefers: the same cipher, so the same work, for every client.
  SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_ciphersuites(context, "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256");
  SSL_CTX_set_read_ahead(context, 1);
  SSL_CTX_set_default_read_buffer_len(context, TLS_BUFFER_BYTES);
  return context;
}

SSL_CTX *conn_server_context(const char *cert_file, const char *key_file) {
  SSL_CTX *context = new_context(TLS_server_method());
  if (SSL_CTX_use_certificate_chain_file(context, cert_file) != 1) die_of_tls(cert_file);
  if (SSL_CTX_use_PrivateKey_file(context, key_file, SSL_FILETYPE_PEM) != 1) die_of_tls(key_file);
  return context;
}

SSL_CTX *conn_client_context(const char *ca_file) {
  SSL_CTX *context = new_context(TLS_client_method());
  if (SSL_CTX_load_verify_locations(context, ca_file, NULL) != 1) die_of_tls(ca_file);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
  return context;
}

// Makes the TLS object over the socket, with what is written gathered in a buffer.
static bool wrap(struct conn *conn, SSL_CTX *context) {
  conn->ssl = SSL_new(context);
  BIO *in = BIO_new_socket(conn->fd, BIO_NOCLOSE);
  BIO *out = BIO_new_socket(conn->fd, BIO_NOCLOSE);
  BIO *gather = BIO_new(BIO_f_buffer());
  if (!conn->ssl || !in || !out || !gather) die_of_tls("out of memory");
  BIO_set_write_buffer_size(gather, TLS_BUFFER_BYTES);
  SSL_set_bio(conn->ssl, in, BIO_push(gather, out));
  return true;
}

// The certificate must be for the address that the client connects to.
static bool expect_loopback(SSL *ssl) {
  return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), "127.0.0.1") == 1;
}

static void set_no_delay(int fd) {
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

bool conn_accept(struct conn *conn, int fd, SSL_CTX *context) {
  *conn = (struct conn){.fd = fd};
  set_no_delay(fd);
  if (!context) return true;
  if (wrap(conn, context) && SSL_accept(conn->ssl) == 1) return true;
  conn_close(conn);
  return false;
}

bool conn_connect(struct conn *conn, int port, SSL_CTX *context) {
  *conn = (struct conn){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((in_port_t)port)};
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (conn->fd < 0 || connect(conn->fd, (struct sockaddr *)&to, sizeof to) != 0) {
    perror("connect");
    return false;
  }
  set_no_delay(conn->fd);
  if (!context) return true;
  if (wrap(conn, context) && expect_loopback(conn->ssl) && SSL_connect(conn->ssl) == 1) return true;
  ERR_print_errors_fp(stderr);
  conn_close(conn);
  return false;
}

static ssize_t receive(struct conn *conn, void *into, size_t bytes, int flags) {
  ssize_t n;
  do n = recv(conn->fd, into, bytes, flags);
  while (n < 0 && errno == EINTR);
  return n;
}

ssize_t conn_read(struct conn *conn, void *into, size_t bytes) {
  if (!conn->ssl) return receive(conn, into, bytes, 0);
  int n = SSL_read(conn->ssl, into, bytes > (1u << 30) ? 1 << 30 : (int)bytes);
  if (n > 0) return n;
  return SSL_get_error(conn->ssl, n) == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}

ssize_t conn_discard(struct conn *conn, void *scratch, size_t bytes) {
  // tcp(7): MSG_TRUNC discards what has been received instead of copying it.
  return conn->ssl ? conn_read(conn, scratch, bytes) : receive(conn, scratch, bytes, MSG_TRUNC);
}

bool conn_write(struct conn *conn, const void *from, size_t bytes) {
  const char *at = from;
  while (bytes > 0) {
    ssize_t n = conn->ssl ? SSL_write(conn->ssl, at, bytes > (1u << 30) ? 1 << 30 : (int)bytes)
                          : send(conn->fd, at, bytes, MSG_NOSIGNAL);
    if (n < 0 && !conn->ssl && errno == EINTR) continue;
    if (n <= 0) return false;
    at += n;
    bytes -= (size_t)n;
  }
  return true;
}

bool conn_flush(struct conn *conn) {
  return !conn->ssl || BIO_flush(SSL_get_wbio(conn->ssl)) > 0;
}

void conn_close(struct conn *conn) {
  if (conn->ssl) {
    SSL_free(conn->ssl);
    conn->ssl = NULL;
  }
  if (conn->fd >= 0) close(conn->fd);
  conn->fd = -1;
}
