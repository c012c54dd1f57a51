// Continuous batching, simulated: one timer is the engine's step; each step gives every running sequence one token and takes
// longer the more of them there are.
#define SONDE_TARGET "inference::decode::engine"
#include "base/clock.h"
#include "decode.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

enum { SWEEP_NS = 50 * 1000000, STATS_S = 10, HANG_AFTER = 3 };

static const char oom[] =
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.15 GiB of which 1.31 GiB is free; this "
    "process "
    "has 77.83 GiB memory in use, 74.20 GiB of it allocated by PyTorch and 2.11 GiB reserved by PyTorch but unallocated. If much "
    "is "
    "reserved but unallocated, PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True may help against fragmentation.";

void engine_kick(void)
{
    loop_timer_set(decode.admit, 0);
}

// ---- states ---------------------------------------------------------------------------------------------------------
static int64_t *count_of(enum seq_state state)
{
    static int64_t others;
    return state == SEQ_WAITING ? &decode.n_waiting : state == SEQ_RUNNING ? &decode.n_running : &others;
}

static void tell_state(void)
{
    work_state(&decode.pool, decode.n_running, decode.n_waiting);
}

static void phase_end(struct seq *s)
{
    if (s->phase != s->span)
        sonde_span_end(s->phase);
    s->phase = NULL;
}

void seq_enter(struct seq *s, enum seq_state state)
{
    --*count_of(s->state);
    s->state = state;
    ++*count_of(state);
    phase_end(s);
    tell_state();
}

void seq_phase(struct seq *s, const char *name)
{
    s->phase = decode.marks ? s->span : sonde_span_start(name, SONDE_KIND_INTERNAL, sonde_span_context(s->span));
}

void seq_mark(struct seq *s, enum sonde_phase p)
{
    if (decode.marks)
        sonde_phase(s->span, p);
}

static void give_blocks(struct seq *s)
{
    kv_give(&decode.pool, s->blocks);
    s->blocks = 0;
}

static void seq_free(struct seq *s)
{
    struct seq **at = &decode.seqs;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    --*count_of(s->state);
    give_blocks(s);
    IN_SPAN(s->span, sonde_histogram_observe(work.engine.e2e, (double)(clock_mono_ns() - s->received_ns) / 1e9));
    work_end(s->span, s->received_ns, s->aborted);
    tell_state();
    phase_end(s);
    sonde_span_end(s->span);
    sonde_ctx_unref(s->baggage);
    loop_timer_free(s->timer);
    free(s);
    decode.service.active--;
    engine_kick();
}

void seq_fail(struct seq *s, int status, const char *type, const char *message)
{
    kv_cancel(s);
    work_error("generate");
    sonde_span_str(s->span, "request.outcome", "error");
    sonde_span_str(s->span, "error.type", type);
    sonde_span_status(s->span, SONDE_STATUS_ERROR, message);
    if (s->begun) {
        struct buf b;
        buf_init(&b, MAX_SERVICE_LINE);
        error_json(&b, type, NULL, NULL, message);
        buf_char(&b, '\n');
        http_stream_write(s->req, buf_slice(&b));
        http_stream_end(s->req);
        buf_free(&b);
    } else {
        reply_error(s->req, status, type, NULL, NULL, message);
    }
    seq_free(s);
}

void seq_abort(struct seq *s)
{
    kv_cancel(s);
    s->aborted = true;
    IN_SPAN(s->span, SONDE_INFO("Aborted request", SONDE_INT("generated_tokens", s->made)));
    sonde_span_str(s->span, "request.outcome", "cancelled");
    if (s->begun)
        http_stream_end(s->req);
    else
        reply_error(s->req, 499, "cancelled", NULL, NULL, "the caller is gone");
    seq_free(s);
}

static void seq_finish(struct seq *s)
{
    sonde_phase(s->phase, SONDE_PHASE_LAST_TOKEN);
    sonde_span_int(s->phase, "gen_ai.usage.output_tokens", s->made);
    sonde_span_str(s->span, "request.outcome", "success");
    sonde_span_int(s->span, "output_tokens", s->made);
    IN_SPAN(s->span, SONDE_INFO("request completed", SONDE_INT("generated_tokens", s->made),
                                SONDE_STR("finish_reason", s->finish), SONDE_INT("preemptions", s->preemptions),
                                SONDE_F64("elapsed_ms", (double)(clock_mono_ns() - s->received_ns) / 1e6)));
    char line[96];
    int n = snprintf(line, sizeof line, "{\"finish_reason\":\"%s\",\"tokens\":%lld}\n", s->finish, (long long)s->made);
    http_stream_write(s->req, slice_of(line, (size_t)n));
    http_stream_end(s->req);
    work_sent(n);
    seq_free(s);
}

