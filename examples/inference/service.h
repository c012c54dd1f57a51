// What the three serving programs have in common: start, one event loop, the listening socket, the way out on SIGTERM;
// trace context in and out of HTTP headers; error bodies in OpenAI's shape; the random numbers of the simulation.
// Thread rule: everything runs on the one loop, which is the main thread.
#pragma once
#include "base/json.h"
#include "base/setting.h"
#include "net/http.h"
#include <sonde/context.h>
#include <sonde/sonde.h>
#include <stdio.h>

enum {
    MAX_SERVICE_BODY = 4 << 20,         // a request to any of the programs
    MAX_SERVICE_REPLY = 8 << 20,        // a reply that is gathered before it is read
    MAX_SERVICE_LINE = 64 << 10,        // one line of a streamed reply
    MAX_SERVICE_HEADERS = 16,           // headers set on an outgoing call
    MAX_SERVICE_HEADER_TEXT = 12 << 10, // and their values together, with 8 KiB of baggage
    MAX_SERVICE_DRAIN_MS = 5000,        // after SIGTERM, before what is left is broken off
};

struct service {
    const char *name; // "frontend", "prefill", "decode"
    struct loop *loop;
    struct http_server *server;
    struct http_client *client;
    struct loop_io *signals;
    struct loop_timer *drain;
    int64_t drain_until;
    int signal_fd;
    char url[80];      // http://127.0.0.1:PORT
    char instance[24]; // this process: a random number, in decimal, as Dynamo's instance ids
    bool draining;     // SIGTERM came: take no new work
    int active;        // requests under way; the owner counts them up and down
};

// Reads the settings (--help prints about and the rows, and ends the program with 0; a mistake ends it with 2).
void service_settings(const char *about, const struct setting *rows, size_t n, void *out, int argc, char **argv);

// What a program tells of itself: its rows with their values are the "config" of the configuration dump, which is written to the
// file, or is a DEBUG record where the file is null.
struct service_about {
    const char *name;
    const struct setting *rows;
    size_t n_rows;
    const void *settings;
    const char *dump_to; // --dump-config-to
};
#define DUMP_ABOUT "write the configuration, as it is in effect, to this file at the start"

// Starts logging, the status server if DYN_SYSTEM_PORT asks for it, loop, client and server; prints "listening on
// http://HOST:PORT" on stdout, and "status on http://HOST:PORT" where there is one.
enum errc service_start(struct service *s, const struct service_about *about, const char *listen,
                        const struct http_server_options *o, struct error *err);
// Until SIGTERM or SIGINT and the end of the requests under way, at most MAX_SERVICE_DRAIN_MS. Frees all; the exit code.
int service_run(struct service *s);

// ---- context --------------------------------------------------------------------------------------------------------
// The caller's context; a zero trace id if it sent none (or none that is valid).
void context_of_request(struct sonde_context *out, const struct http_req *r);
// The caller's baggage, to be passed on; null if there is none. sonde_ctx_unref.
struct sonde_ctx *baggage_of_request(const struct http_req *r);

// Headers of an outgoing call, with the bytes of their values.
struct headers {
    struct http_header h[MAX_SERVICE_HEADERS];
    size_t n, used;
    char text[MAX_SERVICE_HEADER_TEXT];
};
void headers_add(struct headers *hs, struct slice name, struct slice value); // copied; an empty value or one too many is left out
// traceparent, tracestate, baggage and request ids; to_worker: as Dynamo's frontend does, with the time now. baggage may be null.
void headers_context(struct headers *hs, const struct sonde_span *span, struct sonde_ctx *baggage, bool to_worker);

// Runs the statement (a log line) with the span as this thread's current one.
#define IN_SPAN(span, ...)      \
    do {                        \
        sonde_span_enter(span); \
        __VA_ARGS__;            \
        sonde_span_exit(span);  \
    } while (0)

// ---- replies --------------------------------------------------------------------------------------------------------
// {"error": {"message", "type", "param", "code"}}; param and code may be null.
void error_json(struct buf *out, const char *type, const char *code, const char *param, const char *message);
void reply_error(struct http_req *r, int status, const char *type, const char *code, const char *param, const char *message);
void reply_json(struct http_req *r, int status, struct buf *body); // frees the body
// Reads error.type and error.message of such a body; false if it is none. Both buffers are filled in any case.
bool error_read(struct slice body, char *type, size_t type_size, char *message, size_t message_size);

// ---- lines of a streamed reply --------------------------------------------------------------------------------------
struct lines {
    struct buf rest;
};
// Appends bytes and calls fn for each whole line (without its end); fn returns false to stop. False: stopped, or a line is
// longer than MAX_SERVICE_LINE.
bool lines_feed(struct lines *l, struct slice bytes, bool (*fn)(struct slice line, void *arg), void *arg);

// ---- chance ---------------------------------------------------------------------------------------------------------
double chance_uniform(void);                       // [0, 1)
double chance_exponential(double mean);            // > 0
double chance_jitter(double spread);               // around 1, log-normal, within [1/3, 3]: what a duration is multiplied with
int64_t chance_between(int64_t low, int64_t high); // both included
void chance_id(char out[33]);                      // 32 hex digits
const char *chance_word(uint64_t n);               // the n-th of a short list, with a trailing blank
