// What the environment says about spans: sampler, limits, propagators (propagate.c), OTEL_SDK_DISABLED.
#include "sdk/context.h"
#include "sdk/env.h"
#include "sdk/sampler_remote.h"
#include "sdk/sdk.h"
#include <stdio.h>

enum { RATE_DEFAULT = 100 };
// OTEL_TRACES_SAMPLER; those from RATIO on are asked.
enum word {
    ON,
    OFF,
    PARENT_ON,
    PARENT_OFF,
    PARENT_RATIO,
    RATIO,
    PROBABILITY,
    PARENT_PROBABILITY,
    RATELIMITED,
    PARENT_RATELIMITED,
    JAEGER,
    PARENT_JAEGER,
    UNKNOWN,
    NONE
};
static const char *const words[UNKNOWN] = {"always_on",
                                           "always_off",
                                           "parentbased_always_on",
                                           "parentbased_always_off",
                                           "parentbased_traceidratio",
                                           "traceidratio",
                                           "probability",
                                           "parentbased_probability",
                                           "ratelimited",
                                           "parentbased_ratelimited",
                                           "jaeger_remote",
                                           "parentbased_jaeger_remote"};
static enum trace_mode env_mode = TRACE_PARENT;
static const struct sonde_sampler *env_sampler;

static struct slice value_of(const char *name)
{
    const char *v = env_get(name);
    return slice_trim(slice_str(v ? v : ""));
}

// A share of 0 to 1; otherwise a line, and false.
static bool share(struct buf *notes, const char *name, const char *instead, double *out)
{
    struct slice v = value_of(name);
    double ratio;
    if (!v.n)
        return false;
    if (slice_to_f64(v, &ratio) && ratio >= 0 && ratio <= 1) {
        *out = ratio;
        return true;
    }
    buf_printf(notes, "sonde: %s: '%.*s' is not a number from 0 to 1; %s\n", name, (int)(v.n < 100 ? v.n : 100), v.p, instead);
    return false;
}

static void use_ratio(double ratio)
{
    char th[16];
    trace.threshold = threshold_of(ratio);
    trace.state[0] = 0;
    if (trace.threshold && trace.threshold != THRESHOLD_NEVER) {
        threshold_text(th, trace.threshold);
        snprintf(trace.state, sizeof trace.state, "ot=th:%s", th);
    }
}

// New traces a second.
static double rate(struct buf *notes)
{
    struct slice v = value_of("OTEL_TRACES_SAMPLER_ARG");
    double per_second;
    if (!v.n)
        return RATE_DEFAULT;
    if (slice_to_f64(v, &per_second) && per_second >= 0)
        return per_second;
    buf_printf(notes, "sonde: OTEL_TRACES_SAMPLER_ARG: '%.*s' is not a number of traces a second; %d is used\n",
               (int)(v.n < 100 ? v.n : 100), v.p, RATE_DEFAULT);
    return RATE_DEFAULT;
}

// A sampler that has to be asked; null without memory.
static const struct sonde_sampler *asked(enum word w, double ratio, struct buf *notes)
{
    bool limited = w == RATELIMITED || w == PARENT_RATELIMITED;
    const struct sonde_sampler *s = w >= JAEGER  ? sampler_remote(value_of("OTEL_TRACES_SAMPLER_ARG"), notes)
                                    : limited    ? sonde_sampler_rate(rate(notes))
                                    : w == RATIO ? sonde_sampler_ratio(ratio)
                                                 : sonde_sampler_probability(ratio);
    bool parent = w == PARENT_RATELIMITED || w == PARENT_PROBABILITY || w == PARENT_JAEGER;
    return s && parent ? sonde_sampler_parent_based(&(struct sonde_parent_based){.root = s}) : s;
}

static enum word sampler_word(struct buf *notes)
{
    struct slice v = value_of("OTEL_TRACES_SAMPLER");
    for (int i = 0; i < UNKNOWN; i++)
        if (slice_ieq(v, slice_str(words[i])))
            return (enum word)i;
    if (v.n)
        buf_printf(notes, "sonde: OTEL_TRACES_SAMPLER: '%.*s' is not known here; parentbased_always_on is used\n",
                   (int)(v.n < 100 ? v.n : 100), v.p);
    return v.n ? UNKNOWN : NONE;
}

