// The samplers of sonde/sampler.h. All of them live in one list, so that nothing is ever freed under a span that starts.
#include "sdk/sampler.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "sdk/context.h"
#include <math.h>
#include <stdio.h>

static _Atomic(struct sonde_sampler *) all;

struct sonde_sampler *sampler_new(sampler_fn *fn, const char *description)
{
    struct sonde_sampler *s = mem_zalloc(sizeof *s);
    if (!s)
        return NULL;
    s->fn = fn;
    snprintf(s->description, sizeof s->description, "%s", description);
    s->next = atomic_load(&all);
    while (!atomic_compare_exchange_weak(&all, &s->next, s)) {
    }
    return s;
}

static bool has_parent(const struct sonde_sample_in *in)
{
    return sonde_context_valid(in->parent);
}

// ---- thresholds -----------------------------------------------------------------------------------------------------
uint64_t threshold_of(double ratio)
{
    if (!(ratio > 0))
        return THRESHOLD_NEVER;
    return ratio >= 1 ? 0 : (uint64_t)llround((1 - ratio) * 0x1p56);
}

void threshold_text(char out[16], uint64_t threshold)
{
    snprintf(out, 16, "%014llx", (unsigned long long)(threshold & (THRESHOLD_NEVER - 1)));
    size_t n = 14;
    while (n > 1 && out[n - 1] == '0')
        n--;
    out[n] = 0;
}

