// The seam between libsonde and its optional half that touches sockets. In libsonde.so this half is a file of its own,
// libsonde-net.so, loaded the first time something needs it (export on, status server on); in libsonde.a and in the sonde program
// it is linked in. Nobody in sdk/ calls net/ but through this table; the types are those of net/http.h.
//
// Memory: what the table's functions return is given back by the table's functions. A struct buf that one half filled the other
// may read and append to (both use malloc). Slices and strings handed in are copied, unless said otherwise.
// Thread rule: any thread, a session by one thread at a time. A session does not survive a fork: a child makes its own.
#pragma once
#include "net/http.h"

enum { NET_PART_VERSION = 1, NET_REPLY_HEADERS = 16 };

// ---- the small server (HTTP/1.1, also HTTP/2 in plain text) ---------------------------------------------------------
// A whole request; valid during the handler's call.
struct net_request {
    struct slice method, path, query; // path percent-decoded, query raw ("a=1&b=2", without '?')
    const struct http_header *headers;
    size_t n_headers;
    struct slice body;
    const char *peer; // "127.0.0.1:5123", "[::1]:5123"
    bool loopback;    // the peer is 127.0.0.0/8 or ::1
};

// What the handler fills in. Starts as status 200, content type "text/plain; charset=utf-8", no headers, an empty body. HEAD is
// answered without the body by the server itself. Header values must live until the handler returns.
struct net_reply {
    int status;
    struct slice content_type;
    struct http_header headers[NET_REPLY_HEADERS]; // names in lower case; no content-length, content-type, connection
    size_t n_headers;
    struct buf body;
};

// Called on the server's own thread, one request at a time. It may take as long as it likes; other requests wait.
typedef void net_handler(const struct net_request *q, struct net_reply *out, void *arg);

struct net_server;
struct net_server_options {
    const char *address; // "HOST:PORT"; "127.0.0.1:0": a free port, ":9464": all addresses
    const char *thread;  // name of its thread, at most 15 bytes; null: "sonde-net"
    net_handler *fn;
    void *arg;
    size_t body_max;        // larger request bodies get 413; 0: 64 KiB
    size_t max_connections; // 0: 64; further ones wait
    int64_t stall_ns;       // a head, or the next piece of a body or reply, takes no longer; 0: 5 s
};

// ---- the table ------------------------------------------------------------------------------------------------------
struct net_part {
    unsigned version;  // NET_PART_VERSION
    const char *build; // SONDE_VERSION of the file; another one than ours is refused

    // The client: blocking calls that end within their timeout. http:// and https:// URLs.
    struct http_session *(*session_new)(void); // null without memory or descriptors
    // How https:// is spoken on this session (CA file, client certificate); before its first call. Loads the TLS library and
    // reads the files: a file that cannot be used is an error now, not at the first request.
    enum errc (*session_tls)(struct http_session *s, const struct tls_options *o, struct error *err);
    void (*session_free)(struct http_session *s); // null is fine
    // ERR_OK: a reply with a status came, whole; a->headers, a->body, to be freed by answer_free.
    enum errc (*fetch)(struct http_session *s, const struct http_fetch *f, struct http_answer *a, struct error *err);
    void (*answer_free)(struct http_answer *a);
    // ERR_OK: a reply with a gRPC status came; to be freed by grpc_free.
    enum errc (*grpc)(struct http_session *s, const struct grpc_request *r, struct grpc_answer *a, struct error *err);
    void (*grpc_free)(struct grpc_answer *a);
    // Whether gzip is at hand for requests and replies (zlib is looked for at run time).
    bool (*has_gzip)(void);

    // The server. Returns once it listens; its thread has all signals blocked.
    enum errc (*serve)(struct net_server **out, const struct net_server_options *o, struct error *err);
    int (*port)(const struct net_server *s);
    void (*close)(struct net_server *s); // ends the thread (waits for a handler that runs) and the connections; null is fine
    // In a forked child, where the server's thread does not exist: closes the descriptors and forgets the rest.
    void (*forget)(struct net_server *s);
};

// The one name that libsonde-net.so exports: its table, or null when it does not know `version`.
#define NET_PART_SYMBOL "sonde_net_part"
const struct net_part *sonde_net_part(unsigned version);

// The table; null when the part is missing or of another build, which is said once on stderr (what, where it was looked for,
// what to do). The first call may load a file: not while holding a lock of the record path.
const struct net_part *net_part(void);

// Whether request bodies can be compressed here; a host without zlib is told so, once.
bool net_gzip(void);
