// The sampler jaeger_remote: what a Jaeger collector or agent says, asked for again and again by a thread of its own. By gRPC
// (jaeger.api_v2.SamplingManager) where the endpoint is a host alone, by HTTP and JSON where it has a path.
//
// Spans that start read the strategy without a lock: every part of it is one atomic, and operations are only ever added.
#define SONDE_TARGET "sonde::sampler" // of the lines written here
#include "sdk/sampler_remote.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/pb.h"
#include "sdk/export_int.h"
#include "sdk/net_part.h"
#include "sdk/sdk.h"
#include <signal.h>
#include <stdio.h>

enum { OPS_SLOTS = 4096, OPS_MAX = 2000, TIMEOUT_MS = 5000, STOP_MS = 200 };
#define NOT_NAMED UINT64_MAX // an operation's threshold: that of all others holds

enum kind { PROBABILISTIC, RATE, BY_OPERATION };
struct op {
    _Atomic uint64_t name; // hash; 0: free
    _Atomic uint64_t threshold;
    _Atomic int64_t full_at; // of its lower bound
    unsigned round;          // the poller's: last strategy that named it
};
static struct remote {
    _Atomic enum kind kind;
    _Atomic uint64_t threshold;
    _Atomic int64_t interval_ns; // of one trace: of RATE, of each operation's lower bound. 0: none
    _Atomic int64_t full_at;
    _Atomic(struct op *) ops; // OPS_SLOTS of them once a strategy has some; stays
    atomic_uint n_ops;
    unsigned round;
} remote;

// The thread. Left alone when it hangs in a call at the end, or belongs to a parent process.
struct poller {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    bool stop, ended; // under lock
    bool away;        // its own: the last attempt failed
    int64_t interval_ns;
    char url[512];
    bool http, broken;
};
static struct poller wanted; // by the settings: url, http, interval_ns
static bool is_wanted;
static struct poller *running;

// ---- deciding -------------------------------------------------------------------------------------------------------
// The operation's entry, made if it is new; null when there is no room.
static struct op *op_get(struct slice name)
{
    struct op *ops = atomic_load_explicit(&remote.ops, memory_order_acquire);
    uint64_t hash = hash64(name.p, name.n) | 1; // never 0
    for (unsigned i = 0; ops && i < OPS_SLOTS; i++) {
        struct op *o = &ops[((hash >> 1) + i) % OPS_SLOTS];
        uint64_t is = atomic_load(&o->name);
        if (!is) {
            if (atomic_load(&remote.n_ops) >= OPS_MAX)
                return NULL;
            if (atomic_compare_exchange_strong(&o->name, &is, hash)) {
                atomic_fetch_add(&remote.n_ops, 1);
                return o;
            }
        }
        if (is == hash)
            return o;
    }
    return NULL;
}

static enum sonde_decision decide(const struct sonde_sampler *s, const struct sonde_sample_in *in, struct sonde_sample_out *out)
{
    (void)s;
    enum kind kind = atomic_load(&remote.kind);
    int64_t interval = atomic_load(&remote.interval_ns);
    if (kind == RATE) {
        ot_set_threshold(out->tracestate, 0, false);
        return interval && sampler_bucket(&remote.full_at, interval) ? SONDE_RECORD_SAMPLE : SONDE_DROP;
    }
    uint64_t r = trace_randomness(in->trace_id), threshold = atomic_load(&remote.threshold), own = NOT_NAMED;
    struct op *op = kind == BY_OPERATION ? op_get(slice_str(in->name)) : NULL;
    if (op)
        own = atomic_load(&op->threshold);
    threshold = own != NOT_NAMED ? own : threshold;
    ot_randomness(out->tracestate, &r);
    bool pass = r >= threshold;
    ot_set_threshold(out->tracestate, threshold, pass); // what the lower bound lets through stands for no share
    if (op && interval)
        pass = sampler_bucket(&op->full_at, interval) || pass; // those that pass anyway count as well
    return pass ? SONDE_RECORD_SAMPLE : SONDE_DROP;
}

