// One inference request, told from the spans and log records of its trace: who served it, how long each phase took, how it ended
// and why. Works on what Dynamo and libsonde's programs record, and sees through what misleads in it (orphans, retries, streams
// that broke after a 200, errors on requests that were served).
// Thread rule: as of a trace.
#pragma once
#include "analyze/trace.h"
#include "analyze/trace_set.h"

enum role { ROLE_OTHER, ROLE_FRONTEND, ROLE_PREFILL, ROLE_DECODE };
const char *role_text(enum role r);

enum phase_kind { PHASE_WORK, PHASE_WAIT, PHASE_TRANSFER, PHASE_UNACCOUNTED };
const char *phase_kind_text(enum phase_kind k);

struct phase {
    const char *name; // queue routing prefill handover kv_transfer decode retry unaccounted; in lanes also waiting
    enum phase_kind kind;
    struct slice service;
    int64_t start, ns;
    uint64_t span_id; // the span it was read from, 0 if derived
};

struct mark {
    const char *name; // first_token last_token preempted error
    int64_t time;
};

struct lane {
    struct slice service;
    enum role role;
    struct phase *blocks; // may overlap blocks of other lanes, as they really did
    struct mark *marks;
    uint32_t n_blocks, n_marks;
};

struct request_log {
    int64_t time;
    const char *level; // ERROR WARN INFO DEBUG TRACE, "" if unknown
    struct slice service, target, message, line;
    uint64_t span_id;
    uint32_t row; // in request_logs.batch
};

struct request_logs {
    struct batch *batch;    // owned
    struct request_log *at; // by time; in the batch's arena
    uint32_t n;
};

enum request_status { REQUEST_OK, REQUEST_ERROR, REQUEST_CANCELLED, REQUEST_RUNNING };
const char *request_status_text(enum request_status s);

struct failure {
    bool there;
    enum role where;
    struct slice service, what, why;
    int64_t when;
    uint32_t evidence[16]; // indexes of logs
    uint32_t n_evidence;
};

enum { REQUEST_NOTES_MAX = 8, REQUEST_LANES_MAX = 16 };

struct request {
    struct slice id, model, name, service, verdict;
    struct id128 trace_id;
    int64_t start, end;
    enum request_status status;
    int http_status; // 0 unknown
    bool stream, has_root;
    int64_t input_tokens, output_tokens; // -1 unknown
    double ttft_ms, itl_ms;              // < 0 unknown
    struct slice prefill_worker, decode_worker;
    uint32_t attempts, errors;
    struct phase *phases; // consecutive, no gaps: the sum of ns is end - start
    uint32_t n_phases;
    struct lane lanes[REQUEST_LANES_MAX];
    uint32_t n_lanes;
    struct failure failure;
    struct slice notes[REQUEST_NOTES_MAX];
    uint32_t n_notes;
};

// Analyses a trace with its logs. Everything in *out lives in `arena` or in the batches of t and logs. now: to tell a running
// request from one whose root span never came.
enum errc request_analyze(const struct trace *t, const struct request_logs *logs, int64_t now, struct arena *arena,
                          struct request *out, struct error *err);

// ---- finding --------------------------------------------------------------------------------------------------------
struct trace_refs {
    struct trace_ref *at; // newest first
    size_t n;
    bool truncated;
};
void trace_refs_free(struct trace_refs *r);

// Traces that carry the id: a trace id (32 hex digits), or an x-request-id or request id found on spans, on log records or in
// JSON lines. ERR_NOTFOUND when there is none.
enum errc request_find(struct store *s, struct slice tenant, struct slice id, int64_t from, int64_t to, struct budget *budget,
                       struct trace_refs *out, struct error *err);
// The newest `max` traces of [from, to) that look like requests.
enum errc request_list(struct store *s, struct slice tenant, int64_t from, int64_t to, size_t max, struct budget *budget,
                       struct trace_refs *out, struct error *err);
// Log records of the trace: by their trace id; when thorough also by a trace_id attribute or by the id in the text of the
// line, which reads every line around the time of the trace.
enum errc request_logs_load(struct store *s, struct slice tenant, const struct trace *t, bool thorough, struct budget *budget,
                            struct request_logs *out, struct error *err);
void request_logs_free(struct request_logs *l);
// Sorts and reads the records of a sealed batch; what request_logs_load does after the scan.
enum errc request_logs_build(struct batch *b, struct request_logs *out, struct error *err);

// ---- inside the folder ----------------------------------------------------------------------------------------------
enum role span_role(const struct trace *t, const struct span *s);
enum role role_of_words(struct slice s); // of a service or component name
bool span_is_route(const struct span *s);
// The span covers the work of one worker: Dynamo's and our handle_payload, vLLM's llm_request.
bool span_is_worker(const struct span *s);
const struct span *route_worker(const struct trace *t, const struct span *route); // null if it never came
// Phases and lanes of r from its window, tokens and workers.
enum errc request_phases(const struct trace *t, const struct request_logs *logs, int64_t first_token, struct arena *arena,
                         struct request *r, struct error *err);