// ---- faults ---------------------------------------------------------------------------------------------------------
// Some end the process. True if the sequence gets no token in this step (and may be gone).
static bool strike(struct seq *s)
{
    bool middle = s->made * 2 >= s->max_tokens && s->made > 0;
    switch (s->fault) {
    case FAULT_CUDA_OOM:
        IN_SPAN(s->phase, SONDE_ERROR("torch.OutOfMemoryError: CUDA out of memory", SONDE_STR("error", oom), SONDE_INT("gpu", 0),
                                      SONDE_INT("running", decode.n_running)));
        sonde_span_status(s->phase, SONDE_STATUS_ERROR, "CUDA out of memory");
        sonde_span_exception(s->phase, &(struct sonde_exception){.type = "torch.OutOfMemoryError", .message = oom});
        seq_fail(s, 500, "cuda_out_of_memory", oom);
        return true;
    case FAULT_CRASH:
        if (middle) {
            volatile int *volatile nowhere = (volatile int *)16;
            *nowhere = 1;
        }
        return false;
    case FAULT_LOST_WORKER:
        if (middle)
            kill(getpid(), SIGKILL);
        return false;
    case FAULT_HANG:
        return s->made >= HANG_AFTER;
    default:
        return false;
    }
}

// ---- steps ----------------------------------------------------------------------------------------------------------
static void preempt(struct seq *s)
{
    decode.n_preemptions++;
    sonde_int_counter_add(work.engine.preemptions, 1);
    s->preemptions++;
    sonde_phase(s->phase, SONDE_PHASE_PREEMPTED);
    sonde_span_bool(s->phase, "preempted", true);
    sonde_span_int(s->phase, "gen_ai.usage.output_tokens", s->made);
    IN_SPAN(s->phase,
            SONDE_WARN("Sequence group is preempted by PreemptionMode.RECOMPUTE mode because the KV cache has no free space",
                       SONDE_STR("request_id", s->request_id), SONDE_INT("generated_tokens", s->made),
                       SONDE_INT("total_num_cumulative_preemption", decode.n_preemptions)));
    give_blocks(s);
    seq_enter(s, SEQ_WAITING);
    seq_phase(s, "queue");
    sonde_span_str(s->phase, "reason", "preempted");
    s->told_waiting = false;
    engine_kick();
}

// One more block for s, if need be by preempting the youngest running sequence. False: that was s itself.
static bool grow(struct seq *s)
{
    while (!kv_take(&decode.pool, 1)) {
        struct seq *youngest = s;
        for (struct seq *o = s; o; o = o->next)
            if (o->state == SEQ_RUNNING)
                youngest = o;
        preempt(youngest);
        if (youngest == s)
            return false;
    }
    s->blocks++;
    return true;
}

static void emit(struct seq *s)
{
    if (!s->begun) {
        s->begun = true;
        http_stream_begin(s->req, 200, SLICE("application/x-ndjson"));
        work_first_response(s->span, s->received_ns);
    }
    int64_t now = clock_mono_ns();
    if (s->made++ == 0) {
        sonde_phase(s->phase, SONDE_PHASE_FIRST_TOKEN);
        sonde_histogram_observe(work.engine.ttft, (double)(now - s->received_ns) / 1e9);
    } else {
        sonde_histogram_observe(work.engine.itl, (double)(now - s->token_ns) / 1e9);
    }
    s->token_ns = now;
    decode.generated++;
    IN_SPAN(s->phase, SONDE_TRACE("token", SONDE_INT("n", s->made), SONDE_INT("running", decode.n_running)));
    char line[64];
    int n = snprintf(line, sizeof line, "{\"text\":\"%s\"}\n", chance_word(s->word + (uint64_t)s->made));
    http_stream_write(s->req, slice_of(line, (size_t)n));
    work_sent(n);
}

static void step_one(struct seq *s)
{
    if (http_req_gone(s->req)) {
        seq_abort(s);
        return;
    }
    if (s->fault != FAULT_NONE && strike(s))
        return;
    if (kv_blocks(s->prompt + s->made + 1) > s->blocks && !grow(s))
        return;
    emit(s);
    if (s->made >= s->max_tokens)
        seq_finish(s);
}

static void arm_step(void)
{
    if (decode.stepping || decode.n_running == 0)
        return;
    double ns = (double)(decode.set.itl_ns + decode.set.itl_seq_ns * (decode.n_running - 1)) * chance_jitter(0.12);
    loop_timer_set(decode.step, (int64_t)ns);
    decode.stepping = true;
}

static void on_step(struct loop_timer *t, void *arg)
{
    decode.stepping = false;
    for (struct seq *s = decode.seqs, *next; s; s = next) {
        next = s->next;
        if (s->state == SEQ_RUNNING)
            step_one(s);
    }
    arm_step();
}