// ---- strategies -----------------------------------------------------------------------------------------------------
// An answer, whatever its form.
struct strategy {
    uint64_t type; // 0 probabilistic, 1 rate limiting
    bool has_share, has_rate, has_ops;
    double share, rate, otherwise, lower;
    struct strategy_op {
        struct slice name;
        double share;
    } * op;
    size_t n;
    struct arena arena;
};

static void strategy_add(struct strategy *s, struct slice name, double share)
{
    s->op = s->op ? s->op : ARENA_ARRAY(&s->arena, struct strategy_op, OPS_MAX);
    if (s->op && s->n < OPS_MAX)
        s->op[s->n++] = (struct strategy_op){name, share};
}

static bool share_ok(double d)
{
    return d >= 0 && d <= 1;
}

static int64_t interval_of(double per_second)
{
    return !(per_second > 0)   ? 0
           : per_second > 1e9  ? 1
           : per_second < 1e-6 ? INT64_C(1000000000000000)
                               : (int64_t)(1e9 / per_second);
}

static bool use_ops(const struct strategy *s)
{
    bool ok = share_ok(s->otherwise) && s->lower >= 0;
    for (size_t i = 0; ok && i < s->n; i++)
        ok = share_ok(s->op[i].share);
    struct op *ops = atomic_load(&remote.ops);
    if (ok && !ops && (ops = mem_zalloc(OPS_SLOTS * sizeof *ops))) {
        for (unsigned i = 0; i < OPS_SLOTS; i++)
            atomic_init(&ops[i].threshold, NOT_NAMED);
        atomic_store_explicit(&remote.ops, ops, memory_order_release);
    }
    if (!ok || !ops)
        return false;
    remote.round++;
    for (size_t i = 0; i < s->n; i++) {
        struct op *o = op_get(s->op[i].name);
        if (o) {
            o->round = remote.round;
            atomic_store(&o->threshold, threshold_of(s->op[i].share));
        }
    }
    for (unsigned i = 0; i < OPS_SLOTS; i++)
        if (ops[i].round != remote.round)
            atomic_store(&ops[i].threshold, NOT_NAMED);
    atomic_store(&remote.threshold, threshold_of(s->otherwise));
    atomic_store(&remote.interval_ns, interval_of(s->lower));
    atomic_store(&remote.kind, BY_OPERATION);
    return true;
}

static bool use(const struct strategy *s)
{
    if (s->has_ops)
        return use_ops(s);
    if (s->type == 1) {
        if (!s->has_rate || !(s->rate >= 0))
            return false;
        atomic_store(&remote.interval_ns, interval_of(s->rate));
        atomic_store(&remote.kind, RATE);
        return true;
    }
    if (s->type != 0 || !s->has_share || !share_ok(s->share))
        return false;
    atomic_store(&remote.threshold, threshold_of(s->share));
    atomic_store(&remote.kind, PROBABILISTIC);
    return true;
}

// A message whose one field of interest is a double.
static double one_double(struct pb r)
{
    double d = 0;
    while (pb_next(&r))
        if (r.field != 1 || r.wire != PB_FIXED64 || !pb_double(&r, &d))
            pb_skip(&r);
    return d;
}

// PerOperationSamplingStrategies {1 default, 2 lower bound, 3 {1 operation, 2 {1 share}}}
static void read_ops(struct strategy *s, struct pb *r)
{
    struct pb op, share;
    s->has_ops = true;
    while (pb_next(r)) {
        if (r->field == 1 && r->wire == PB_FIXED64) {
            pb_double(r, &s->otherwise);
        } else if (r->field == 2 && r->wire == PB_FIXED64) {
            pb_double(r, &s->lower);
        } else if (r->field == 3 && r->wire == PB_LEN && pb_message(r, &op)) {
            struct slice name = SLICE("");
            double d = 0;
            while (pb_next(&op)) {
                if (op.field == 1 && op.wire == PB_LEN)
                    pb_bytes(&op, &name);
                else if (op.field == 2 && op.wire == PB_LEN && pb_message(&op, &share))
                    d = one_double(share);
                else
                    pb_skip(&op);
            }
            strategy_add(s, name, d);
        } else {
            pb_skip(r);
        }
    }
}

