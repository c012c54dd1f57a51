// The inside of the HTTP client, shared by client.c (calls, pool), client_conn.c (sockets), client_h1.c and client_h2.c
// (protocols) and fetch.c (blocking). All of it runs on the loop's thread.
//
// A call is attached to one connection from its start to its end. An HTTP/1 connection serves one call at a time, an
// HTTP/2 connection many. Callbacks may cancel any call or start new ones; so after each callback a connection looks
// anew at what it still has. Connections die only at the end of their own processing (`busy`).
#pragma once
#include "net/h2.h"
#include "net/http.h"
#include "net/http1.h"
#include "net/loop_internal.h"
#include "net/seg.h"
#include "net/tls.h"
#include <netinet/in.h>
#include <nghttp2/nghttp2.h>

enum { CLIENT_ADDRESSES = 8, CLIENT_H2_STREAMS = 100, CLIENT_IDLE_MAX = 16 };
#define CLIENT_WINDOW     (16 << 20)    // HTTP/2 stream and connection windows
#define CLIENT_IDLE_NS    60000000000ll // an idle connection older than this is not used again
#define CLIENT_TIMEOUT_NS 30000000000ll // of a call that names none
#define CLIENT_SCRATCH    KIB(256)      // one read

struct http_call {
    struct http_client *client;
    struct http_call *next, *prev;   // in the client
    struct http_call *cnext, *cprev; // in the connection
    struct cconn *conn;
    struct http_call_options o; // strings in arena
    struct arena arena;
    struct url url;
    struct loop_timer *timer;
    int64_t timeout_ns;
    size_t body_at; // bytes sent
    bool retried;   // one silent retry is all
    bool answered;  // a byte of the reply came
    bool head_done, sent, head_request;
    int32_t stream;
    // the head or the trailers while they arrive (HTTP/2)
    struct h2_headers fields;
};

enum body_kind { BODY_NONE, BODY_LENGTH, BODY_CHUNKED, BODY_EOF };

struct cconn {
    struct http_client *client;
    struct cconn *next, *prev;
    char host[256];
    int port, fd;
    bool http2, connected, reused, busy, dead, goaway, write_failed; // connected: TLS's handshake is over, too
    // https: null until the socket is connected
    bool secure;
    struct tls *tls;
    struct seg_queue wire; // ciphertext
    struct loop_timer *handshake;
    struct sockaddr_storage addr[CLIENT_ADDRESSES];
    int n_addr, at_addr;
    struct loop_io *io;
    struct http_call *calls;
    size_t n_calls;
    struct seg_queue out;
    struct buf in;
    int64_t idle_since;
    // HTTP/1
    struct h1_scan scan;
    struct h1_chunks chunks;
    enum body_kind body;
    uint64_t left;
    bool keep_alive;
    // HTTP/2
    nghttp2_session *h2;
};

struct http_client {
    struct loop *loop;
    struct cconn *conns;
    struct http_call *calls;
    char *scratch;
    struct tls_context *tls; // null until it is needed
};

// client.c
// As http_client_start; borrow: the body is not copied and must live as long as the call.
enum errc call_start(struct http_client *c, const struct http_call_options *o, bool borrow, struct http_call **out,
                     struct error *err);
void call_detach(struct http_call *k);
// Tells on_done and frees the call, which is no longer on a connection's list then. why: null when ok.
void call_finish(struct http_call *k, const struct error *why);
// The connection was lost under the call: tries once more on a new one, if the call was sent on a kept connection and
// not a byte came back; else finishes it.
void call_lost(struct http_call *k, const struct error *why);

// client_conn.c
enum errc conn_open(struct http_client *cl, const struct url *u, bool http2, struct cconn **out, struct error *err);
void cconn_kick(struct cconn *c);                          // the same, unless it is being processed already
void cconn_lose(struct cconn *c, const struct error *why); // loses all calls
void cconn_free(struct cconn *c);

// fetch.c: starts the call (its body is not copied) and turns the session's loop until *done.
struct http_session;
enum errc session_run(struct http_session *s, const struct http_call_options *o, const bool *done, struct error *err);

// client_h1.c, client_h2.c
void ch1_start(struct http_call *k);
void ch1_input(struct cconn *c, const char *p, size_t n);
void ch1_eof(struct cconn *c);
enum errc ch2_session(struct cconn *c);
void ch2_start(struct http_call *k);
void ch2_input(struct cconn *c, const char *p, size_t n);
void ch2_fill(struct cconn *c);
void ch2_cancel(struct cconn *c, int32_t stream); // resets it; what it still gets is ignored