static void sampler(struct buf *notes)
{
    enum word w = sampler_word(notes);
    double ratio = 1;
    bool given = share(notes, "OTEL_TRACES_SAMPLE_RATIO", "all traces are sampled", &ratio);
    if (w == RATIO || w == PARENT_RATIO || w == PROBABILITY || w == PARENT_PROBABILITY)
        share(notes, "OTEL_TRACES_SAMPLER_ARG", given ? "OTEL_TRACES_SAMPLE_RATIO holds" : "1 is used", &ratio);
    use_ratio(w == PARENT_RATIO || w == NONE ? ratio : 1);
    env_mode = w == ON ? TRACE_ON : w == OFF ? TRACE_OFF : w == PARENT_OFF ? TRACE_PARENT_OFF : TRACE_PARENT;
    env_sampler = NULL;
    if (w >= RATIO && w < UNKNOWN) {
        env_sampler = asked(w, ratio, notes);
        env_mode = env_sampler ? TRACE_ASK : TRACE_ON;
    }
}

static unsigned quick_now(void)
{
    enum trace_mode mode = atomic_load(&trace.mode);
    if (trace.keep_errors || trace.disabled || atomic_load(&trace.ids) || sdk.phase == SDK_STOPPED || sdk.span_events ||
        __atomic_load_n(&level_now.max_span_level, __ATOMIC_SEQ_CST))
        return 0;
    return mode == TRACE_PARENT ? TRACE_QUICK_CHILD : mode == TRACE_PARENT_OFF || mode == TRACE_OFF ? 3 : 0;
}

// Several threads may change what it is made of: who stores last has looked last.
void trace_refresh(void)
{
    unsigned quick;
    do
        __atomic_store_n(&trace.quick, quick = quick_now(), __ATOMIC_SEQ_CST);
    while (quick != quick_now());
}

void sonde_sampler_set(const struct sonde_sampler *s)
{
    atomic_store_explicit(&trace.sampler, s ? s : env_sampler, memory_order_release);
    atomic_store_explicit(&trace.mode, s ? TRACE_ASK : env_mode, memory_order_release);
    trace_refresh();
}

// A number from the first of the names that has one.
static uint32_t limit(struct buf *notes, const char *name, const char *general, uint32_t otherwise)
{
    const char *names[] = {name, general};
    for (int i = 0; i < 2; i++) {
        struct slice v = names[i] ? value_of(names[i]) : SLICE_NONE;
        uint64_t n;
        if (!v.n)
            continue;
        if (slice_to_u64(v, &n))
            return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
        buf_printf(notes, "sonde: %s: '%.*s' is not a number; the default holds\n", names[i], (int)(v.n < 100 ? v.n : 100), v.p);
    }
    return otherwise;
}

static void limits(struct buf *notes)
{
    const char *count = "OTEL_ATTRIBUTE_COUNT_LIMIT";
    span_limits.fields = limit(notes, "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", count, 128);
    span_limits.value_length =
        limit(notes, "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", UINT32_MAX);
    span_limits.events = limit(notes, "OTEL_SPAN_EVENT_COUNT_LIMIT", NULL, 128);
    span_limits.links = limit(notes, "OTEL_SPAN_LINK_COUNT_LIMIT", NULL, 128);
    span_limits.event_fields = limit(notes, "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", count, 128);
    span_limits.link_fields = limit(notes, "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", count, 128);
}

void trace_configure(struct buf *notes)
{
    trace.disabled = slice_ieq(value_of("OTEL_SDK_DISABLED"), SLICE("true"));
    trace.keep_errors = env_on("SONDE_TRACES_KEEP_ERRORS");
    limits(notes);
    const struct sonde_sampler *before = env_sampler;
    sampler(notes);
    const struct sonde_sampler *now = atomic_load(&trace.sampler);
    if (!now || now == before) // not the application's own
        sonde_sampler_set(NULL);
    trace_refresh();
    propagate_configure(notes);
}
