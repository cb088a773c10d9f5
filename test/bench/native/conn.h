// One connection, plain or TLS, with blocking calls: the blob server and the floor share it.
#ifndef CONN_H
#define CONN_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct conn {
  int fd;
  SSL *ssl; // NULL: plain
};

// The server's side from certificate and key (PEM), or the client's from a CA file. Ends the program when it fails.
SSL_CTX *conn_server_context(const char *cert_file, const char *key_file);
SSL_CTX *conn_client_context(const char *ca_file);

// Takes over an accepted socket; context NULL means plain. False: no connection came of it, and fd is closed.
bool conn_accept(struct conn *conn, int fd, SSL_CTX *context);
// Connects to 127.0.0.1.
bool conn_connect(struct conn *conn, int port, SSL_CTX *context);

// Bytes read, 0 at the end, -1 on failure.
ssize_t conn_read(struct conn *conn, void *into, size_t bytes);
// Takes bytes off the connection and throws them away, without a copy where the kernel can do that.
ssize_t conn_discard(struct conn *conn, void *scratch, size_t bytes);
bool conn_write(struct conn *conn, const void *from, size_t bytes);
// What conn_write has taken is on its way when this returns.
bool conn_flush(struct conn *conn);
void conn_close(struct conn *conn);

#endif
