// The inside of the HTTP server: what the files server.c (sockets), server_h1.c and server_h2.c (protocols), request.c
// (requests and replies) and route.c share.
//
// Who owns what: a connection belongs to its loop's thread and is touched nowhere else. A request is shared by its
// connection (one reference, until the reply is sent or the connection closes) and by whoever replies (one reference,
// from the handler's call to the finishing call). Replies travel as segments through the request's queue: the replier
// appends under the request's lock, the loop's thread drains. When the connection closes first, `gone` is set under
// that lock and from then on nothing is queued or posted: the loop may be freed while a replier still holds the request.
#pragma once
#include "net/h2.h"
#include "net/http.h"
#include "net/http1.h"
#include "net/loop_internal.h"
#include "net/seg.h"
#include "net/tls.h"
#include <nghttp2/nghttp2.h>
#include <pthread.h>
#include <stdatomic.h>

enum {
    MAX_REPLY_HEADERS = 32,
    H2_STREAMS = 256,     // concurrent streams of one connection
    H2_WINDOW = 16 << 20, // stream and connection: the default of 64 KiB costs half the throughput
    H2_FRAME = 256 << 10,
};
#define SERVER_SCRATCH  KIB(256)      // one read
#define SERVER_OUT_SOFT MIB(1)        // unsent bytes above which no further pipelined request is begun
#define LINGER_NS       10000000000ll // time without progress in which a refused body is still read away

enum conn_kind { CONN_NEW, CONN_H1, CONN_H2 };
enum h1_state { H1_HEAD, H1_LENGTH, H1_CHUNKED, H1_WAIT, H1_LINGER };

struct server_loop {
    struct http_server *server;
    struct loop *loop;
    struct loop_item start, stop;
    int fd; // listening; -1 once stopped
    struct loop_io *io;
    struct loop_timer *sweep;
    struct conn *conns;
    size_t n_conns, max_conns;
    bool accepting, stopping;
    int64_t stop_at;
    char *scratch;
};

struct http_server {
    struct http_server_options o;
    int port;
    struct server_loop *loops;
    size_t n_loops;
    atomic_size_t bodies; // bytes of request bodies held by all requests, at most MAX_HTTP_BODIES
    pthread_mutex_t lock; // guards n_open; taken alone
    pthread_cond_t drained;
    size_t n_open; // loops that still have connections or listen
    int64_t deadline_ns;
};

struct conn {
    struct server_loop *sl;
    struct conn *next, *prev;
    struct loop_io *io;
    int fd;
    enum conn_kind kind;
    bool busy;    // inside its own processing: replies are applied, sending waits
    bool dead;    // freed as soon as it is not busy
    bool eof;     // the peer sends no more
    bool closing; // closed once `out` is sent
    struct sreq *reqs;
    struct buf in;        // bytes not yet consumed
    struct seg_queue out; // bytes not yet sent
    int64_t active;       // last progress in either direction
    int64_t sent;         // last moment when something was sent, or nothing waited to be
    int64_t since;        // start of the head being read (in TLS first of the handshake) or of lingering, 0 if none
    int64_t accepted;
    char peer[64];
    // TLS: null where the server is plain
    struct tls *tls;
    bool tls_ready;        // the handshake is over
    struct seg_queue wire; // ciphertext
    // HTTP/1
    enum h1_state state;
    struct h1_scan scan;
    struct h1_chunks chunks;
    uint64_t left;           // of a body with a length
    uint64_t lingered;       // bytes read away after a refusal
    bool keep_alive, unread; // unread: the refused request's body is still on its way
    // HTTP/2
    nghttp2_session *h2;
    bool goaway;
};

struct sreq {
    struct http_req pub; // first: the handler's pointer is ours
    struct loop_item item;
    struct arena arena;
    atomic_int refs;
    atomic_bool gone;
    atomic_bool half_closed; // the client sends no more: most likely it left, but its answer is still tried
    pthread_mutex_t lock;    // guards first … broken; taken alone (the loop's lock may be taken inside)
    struct seg *first, *last;
    size_t queued;        // bytes in the queue
    atomic_size_t unsent; // bytes of a stream that left the queue and are not sent
    bool posted, broken;
    // the replier's
    struct http_header reply[MAX_REPLY_HEADERS];
    size_t n_reply;
    struct slice grpc_message;
    struct http_header *params;
    size_t n_params, cap_params;
    bool params_done, encoded; // encoded: the handler set content-encoding
    // the loop thread's
    struct conn *conn; // null once detached
    struct sreq *next, *prev;
    struct buf body;
    size_t body_max, body_counted;
    bool head_only, grpc, refused, streaming, ended, chunked, want_continue;
    int32_t stream;
    int grpc_status; // of a reply that ends in trailers, -1 for none
    bool deferred;
    struct seg_queue out; // HTTP/2: what the stream still has to send
    int64_t moved;        // HTTP/2: last progress of the body or of the reply
    uint64_t discarded;
    // HTTP/2: headers while they arrive
    struct h2_headers fields;
    struct slice target;
    int head_status; // refuse with this when the head is whole
};

// server.c
void conn_kick(struct conn *c); // after replies were applied from outside: sends, goes on reading
void conn_done(struct conn *c); // marks dead
struct http_server *conn_server(const struct conn *c);

// listen.c: one listening socket. *port 0: takes the address's port (or a free one) and says which; else that one again.
// shared: SO_REUSEPORT.
enum errc listen_on(const char *address, bool shared, int *port, int *out, struct error *err);

// request.c
struct sreq *req_new(struct conn *c); // one reference, the connection's; linked; null without memory
void req_detach(struct sreq *r);      // from its connection: what is not sent yet is thrown away
void req_unref(struct sreq *r);
// The head is known: splits the target, finds the route and the body's limit. 0 or the status to refuse with.
int req_head(struct sreq *r, struct slice target, int64_t content_length, const char **why);
int req_body(struct sreq *r, struct slice bytes, const char **why); // 0 or the status
void req_dispatch(struct sreq *r);                                  // the body is whole: calls the handler
void req_refuse(struct sreq *r, int status, const char *why);
// reply.c
const char *http_date(void); // now; per thread

// route.c
const struct http_route *route_find(const struct http_server_options *o, struct slice method, struct slice raw_path,
                                    struct arena *a, struct slice param[4], struct slice *allow);

// server_h1.c, server_h2.c
size_t h1_input(struct conn *c, const char *p, size_t n); // returns what was consumed
void h1_apply(struct sreq *r, struct seg *s);             // takes the segment
void h1_eof(struct conn *c);
void h1_timeout(struct conn *c); // 408
enum errc h2_start(struct conn *c);
void h2_input(struct conn *c, const char *p, size_t n);
void h2_apply(struct sreq *r, struct seg *s);
void h2_fill(struct conn *c); // frames to c->out
void h2_shutdown(struct conn *c);
void h2_reset_stalled(struct conn *c, int64_t now);