// SamplingStrategyResponse {1 type, 2 {1 share}, 3 {1 traces a second}, 4 operations}
static bool read_pb(struct strategy *s, struct slice answer)
{
    struct pb r, child;
    uint64_t rate = 0;
    pb_init(&r, answer, NULL);
    while (pb_next(&r)) {
        if (r.field == 1 && r.wire == PB_VARINT) {
            pb_u64(&r, &s->type);
        } else if (r.field == 2 && r.wire == PB_LEN && pb_message(&r, &child)) {
            s->has_share = true;
            s->share = one_double(child);
        } else if (r.field == 3 && r.wire == PB_LEN && pb_message(&r, &child)) {
            s->has_rate = true;
            while (pb_next(&child))
                if (child.field != 1 || child.wire != PB_VARINT || !pb_u64(&child, &rate))
                    pb_skip(&child);
            s->rate = (double)(int32_t)rate;
        } else if (r.field == 4 && r.wire == PB_LEN && pb_message(&r, &child)) {
            read_ops(s, &child);
        } else {
            pb_skip(&r);
        }
    }
    return !r.failed;
}

// An object's number of that name; others are passed over.
static double json_number_of(struct json *j, struct slice name)
{
    struct slice key;
    double d = 0;
    if (!json_object(j))
        return 0;
    while (json_next_key(j, &key))
        slice_eq(key, name) ? json_f64(j, &d) : json_skip(j, NULL);
    return d;
}

static void json_operation(struct strategy *s, struct json *j)
{
    struct slice key, name = SLICE("");
    double share = 0;
    if (!json_object(j))
        return;
    while (json_next_key(j, &key)) {
        if (slice_eq(key, SLICE("operation")))
            json_string(j, &name);
        else if (slice_eq(key, SLICE("probabilisticSampling")) && json_peek(j) == JSON_OBJECT)
            share = json_number_of(j, SLICE("samplingRate"));
        else
            json_skip(j, NULL);
    }
    strategy_add(s, name, share);
}

static void json_operations(struct strategy *s, struct json *j)
{
    struct slice key;
    s->has_ops = json_object(j);
    while (s->has_ops && json_next_key(j, &key)) {
        if (slice_eq(key, SLICE("defaultSamplingProbability")))
            json_f64(j, &s->otherwise);
        else if (slice_eq(key, SLICE("defaultLowerBoundTracesPerSecond")))
            json_f64(j, &s->lower);
        else if (slice_eq(key, SLICE("perOperationStrategies")) && json_peek(j) == JSON_ARRAY && json_array(j))
            while (json_next_item(j))
                json_operation(s, j);
        else
            json_skip(j, NULL);
    }
}

static bool read_json(struct strategy *s, struct slice answer)
{
    struct json j;
    struct slice key, word;
    json_init(&j, answer, &s->arena, NULL);
    if (!json_object(&j))
        return false;
    while (json_next_key(&j, &key)) {
        bool object = json_peek(&j) == JSON_OBJECT;
        if (slice_eq(key, SLICE("strategyType")) && json_peek(&j) == JSON_STRING) {
            json_string(&j, &word);
            s->type = slice_eq(word, SLICE("PROBABILISTIC")) ? 0 : slice_eq(word, SLICE("RATE_LIMITING")) ? 1 : 2;
        } else if (slice_eq(key, SLICE("strategyType"))) {
            json_u64(&j, &s->type);
        } else if (slice_eq(key, SLICE("probabilisticSampling")) && object) {
            s->has_share = true;
            s->share = json_number_of(&j, SLICE("samplingRate"));
        } else if (slice_eq(key, SLICE("rateLimitingSampling")) && object) {
            s->has_rate = true;
            s->rate = json_number_of(&j, SLICE("maxTracesPerSecond"));
        } else if (slice_eq(key, SLICE("operationSampling")) && object) {
            json_operations(s, &j);
        } else {
            json_skip(&j, NULL);
        }
    }
    return json_finish(&j);
}

bool sampler_remote_answer(bool json, struct slice answer)
{
    struct strategy s = {.type = 0};
    arena_init(&s.arena, MIB(4));
    bool ok = (json ? read_json(&s, answer) : read_pb(&s, answer)) && !arena_failed(&s.arena) && use(&s);
    arena_free(&s.arena);
    return ok;
}

