// The decode worker's parts: the simulated engine (decode_engine.c) and the pull of the KV cache (decode_kv.c), fed by the
// HTTP face in decode.c. One engine a process: the global `decode`.
//
// A sequence goes WAITING (span queue) → LOADING (span kv_transfer) → RUNNING (span decode) → away. When the KV pool is full the
// youngest running sequence is preempted: its blocks are given back, it is WAITING again, then RECOMPUTING (span prefill with
// recompute=true) and RUNNING again in a new decode span. The phases of one request follow one another without overlap.
#pragma once
#include "fault.h"
#include "kv_pool.h"
#include "service.h"
#include "work_metrics.h"
#include "work_status.h"
#include <sonde/genai.h>

enum seq_state { SEQ_WAITING, SEQ_LOADING, SEQ_RECOMPUTING, SEQ_RUNNING };

struct seq {
    struct seq *next; // in order of arrival
    enum seq_state state;
    struct http_req *req;
    struct sonde_span *span, *phase; // handle_payload and the phase it is in; the same with --phases marks
    struct http_call *pull;          // of the KV cache, while LOADING
    struct sonde_ctx *baggage;       // the caller's; null: none
    struct loop_timer *timer;        // end of RECOMPUTING
    int64_t prompt, max_tokens, made, blocks, received_ns, token_ns, preemptions, pulled_bytes; // token_ns: of its latest token
    int pull_status;
    enum fault fault;
    bool begun; // the reply's head is out
    bool told_waiting;
    bool aborted;
    uint64_t word;  // where its text starts
    char finish[8]; // "length" or "stop"
    char kv_url[200], request_id[64];
};

struct decode_settings {
    const char *listen, *fault, *dump, *phases;
    int64_t max_seqs, queue, blocks, itl_ns, itl_seq_ns, recompute_ns, kv_timeout_ns;
    bool engine_metrics;
};

extern struct decode {
    struct decode_settings set;
    struct service service;
    struct fault_mix faults;
    struct kv_pool pool;
    struct seq *seqs;
    int64_t n_waiting, n_running, n_preemptions, generated; // generated: tokens since the last statistics line
    bool stepping, marks;
    struct loop_timer *step, *admit, *sweep, *stats;
} decode;

// Takes over the sequence, which has its request, span and figures filled in.
void engine_add(struct seq *s);
enum errc engine_start(void); // makes the timers
void engine_kick(void);       // looks for work to admit, soon

// Leaves the state and enters another, with the phase's span ended; the new one is started by the caller.
void seq_enter(struct seq *s, enum seq_state state);
void seq_phase(struct seq *s, const char *name);  // starts the span of a phase
void seq_mark(struct seq *s, enum sonde_phase p); // of --phases marks
void seq_run(struct seq *s);                      // its cache is there: the next steps include it
// Ends the sequence with an error: a status and body, or an error line where the stream has begun. Frees it.
void seq_fail(struct seq *s, int status, const char *type, const char *message);
void seq_abort(struct seq *s); // the caller is gone

void kv_pull(struct seq *s); // starts the transfer; ends in seq_run or seq_fail
void kv_cancel(struct seq *s);