bool threshold_parse(struct slice text, uint64_t *out)
{
    if (!text.n || text.n > 14)
        return false;
    *out = 0;
    for (size_t i = 0; i < 14; i++) {
        char c = i < text.n ? text.p[i] : '0';
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        *out = *out << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return true;
}

uint64_t trace_randomness(const uint8_t trace_id[16])
{
    uint64_t r = 0;
    for (int i = 9; i < 16; i++)
        r = r << 8 | trace_id[i];
    return r;
}

// A value "th:…;rv:…" of the member ot.
static bool ot_get(const char *state, struct slice key, uint64_t *out, bool whole)
{
    char value[257];
    if (!tracestate_find(state, SLICE("ot"), value, sizeof value))
        return false;
    struct slice rest = slice_str(value), part;
    while (slice_split(&rest, ';', &part))
        if (slice_starts(part, key) && part.n > key.n && part.p[key.n] == ':' && (!whole || part.n == key.n + 15))
            return threshold_parse(slice_from(part, key.n + 1), out);
    return false;
}

bool ot_randomness(const char *state, uint64_t *out)
{
    return ot_get(state, SLICE("rv"), out, true);
}
bool ot_threshold(const char *state, uint64_t *out)
{
    return ot_get(state, SLICE("th"), out, false);
}

void ot_set_threshold(char state[513], uint64_t threshold, bool known)
{
    char value[257], th[16], made[300] = "";
    size_t n = 0;
    bool was = tracestate_find(state, SLICE("ot"), value, sizeof value);
    struct slice rest = was ? slice_str(value) : SLICE_NONE, part;
    if (known) {
        threshold_text(th, threshold);
        n = (size_t)snprintf(made, sizeof made, "th:%s", th);
    }
    while (was && slice_split(&rest, ';', &part))
        if (part.n && !slice_starts(part, SLICE("th:")) && n + part.n + 1 <= 256)
            n += (size_t)snprintf(made + n, sizeof made - n, "%s%.*s", n ? ";" : "", (int)part.n, part.p);
    if (n || was)
        sonde_tracestate_edit(state, "ot", n ? made : NULL);
}

// ---- simple ones ----------------------------------------------------------------------------------------------------
static enum sonde_decision on(const struct sonde_sampler *s, const struct sonde_sample_in *in, struct sonde_sample_out *out)
{
    (void)s, (void)in, (void)out;
    return SONDE_RECORD_SAMPLE;
}
static enum sonde_decision off(const struct sonde_sampler *s, const struct sonde_sample_in *in, struct sonde_sample_out *out)
{
    (void)s, (void)in, (void)out;
    return SONDE_DROP;
}

const struct sonde_sampler *sonde_sampler_always_on(void)
{
    static const struct sonde_sampler s = {.fn = on, .description = "AlwaysOnSampler"};
    return &s;
}
const struct sonde_sampler *sonde_sampler_always_off(void)
{
    static const struct sonde_sampler s = {.fn = off, .description = "AlwaysOffSampler"};
    return &s;
}

static enum sonde_decision by_ratio(const struct sonde_sampler *s, const struct sonde_sample_in *in, struct sonde_sample_out *out)
{
    uint64_t r = trace_randomness(in->trace_id);
    if (s->explicit_randomness)
        ot_randomness(out->tracestate, &r);
    bool pass = r >= s->threshold;
    ot_set_threshold(out->tracestate, s->threshold, pass);
    return pass ? SONDE_RECORD_SAMPLE : SONDE_DROP;
}

static const struct sonde_sampler *ratio_new(double ratio, const char *name, bool explicit_randomness)
{
    char text[64];
    snprintf(text, sizeof text, "%s{%g}", name, ratio);
    struct sonde_sampler *s = sampler_new(by_ratio, text);
    if (s) {
        s->threshold = threshold_of(ratio);
        s->explicit_randomness = explicit_randomness;
    }
    return s;
}
const struct sonde_sampler *sonde_sampler_ratio(double ratio)
{
    return ratio_new(ratio, "TraceIdRatioBased", false);
}
const struct sonde_sampler *sonde_sampler_probability(double ratio)
{
    return ratio_new(ratio, "ProbabilitySampler", true);
}

// The bucket as a time: when it will be full again. One compare-and-swap a decision.
bool sampler_bucket(_Atomic int64_t *full_at, int64_t interval_ns)
{
    int64_t now = clock_mono_ns(), full = atomic_load_explicit(full_at, memory_order_relaxed), next;
    int64_t burst_ns = interval_ns > 1000000000 ? interval_ns : 1000000000;
    do {
        next = (full > now ? full : now) + interval_ns;
        if (next > now + burst_ns)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(full_at, &full, next, memory_order_relaxed, memory_order_relaxed));
    return true;
}

static enum sonde_decision by_rate(const struct sonde_sampler *s, const struct sonde_sample_in *in, struct sonde_sample_out *out)
{
    (void)in, (void)out;
    struct sonde_sampler *mine = (struct sonde_sampler *)(uintptr_t)s;
    return sampler_bucket(&mine->full_at, s->interval_ns) ? SONDE_RECORD_SAMPLE : SONDE_DROP;
}

const struct sonde_sampler *sonde_sampler_rate(double per_second)
{
    char text[64];
    if (!(per_second > 0))
        return sonde_sampler_always_off();
    snprintf(text, sizeof text, "RateLimitingSampler{%g}", per_second);
    struct sonde_sampler *s = sampler_new(by_rate, text);
    if (s)
        s->interval_ns = per_second > 1e9 ? 1 : per_second < 1e-9 ? INT64_MAX / 4 : (int64_t)(1e9 / per_second);
    return s;
}

// ---- around others --------------------------------------------------------------------------------------------------
static enum sonde_decision by_parent(const struct sonde_sampler *s, const struct sonde_sample_in *in,
                                     struct sonde_sample_out *out)
{
    int which = !has_parent(in) ? 0 : in->parent->remote ? (in->parent->flags & 1 ? 1 : 2) : in->parent->flags & 1 ? 3 : 4;
    return s->inner[which]->fn(s->inner[which], in, out);
}

const struct sonde_sampler *sonde_sampler_parent_based(const struct sonde_parent_based *p)
{
    static const struct sonde_parent_based none;
    const struct sonde_sampler *yes = sonde_sampler_always_on(), *no = sonde_sampler_always_off();
    p = p ? p : &none;
    const struct sonde_sampler *inner[] = {
        p->root ? p->root : yes, p->remote_sampled ? p->remote_sampled : yes, p->remote_not_sampled ? p->remote_not_sampled : no,
        p->local_sampled ? p->local_sampled : yes, p->local_not_sampled ? p->local_not_sampled : no};
    char text[sizeof((struct sonde_sampler *)0)->description];
    snprintf(text, sizeof text,
             "ParentBased{root:%.40s,remoteParentSampled:%.40s,remoteParentNotSampled:%.40s,localParentSampled:%.40s,"
             "localParentNotSampled:%.40s}",
             inner[0]->description, inner[1]->description, inner[2]->description, inner[3]->description, inner[4]->description);
    struct sonde_sampler *s = sampler_new(by_parent, text);
    if (s)
        memcpy(s->inner, inner, sizeof inner);
    return s;
}

static enum sonde_decision record(const struct sonde_sampler *s, const struct sonde_sample_in *in, struct sonde_sample_out *out)
{
    enum sonde_decision d = s->inner[0]->fn(s->inner[0], in, out);
    return d == SONDE_DROP ? SONDE_RECORD_ONLY : d;
}

const struct sonde_sampler *sonde_sampler_always_record(const struct sonde_sampler *inner)
{
    char text[300];
    snprintf(text, sizeof text, "AlwaysRecord{%.250s}", inner->description);
    struct sonde_sampler *s = sampler_new(record, text);
    if (s)
        s->inner[0] = inner;
    return s;
}

static enum sonde_decision custom(const struct sonde_sampler *s, const struct sonde_sample_in *in, struct sonde_sample_out *out)
{
    return s->custom(s->arg, in, out);
}

const struct sonde_sampler *sonde_sampler_custom(const char *description, sonde_sample_fn *fn, void *arg)
{
    struct sonde_sampler *s = sampler_new(custom, description ? description : "Custom");
    if (s) {
        s->custom = fn;
        s->arg = arg;
    }
    return s;
}

const char *sonde_sampler_description(const struct sonde_sampler *s)
{
    return s->description;
}

enum sonde_decision sonde_sampler_ask(const struct sonde_sampler *s, const struct sonde_sample_in *in,
                                      struct sonde_sample_out *out)
{
    return s->fn(s, in, out);
}