// ---- asking ---------------------------------------------------------------------------------------------------------
static bool ask_http(struct poller *p, struct http_session *session, struct slice service, struct error *err)
{
    struct buf url;
    struct http_answer a;
    struct http_fetch f = {.method = "GET", .timeout_ns = (int64_t)TIMEOUT_MS * 1000000, .reply_max = MIB(1)};
    buf_init(&url, KIB(4));
    buf_printf(&url, "%s%cservice=", p->url, strchr(p->url, '?') ? '&' : '?');
    for (size_t i = 0; i < service.n; i++) {
        unsigned char c = (unsigned char)service.p[i];
        bool plain = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || memchr("-._~", c, 4);
        plain ? buf_char(&url, (char)c) : buf_printf(&url, "%%%02X", c);
    }
    buf_char(&url, 0);
    f.url = url.p;
    bool ok = url.err == ERR_OK && net_part()->fetch(session, &f, &a, err) == ERR_OK;
    buf_free(&url);
    if (!ok)
        return false;
    ok = a.status == 200;
    if (!ok)
        ERR(err, INPUT, "HTTP status %d", a.status);
    else if (!(ok = sampler_remote_answer(true, buf_slice(&a.body))))
        ERR(err, INPUT, "the answer is no sampling strategy");
    net_part()->answer_free(&a);
    return ok;
}

static bool ask_grpc(struct poller *p, struct http_session *session, struct slice service, struct error *err)
{
    struct buf message;
    struct grpc_answer a;
    buf_init(&message, KIB(1));
    pb_w_bytes(&message, 1, service);
    struct grpc_request r = {.url = p->url,
                             .path = "/jaeger.api_v2.SamplingManager/GetSamplingStrategy",
                             .message = buf_slice(&message),
                             .timeout_ns = (int64_t)TIMEOUT_MS * 1000000,
                             .reply_max = MIB(1)};
    bool ok = message.err == ERR_OK && net_part()->grpc(session, &r, &a, err) == ERR_OK;
    buf_free(&message);
    if (!ok)
        return false;
    ok = a.status == GRPC_OK;
    if (!ok)
        ERR(err, INPUT, "status %d %s", a.status, a.message);
    else if (!(ok = sampler_remote_answer(false, buf_slice(&a.body))))
        ERR(err, INPUT, "the answer is no sampling strategy");
    net_part()->grpc_free(&a);
    return ok;
}

static void ask(struct poller *p, struct http_session **session)
{
    static const struct tls_options tls;
    struct error err = {0};
    char service[sizeof sdk.service];
    const struct net_part *net = net_part();
    p->broken = !net; // which has been told
    if (!net || (!*session && !(*session = net->session_new())))
        return;
    pthread_mutex_lock(&sdk.life);
    memcpy(service, sdk.service, sizeof service);
    pthread_mutex_unlock(&sdk.life);
    bool ok = !slice_starts(slice_str(p->url), SLICE("https:")) || net->session_tls(*session, &tls, &err) == ERR_OK;
    ok = ok && (p->http ? ask_http : ask_grpc)(p, *session, slice_str(service), &err);
    if (ok && p->away && sdk_tells(SONDE_LEVEL_INFO))
        SONDE_INFO("sampling strategy arrives again", SONDE_STR("endpoint", p->url));
    if (!ok && !p->away && sdk_tells(SONDE_LEVEL_WARN))
        SONDE_WARN("sampling strategy does not arrive, the last one holds", SONDE_STR("endpoint", p->url),
                   SONDE_STR("error", err.msg));
    p->away = !ok;
}