void seq_run(struct seq *s)
{
    if (s->state == SEQ_RECOMPUTING) {
        seq_mark(s, SONDE_PHASE_PREFILL_END);
        seq_mark(s, SONDE_PHASE_SCHEDULED);
    }
    seq_enter(s, SEQ_RUNNING);
    seq_phase(s, "decode");
    sonde_span_int(s->phase, "running", decode.n_running);
    IN_SPAN(s->phase, SONDE_DEBUG("scheduled for decode", SONDE_INT("running", decode.n_running),
                                  SONDE_INT("waiting", decode.n_waiting), SONDE_INT("kv_blocks_used", decode.pool.used)));
    arm_step();
}

// ---- admission ------------------------------------------------------------------------------------------------------
static void on_recomputed(struct loop_timer *t, void *arg)
{
    seq_run(arg);
}

static void recompute(struct seq *s)
{
    seq_enter(s, SEQ_RECOMPUTING);
    seq_mark(s, SONDE_PHASE_PREFILL_START);
    seq_phase(s, "prefill");
    sonde_span_bool(s->phase, "recompute", true);
    sonde_span_int(s->phase, "gen_ai.usage.input_tokens", s->prompt + s->made);
    loop_timer_set(s->timer, (int64_t)((double)((s->prompt + s->made) * decode.set.recompute_ns) * chance_jitter(0.08)));
}

static int64_t n_admitted(void)
{
    int64_t n = 0;
    for (const struct seq *s = decode.seqs; s; s = s->next)
        n += s->state != SEQ_WAITING;
    return n;
}

// In order of arrival, so that preempted ones come before newer ones; the first that does not fit stops the rest.
static void on_admit(struct loop_timer *t, void *arg)
{
    int64_t room = work_paused() ? 0 : decode.set.max_seqs - n_admitted();
    for (struct seq *s = decode.seqs, *next; s && room > 0; s = next) {
        next = s->next;
        if (s->state != SEQ_WAITING)
            continue;
        int64_t blocks = kv_blocks(s->prompt + s->made + 1);
        if (!kv_take(&decode.pool, blocks)) {
            if (!s->told_waiting)
                IN_SPAN(s->phase,
                        SONDE_DEBUG("waiting for KV blocks", SONDE_INT("needed", blocks), SONDE_INT("waiting", decode.n_waiting),
                                    SONDE_INT("free", decode.pool.total - decode.pool.used)));
            s->told_waiting = true;
            return;
        }
        s->blocks = blocks;
        room--;
        if (!s->preemptions) {
            work_waited(s->received_ns);
            seq_mark(s, SONDE_PHASE_SCHEDULED);
        }
        if (s->preemptions)
            recompute(s);
        else
            kv_pull(s);
    }
}

void engine_add(struct seq *s)
{
    struct seq **at = &decode.seqs;
    while (*at)
        at = &(*at)->next;
    *at = s;
    s->state = SEQ_WAITING;
    seq_phase(s, "queue");
    seq_mark(s, SONDE_PHASE_QUEUED);
    sonde_span_int(s->phase, "waiting", decode.n_waiting);
    IN_SPAN(s->phase, SONDE_DEBUG("queued", SONDE_INT("waiting", decode.n_waiting), SONDE_INT("running", decode.n_running)));
    decode.n_waiting++;
    decode.service.active++;
    tell_state();
    s->timer = loop_timer_new(decode.service.loop, on_recomputed, s);
    if (s->timer)
        engine_kick();
    else
        seq_fail(s, 500, "server_error", "no memory for a timer");
}

// ---- housekeeping ---------------------------------------------------------------------------------------------------
static void on_sweep(struct loop_timer *t, void *arg)
{
    for (struct seq *s = decode.seqs, *next; s; s = next) {
        next = s->next;
        if (s->state != SEQ_RUNNING && http_req_gone(s->req))
            seq_abort(s);
    }
    loop_timer_set(t, SWEEP_NS);
}

static void on_stats(struct loop_timer *t, void *arg)
{
    if (decode.generated || decode.n_running)
        SONDE_INFO("engine statistics", SONDE_F64("generation_throughput_tokens_per_s", (double)decode.generated / STATS_S),
                   SONDE_INT("running", decode.n_running), SONDE_INT("waiting", decode.n_waiting),
                   SONDE_F64("kv_cache_usage", (double)decode.pool.used / (double)decode.pool.total),
                   SONDE_INT("preemptions_total", decode.n_preemptions));
    decode.generated = 0;
    loop_timer_set(t, STATS_S * (int64_t)1000000000);
}

enum errc engine_start(void)
{
    struct loop *l = decode.service.loop;
    decode.step = loop_timer_new(l, on_step, NULL);
    decode.admit = loop_timer_new(l, on_admit, NULL);
    decode.sweep = loop_timer_new(l, on_sweep, NULL);
    decode.stats = loop_timer_new(l, on_stats, NULL);
    if (!decode.step || !decode.admit || !decode.sweep || !decode.stats)
        return ERR_NOMEM;
    loop_timer_set(decode.sweep, SWEEP_NS);
    loop_timer_set(decode.stats, STATS_S * (int64_t)1000000000);
    return ERR_OK;
}
