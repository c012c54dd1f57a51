// HTTP server and client: HTTP/1.1 and HTTP/2 (libnghttp2) behind one face; gRPC unary on top of HTTP/2.
// h1 and h2 (prior knowledge) are told apart by the first bytes, on the same port.
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include "net/loop.h"

struct http_header {
    struct slice name, value; // names are lower case
};

// ---- server ---------------------------------------------------------------------------------------------------------
struct http_req;
typedef void http_handler(struct http_req *req, void *arg);

// One row for each method and path. path: literal segments, {name} captures one segment (percent-decoded), a final
// {*} the rest. method "GET" also answers HEAD; "GRPC" is a gRPC unary method.
struct http_route {
    const char *method, *path;
    http_handler *fn;
    void *arg;
    size_t body_max;   // 0: no body expected (small ones are read and ignored)
    const char *about; // one line for /api listing and docs
};

// A parsed request. Valid until its reply has been finished. Readable by the handler; never written.
struct http_req {
    struct slice method, path, query; // path percent-decoded, query raw
    const struct http_header *headers;
    size_t n_headers;
    struct slice body;     // whole, content-encoding removed (gzip, deflate, zstd; snappy is left alone)
    struct slice param[4]; // captures, in order
    int version;           // 10, 11, 20
    const struct http_route *route;
    struct arena *arena; // for whatever lives as long as the request
    struct loop *loop;   // the loop it arrived on
    const char *peer;    // "127.0.0.1:5123"
};
struct slice http_req_header(const struct http_req *r, struct slice name); // empty if absent; name in lower case
bool http_req_has_header(const struct http_req *r, struct slice name);
// Query or form parameter, percent- and plus-decoded into the arena; form bodies (POST,
// application/x-www-form-urlencoded) count after the query. nth: 0 for the first. False if absent.
bool http_req_param(struct http_req *r, struct slice name, int nth, struct slice *out);
// The client takes gzip: by its name, as x-gzip or as *, with a weight above 0 (RFC 9110 §12.5.3).
bool http_req_accepts_gzip(const struct http_req *r);
// The k-th parameter whatever its name; false past the end.
bool http_req_param_at(struct http_req *r, int k, struct slice *name, struct slice *out);

// Replies. Each request gets exactly one: http_reply*, grpc_reply, or http_stream_begin … http_stream_end.
// All are thread-safe: a handler may hand the request to another thread and return; the bytes are copied.
// After the finishing call the request must not be touched.
void http_reply_header(struct http_req *r, struct slice name, struct slice value); // before the reply, same thread as it
void http_reply(struct http_req *r, int status, struct slice content_type,
                struct slice body); // gzip by itself when asked and worth it