static void *poll_loop(void *arg)
{
    struct poller *p = arg;
    struct http_session *session = NULL;
    pthread_setname_np(pthread_self(), "sonde-sampler");
    pthread_mutex_lock(&p->lock);
    while (!p->stop && !p->broken) {
        int64_t next = clock_mono_ns() + p->interval_ns;
        pthread_mutex_unlock(&p->lock);
        ask(p, &session);
        pthread_mutex_lock(&p->lock);
        struct timespec ts = {next / 1000000000, next % 1000000000};
        while (!p->stop && !p->broken && clock_mono_ns() < next)
            pthread_cond_timedwait(&p->wake, &p->lock, &ts);
    }
    pthread_mutex_unlock(&p->lock);
    if (session)
        net_part()->session_free(session);
    pthread_mutex_lock(&p->lock);
    p->ended = true;
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

void sampler_remote_start(void)
{
    sigset_t all, old;
    pthread_condattr_t attr;
    struct poller *p = is_wanted && !running && !trace.disabled ? mem_alloc(sizeof *p) : NULL;
    if (!p)
        return;
    *p = wanted;
    pthread_mutex_init(&p->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&p->wake, &attr);
    pthread_condattr_destroy(&attr);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); // the application's signals are not for our threads
    if (pthread_create(&p->thread, NULL, poll_loop, p) == 0)
        running = p;
    else
        mem_free(p);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void sampler_remote_stop(int64_t until)
{
    struct poller *p = running;
    int64_t grace = clock_mono_ns() + (int64_t)STOP_MS * 1000000; // nothing is lost with an answer that comes later
    until = until < grace ? until : grace;
    struct timespec ts = {until / 1000000000, until % 1000000000};
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_broadcast(&p->wake);
    while (!p->ended && clock_mono_ns() < until)
        pthread_cond_timedwait(&p->wake, &p->lock, &ts);
    bool ended = p->ended;
    pthread_mutex_unlock(&p->lock);
    if (!ended) { // in a call that hangs: it keeps its memory
        pthread_detach(p->thread);
        return;
    }
    pthread_join(p->thread, NULL);
    running = NULL;
    mem_free(p);
}

void sampler_remote_forked(void)
{
    running = NULL;
}

// ---- settings -------------------------------------------------------------------------------------------------------
static bool set_endpoint(struct slice v)
{
    bool scheme = slice_find(v, SLICE("://")) >= 0;
    int n = snprintf(wanted.url, sizeof wanted.url, "%s%.*s", scheme ? "" : "http://", (int)v.n, v.p);
    const char *host = strstr(wanted.url, "://");
    if (n >= (int)sizeof wanted.url || !export_is_url(wanted.url))
        return false;
    wanted.http = strcspn(host + 3, "/?") + 1 < strlen(host + 3);
    return true;
}

const struct sonde_sampler *sampler_remote(struct slice arg, struct buf *notes)
{
    struct slice rest = arg, part;
    double share = 0.001;
    wanted.interval_ns = INT64_C(60000000000);
    set_endpoint(SLICE("http://localhost:14250"));
    while (rest.n && slice_split(&rest, ',', &part)) {
        ptrdiff_t eq = slice_find(part, SLICE("="));
        struct slice key = slice_trim(slice_cut(part, eq < 0 ? part.n : (size_t)eq));
        struct slice value = slice_trim(slice_from(part, eq < 0 ? part.n : (size_t)eq + 1));
        uint64_t ms;
        double d;
        bool ok = false;
        if (slice_eq(key, SLICE("endpoint"))) {
            ok = set_endpoint(value) || !set_endpoint(SLICE("http://localhost:14250"));
        } else if (slice_eq(key, SLICE("pollingIntervalMs"))) {
            ok = slice_to_u64(value, &ms) && ms >= 1 && ms <= 86400000;
            wanted.interval_ns = ok ? (int64_t)ms * 1000000 : wanted.interval_ns;
        } else if (slice_eq(key, SLICE("initialSamplingRate"))) {
            ok = slice_to_f64(value, &d) && share_ok(d);
            share = ok ? d : share;
        }
        if (!ok && slice_trim(part).n)
            buf_printf(
                notes,
                "sonde: OTEL_TRACES_SAMPLER_ARG: '%.*s' is left out; the sampler knows endpoint=URL, pollingIntervalMs=1 to "
                "86400000, initialSamplingRate=0 to 1\n",
                (int)slice_cut(part, 100).n, part.p);
    }
    atomic_store(&remote.threshold, threshold_of(share));
    atomic_store(&remote.kind, PROBABILISTIC);
    struct sonde_sampler *s = sampler_new(decide, "JaegerRemoteSampler");
    is_wanted = s != NULL;
    return s;
}
