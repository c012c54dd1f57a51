// TLS by OpenSSL 3, which is looked for (libssl.so.3) when the first https:// is spoken: nothing else needs it. TLS 1.2 and
// newer, no renegotiation. A struct tls is a filter without a socket: ciphertext in and out on one side, plain bytes on the
// other, so that it fits any loop. Thread rule: a struct tls by one thread at a time; contexts by any.
#pragma once
#include "net/http.h"
#include "net/seg.h"

#define TLS_HANDSHAKE_NS 10000000000ll // a handshake takes no longer, on either side

struct tls_context;
struct tls;

// A client's context. Reads the files: ERR_UNSUPPORTED without OpenSSL, ERR_INPUT for a file that cannot be used. o may be null.
enum errc tls_client_context(struct tls_context **out, const struct tls_options *o, struct error *err);
void tls_context_free(struct tls_context *c); // null is fine
// host: what the certificate must be for, unless the options name another. h2: HTTP/2, else HTTP/1.1. Null without memory.
struct tls *tls_client(struct tls_context *c, const char *host, bool h2);
// A connection of a server; looks at most once a second whether the files have changed. Null without memory.
struct tls *tls_accept(struct tls_server *s);
void tls_free(struct tls *t); // null is fine

enum tls_state {
    TLS_OK,
    TLS_WAIT,  // nothing more until the peer sends
    TLS_END,   // the peer said that it is done
    TLS_FAILED // *err says why, in words that fit after "host:port: "
};
bool tls_feed(struct tls *t, const void *p, size_t n); // ciphertext from the peer; false without memory
enum tls_state tls_handshake(struct tls *t, struct error *err);
enum tls_state tls_pull(struct tls *t, void *to, size_t n, size_t *got, struct error *err); // plain bytes for us
bool tls_push(struct tls *t, const void *p, size_t n);                                      // plain bytes for the peer
// The same of several pieces, at most `most` bytes. How many were taken; -1 with errno EPIPE when the session is broken.
ssize_t tls_push_all(struct tls *t, const struct iovec *v, size_t n_v, size_t most);
void tls_close(struct tls *t);                       // says that we are done
bool tls_output(struct tls *t, struct seg_queue *q); // what is to be sent; false without memory
bool tls_is_h2(const struct tls *t);                 // after the handshake: HTTP/2 was agreed