// text/plain; charset=utf-8 with nosniff, a newline added.
void http_reply_text(struct http_req *r, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void http_stream_begin(struct http_req *r, int status, struct slice content_type);
void http_stream_write(struct http_req *r, struct slice bytes);
void http_stream_end(struct http_req *r);
// Bytes of the stream accepted but not sent yet. Above 64 MiB (MAX_HTTP_PENDING) the stream is cut and the request is
// gone; a producer that can be faster than its client waits while this is high.
size_t http_stream_pending(const struct http_req *r);
// The client closed (or closed its sending side): the rest of a stream is most likely thrown away, stop working for it.
bool http_req_gone(const struct http_req *r);
enum grpc_status {
    GRPC_OK = 0,
    GRPC_CANCELLED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
};
void grpc_reply(struct http_req *r, enum grpc_status status, const char *message, struct slice body);

// What a server shows and asks in TLS: PEM files of its certificate (with its chain) and key; client_ca (null or "": none) names
// the authorities of the clients, who then need a certificate. Changed files are read again; told (may be null) gets a line when
// that happened or failed. Outlives the servers that use it.
struct tls_server;
enum errc tls_server_new(struct tls_server **out, const char *cert, const char *key, const char *client_ca,
                         void (*told)(const char *text), struct error *err);
void tls_server_free(struct tls_server *s); // null is fine

struct http_server;
struct http_server_options {
    const struct http_route *routes;
    size_t n_routes;
    http_handler *not_found; // null: 404 in text. Also 405 is answered by the server itself (with Allow)
    void *not_found_arg;
    // Called when a request was refused before its handler ran (bad gzip, too large, bad HTTP/1 …): lets a protocol
    // answer in its own format by http_reply; a request whose head could not be read has an empty method and path, and no
    // route. Null: text. gRPC requests are refused by the server itself, with a gRPC status.
    void (*refused)(struct http_req *r, int status, const char *why, void *arg);
    void *refused_arg;
    int64_t idle_ns;        // keep-alive connections without traffic are closed (default 75 s)
    int64_t stall_ns;       // a head takes no longer, nor the next piece of a body or reply (default 30 s): 408, or closed
    size_t max_connections; // default 4096 per server; further ones wait in the backlog
    bool make_room;         // they do not: the connection without a request under way that was quiet the longest is closed
    struct tls_server *tls; // null: plain. With it plain HTTP is answered with 400 and a hint
};
// Listens on "HOST:PORT" ("0.0.0.0:3100", "[::1]:0", ":4317" = all addresses, "127.0.0.1:0" = a free port), served by
// each of the loops (SO_REUSEPORT, one socket a loop). The routes array must outlive the server.
enum errc http_server_new(struct http_server **out, const char *address, struct loop *const *loops, size_t n_loops,
                          const struct http_server_options *o, struct error *err);
int http_server_port(const struct http_server *s);
// Stops accepting; connections finish the request they are in, at most for deadline_ns, then all are closed. Waits for
// that, unless called on a thread that turns one of the loops, or while no loop runs.
void http_server_stop(struct http_server *s, int64_t deadline_ns);
// After the loops have stopped and before they are freed. Threads may still owe replies: these are thrown away.
void http_server_free(struct http_server *s);
// In a forked child, where the loops' threads do not exist: closes the child's copies of the descriptors and touches nothing
// else. The parent goes on serving. The memory is not given back.
void http_server_forget(struct http_server *s);

// ---- client ---------------------------------------------------------------------------------------------------------
// How https:// is spoken. All null: certificates are checked against the system's authorities, no client certificate.
struct tls_options {
    const char *ca_file;     // PEM; only these authorities count
    const char *cert_file;   // PEM, the client's certificate with its chain (mTLS); with key_file
    const char *key_file;    // PEM
    const char *server_name; // expected in the certificate in the place of the URL's host
};

// Asynchronous, on one loop; keep-alive connections are pooled by origin. Redirects are not followed, replies are not decoded. A
// call that was sent on a kept connection and lost before a byte of the reply came is tried once more on a new one. Addresses in
// numbers and "localhost" are resolved at once; other names ask the system's resolver, which may block the loop's thread.
// Callbacks run on the loop's thread and may start and cancel calls, but not free the client.
struct http_client;
struct http_call;
struct http_call_options {
    const char *method, *url;
    const struct http_header *headers;
    size_t n_headers;
    struct slice head;  // HTTP/2: comes before the body; as that
    struct slice body;  // copied
    int64_t timeout_ns; // whole call; 0 = 30 s
    bool http2;         // prior knowledge
    void (*on_head)(struct http_call *c, int status, const struct http_header *h, size_t n, void *arg); // may be null
    void (*on_data)(struct http_call *c, struct slice bytes, void *arg);                                // may be null
    void (*on_trailers)(struct http_call *c, const struct http_header *h, size_t n, void *arg);         // HTTP/2; may be null
    // Exactly once. ok: the reply came whole. Else why holds the cause (connection refused, reset, timeout …).
    void (*on_done)(struct http_call *c, bool ok, const struct error *why, void *arg);
    void *arg;
};
enum errc http_client_new(struct http_client **out, struct loop *l, struct error *err);
// How it speaks https:// from now on; without, the defaults of struct tls_options.
enum errc http_client_tls(struct http_client *c, const struct tls_options *o, struct error *err);
void http_client_free(struct http_client *c); // cancels what is under way
enum errc http_client_start(struct http_client *c, const struct http_call_options *o, struct http_call **out, struct error *err);
void http_call_cancel(struct http_call *c); // on_done comes with ERR_CANCELLED before it returns

// Blocking, for command lines and exporters: runs a private loop in the calling thread until done or out of time.
struct http_fetch {
    const char *method, *url; // method null = GET, or POST with a body
    const struct http_header *headers;
    size_t n_headers;
    struct slice body;
    int64_t timeout_ns;
    size_t reply_max; // 0 = MAX_HTTP_REPLY
    bool gzip;        // compress the request body; sent as it is when gzip is not at hand
    bool accept_gzip; // ask for a gzip reply, and unpack it (up to reply_max); not while streaming
    // streaming: if set, reply bytes go here instead of into the answer; return false to stop
    bool (*on_data)(struct slice bytes, void *arg);
    void *arg;
};
struct http_answer {
    int status;
    struct buf body;
    struct slice content_type; // in `head`
    struct arena head;
    const struct http_header *headers;
    size_t n_headers;
};
void http_answer_free(struct http_answer *a);
// A connection that is kept between fetches by one thread (exporter); null = a new one each time.
struct http_session;
struct http_session *http_session_new(void);
// For https:// on this session, before its first call; null strings as in struct tls_options. Without it a session that meets
// https:// uses the defaults. ERR_UNSUPPORTED: no TLS library here; ERR_INPUT: a file that cannot be used.
enum errc http_session_tls(struct http_session *s, const struct tls_options *o, struct error *err);
void http_session_free(struct http_session *s);
enum errc http_fetch(struct http_session *s, const struct http_fetch *f, struct http_answer *out, struct error *err);
// gRPC unary: url "http://host:port", path "/pkg.Service/Method". ERR_OK means a reply with a status came.
struct grpc_request {
    const char *url, *path;
    const struct http_header *metadata;
    size_t n_metadata;
    struct slice message;
    bool gzip;
    int64_t timeout_ns; // 0 = 30 s
    size_t reply_max;   // packed and unpacked; 0 = MAX_HTTP_REPLY
};
struct grpc_answer {
    int status;      // enum grpc_status
    int http_status; // 200, or what a proxy said; status is then made from it
    char message[256];
    struct buf body;
    int64_t retry_after_ns; // from RetryInfo, -1 if none
};
enum errc grpc_send(struct http_session *s, const struct grpc_request *r, struct grpc_answer *out, struct error *err);
enum errc grpc_fetch(struct http_session *s, const char *url, const char *path, const struct http_header *metadata, size_t n,
                     struct slice message, bool gzip, int64_t timeout_ns, struct grpc_answer *out, struct error *err);
void grpc_answer_free(struct grpc_answer *a);

// ---- bits for both --------------------------------------------------------------------------------------------------
struct url {
    bool tls;
    char host[256];
    int port;
    struct slice path; // with query, at least "/"
};
enum errc url_parse(const char *text, struct url *out, struct error *err);
// Percent-decodes (plus: '+' is a blank). False on a bad escape.
bool percent_decode(struct arena *a, struct slice in, bool plus, struct slice *out);
void percent_encode(struct buf *b, struct slice s); // RFC 3986 unreserved kept
// Whole-body codecs with a cap on the output; appends to out, whose own maximum should be no lower. ERR_CORRUPT,
// ERR_LIMIT above max. codec_gzip needs room for the worst case in out (a little more than in.n); ERR_UNSUPPORTED in libsonde
// where there is no zlib.
enum codec { CODEC_NONE, CODEC_GZIP, CODEC_DEFLATE, CODEC_ZSTD, CODEC_SNAPPY };
enum errc codec_decode(enum codec c, struct slice in, size_t max, struct buf *out, struct error *err);
enum errc codec_gzip(struct slice in, struct buf *out);
