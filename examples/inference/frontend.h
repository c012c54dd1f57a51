// The frontend's parts: frontend.c (program, routes other than chat), frontend_workers.c (who may serve), frontend_chat.c and
// frontend_route.c (one chat completion: the client's side, the workers' side), frontend_openai.c (what is sent to the client).
// One frontend a process: the global `front`.
#pragma once
#include "chat_params.h"
#include "fault.h"
#include "service.h"
#include <stdatomic.h>

enum { MAX_WORKERS = 64, MAX_WORKER_URL = 200, MAX_WORKER_ANSWER = 2048 };

struct worker {
    char url[MAX_WORKER_URL]; // http://HOST:PORT
    char id[24];              // instance id, "" until it has answered once
    int64_t aside_until;      // monotonic ns: not chosen before
    struct {                  // what it told of itself, 0: nothing yet
        int64_t total_blocks, active_blocks, block_size, max_seqs, max_batched_tokens, active_tokens;
    } card;
    bool asked; // a probe is under way
    size_t answer_n;
    char answer[MAX_WORKER_ANSWER];
};

struct pool {
    const char *phase; // "prefill" or "decode"
    struct worker w[MAX_WORKERS];
    size_t n, next;
};

struct front_settings {
    const char *listen, *prefill, *decode, *model, *fault, *dump;
    int64_t context, timeout_ns, aside_ns, retries, storm_retries, retry_delay_ns;
};

extern struct front {
    struct front_settings set;
    struct service service;
    struct fault_mix faults;
    struct pool prefill, decode;
    struct loop_timer *probe;
    _Atomic bool usable; // a request could be served; read by scrapes
    int64_t started;     // s since 1970, for the list of models
} front;

// ---- workers --------------------------------------------------------------------------------------------------------
enum errc pool_read(struct pool *p, const char *phase, const char *urls, struct error *err); // "URL,URL"
struct worker *pool_pick(struct pool *p); // round robin over those that are not put aside; null if there is none
size_t pool_usable(const struct pool *p);
void worker_aside(struct worker *w, const char *phase, const char *why); // for --aside
void worker_learn(struct worker *w, struct slice id);
const char *worker_name(const struct worker *w);     // its id, or the URL while that is unknown
void workers_probe(struct loop_timer *t, void *arg); // asks all for their id and load; sets itself again

// ---- one chat completion --------------------------------------------------------------------------------------------
struct chat {
    struct http_req *req;
    struct sonde_span *span, *route; // http-request, and the router.route_request under way
    struct sonde_context failed;     // of the attempt before, while there is another one
    struct sonde_ctx *baggage;       // the client's, for the workers; null: none
    struct http_call *call;
    struct loop_timer *tick;
    struct chat_params p;
    struct pool *pool; // prefill, then decode
    struct worker *worker;
    int attempt; // in this phase, from 0
    enum fault fault;
    int64_t started_ns, route_ns, heard_ns, retry_ns, first_ns, last_ns; // monotonic; 0: not yet
    int64_t created;                                                     // s since 1970
    int64_t tokens, writing_ns;                                          // and the time that writing them to the client took
    int status;                                                          // of the worker's reply, 0 before its head
    struct buf reply;                                                    // a worker's body that is not a stream
    struct lines lines;
    struct buf text;                                     // the answer, when not streamed
    bool begun;                                          // the client's stream is open
    char finish[16], error_type[48], error_message[400]; // what a worker's stream ended with
    char request_id[37], model[100], kv_url[MAX_WORKER_URL], prefill_id[24], decode_id[24];
};
void on_chat(struct http_req *r, void *arg); // POST /v1/chat/completions
// The ends: each answers, closes the span and frees the chat. code is OpenAI's error.code and the span's error.type.
void chat_success(struct chat *c);
void chat_fail(struct chat *c, int status, const char *type, const char *code, const char *param, const char *message);
void chat_cancelled(struct chat *c); // the client is gone

// The next attempt of the phase that c->pool stands for; ends in one of the above.
void route_attempt(struct chat *c);
void route_end(struct chat *c, const char *outcome,
               const char *error_type);          // of the router.route_request span; error_type null: good
void route_drop(struct chat *c);                 // breaks off the call under way
void chat_tick(struct loop_timer *t, void *arg); // looks for silence, a gone client, a due attempt
static inline double ms_since(int64_t from, int64_t to)
{
    return (double)(to - from) / 1e6;
}

// ---- OpenAI's formats -----------------------------------------------------------------------------------------------
void openai_completion(const struct chat *c, struct buf *out); // the whole answer
// One event of a stream: a delta with content (or the role alone, content null), the end (finish), or the usage.
void openai_delta(const struct chat *c, const char *role, struct slice content, const char *finish, struct buf *out);
void openai_usage(const struct chat *c, struct buf *out);
void openai_models(struct buf *out);
void openai_model(struct jw *w);
