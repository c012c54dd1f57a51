// The formats of other tracers: B3 (Zipkin), Jaeger, OpenTracing, X-Ray, OpenCensus binary. Ids shorter than 128 bits are filled
// up with zeros at the left. A sender that leaves the sampling decision open is taken as sampled.
#include "sdk/propagate.h"
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

// 1 to 2n hex digits of either case.
static bool read_id(struct slice text, uint8_t *out, size_t n)
{
    char digits[32];
    if (!text.n || text.n > 2 * n)
        return false;
    memset(digits, '0', 2 * n);
    memcpy(digits + 2 * n - text.n, text.p, text.n);
    return hex_decode(out, n, slice_of(digits, 2 * n));
}

static bool take(struct sonde_context *out, struct slice trace, struct slice span, uint8_t flags)
{
    struct sonde_context c = {{0}};
    if (!read_id(trace, c.trace_id, 16) || !read_id(span, c.span_id, 8) || !sonde_context_valid(&c))
        return false;
    memcpy(out->trace_id, c.trace_id, 16);
    memcpy(out->span_id, c.span_id, 8);
    out->flags = flags;
    out->remote = true;
    out->tracestate[0] = 0;
    return true;
}

struct ids {
    char trace[33], span[17];
};
static struct ids text_of(const struct sonde_context *c)
{
    struct ids t = {{0}};
    hex_encode(t.trace, c->trace_id, 16);
    hex_encode(t.span, c->span_id, 8);
    return t;
}

// ---- B3 -------------------------------------------------------------------------------------------------------------
static bool exact(struct slice trace, struct slice span)
{
    return (trace.n == 16 || trace.n == 32) && span.n == 16;
}

enum { DEBUG = 4 | 1 }; // which is sampled as well

static bool yes(struct slice v)
{
    return slice_eq(v, SLICE("1")) || slice_eq(v, SLICE("d")) || slice_ieq(v, SLICE("true"));
}

static bool b3_single(struct sonde_context *out, struct slice v)
{
    struct slice part[4] = {{0}}, rest = v;
    int n = 0;
    while (n < 4 && slice_split(&rest, '-', &part[n]))
        n++;
    if (n < 2 || rest.p || !exact(part[0], part[1]))
        return false;
    return take(out, part[0], part[1], slice_eq(part[2], SLICE("d")) ? DEBUG : n < 3 || yes(part[2]));
}

static bool b3_extract(const struct sonde_propagator *p, struct sonde_context *out, struct sonde_baggage *b,
                       const struct sonde_carrier *from)
{
    (void)p, (void)b;
    struct slice single = carrier_get(from, "b3");
    if (single.p && b3_single(out, single))
        return true;
    struct slice trace = carrier_get(from, "x-b3-traceid"), span = carrier_get(from, "x-b3-spanid");
    struct slice sampled = carrier_get(from, "x-b3-sampled"), debug = carrier_get(from, "x-b3-flags");
    return exact(trace, span) && take(out, trace, span, slice_eq(debug, SLICE("1")) ? DEBUG : !sampled.n || yes(sampled));
}

static void b3_inject(const struct sonde_propagator *p, const struct sonde_context *c, const struct sonde_baggage *b,
                      const struct sonde_carrier *to)
{
    (void)p, (void)b;
    char text[64];
    if (!sonde_context_valid(c))
        return;
    struct ids t = text_of(c);
    snprintf(text, sizeof text, "%s-%s-%c", t.trace, t.span, (c->flags & DEBUG) == DEBUG ? 'd' : '0' + (c->flags & 1));
    carrier_set(to, "b3", text);
}

static void b3multi_inject(const struct sonde_propagator *p, const struct sonde_context *c, const struct sonde_baggage *b,
                           const struct sonde_carrier *to)
{
    (void)p, (void)b;
    if (!sonde_context_valid(c))
        return;
    struct ids t = text_of(c);
    carrier_set(to, "x-b3-traceid", t.trace);
    carrier_set(to, "x-b3-spanid", t.span);
    if ((c->flags & DEBUG) == DEBUG) // says the other one too
        carrier_set(to, "x-b3-flags", "1");
    else
        carrier_set(to, "x-b3-sampled", c->flags & 1 ? "1" : "0");
}

static const char *const b3_fields[] = {"b3", NULL};
static const char *const b3multi_fields[] = {"x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "x-b3-flags", NULL};
const struct sonde_propagator propagate_b3 = {"b3", b3_fields, b3_extract, b3_inject, NULL};
const struct sonde_propagator propagate_b3multi = {"b3multi", b3multi_fields, b3_extract, b3multi_inject, NULL};

// ---- baggage in headers of its own: PREFIXname: value ---------------------------------------------------------------
static void prefixed_extract(struct sonde_baggage *b, const struct sonde_carrier *from, struct slice prefix)
{
    const char *name;
    for (int i = 0; b && from->keys && i < 1000 && (name = from->keys(from->arg, i)); i++) {
        struct slice n = slice_str(name);
        if (n.n <= prefix.n || !slice_ieq(slice_cut(n, prefix.n), prefix))
            continue;
        char value[BAGGAGE_BYTES + 1], key[256];
        struct slice v = carrier_get(from, name);
        size_t o = 0;
        for (size_t k = 0; k < v.n && o < BAGGAGE_BYTES; k++) {
            uint8_t byte;
            bool escape = v.p[k] == '%' && v.n - k > 2 && hex_decode(&byte, 1, slice_of(v.p + k + 1, 2)) && byte;
            value[o++] = escape ? (char)byte : v.p[k];
            k += escape ? 2 : 0;
        }
        value[o] = 0;
        snprintf(key, sizeof key, "%s", name + prefix.n);
        if (sonde_baggage_count(b) < BAGGAGE_MEMBERS)
            sonde_baggage_set(b, key, value, NULL);
    }
}

// Names of headers do not tell capitals apart, nor does a header of that name come twice.
static bool told_later(const struct sonde_baggage *b, size_t i, const char *name)
{
    struct sonde_baggage_member m;
    while (++i < BAGGAGE_MEMBERS && sonde_baggage_at(b, i, &m))
        if (strcasecmp(m.name, name) == 0)
            return true;
    return false;
}

// A header for each member, or none: a part of a value would be another one.
static void prefixed_inject(const struct sonde_baggage *b, const struct sonde_carrier *to, const char *prefix)
{
    struct sonde_baggage_member m;
    for (size_t i = 0; i < BAGGAGE_MEMBERS && sonde_baggage_at(b, i, &m); i++) {
        char name[300], value[3 * 1024 + 1];
        size_t o = 0;
        bool plain = true; // a header's name has only these
        for (const char *k = m.name; *k; k++)
            plain = plain && *k > 0x20 && *k < 0x7f && !strchr("()<>@,;:\\\"/[]?={}", *k);
        snprintf(name, sizeof name, "%s%.200s", prefix, m.name);
        const char *v = m.value;
        for (; *v && o + 3 < sizeof value; v++) {
            if (*v > 0x20 && *v < 0x7f && *v != '%')
                value[o++] = *v;
            else
                o += (size_t)snprintf(value + o, 4, "%%%02X", (uint8_t)*v);
        }
        value[o] = 0;
        if (plain && !*v && strlen(m.name) <= 200 && !told_later(b, i, m.name))
            carrier_set(to, name, value);
    }
}

// ---- Jaeger: trace:span:parent:flags --------------------------------------------------------------------------------
static bool jaeger_extract(const struct sonde_propagator *p, struct sonde_context *out, struct sonde_baggage *b,
                           const struct sonde_carrier *from)
{
    (void)p;
    char text[128];
    size_t o = 0;
    struct slice v = carrier_get(from, "uber-trace-id"), part[4], rest;
    prefixed_extract(b, from, SLICE("uberctx-"));
    for (size_t i = 0; i < v.n && o < sizeof text; i++) { // some senders escape the colons
        bool colon = v.n - i > 2 && (memcmp(v.p + i, "%3A", 3) == 0 || memcmp(v.p + i, "%3a", 3) == 0);
        text[o++] = colon ? ':' : v.p[i];
        i += colon ? 2 : 0;
    }
    rest = slice_of(text, o);
    int n = 0;
    while (n < 4 && slice_split(&rest, ':', &part[n]))
        n++;
    uint8_t flags;
    return n == 4 && !rest.p && read_id(part[3], &flags, 1) && take(out, part[0], part[1], flags & 1);
}

static void jaeger_inject(const struct sonde_propagator *p, const struct sonde_context *c, const struct sonde_baggage *b,
                          const struct sonde_carrier *to)
{
    (void)p;
    char text[80];
    if (sonde_context_valid(c)) {
        struct ids t = text_of(c);
        snprintf(text, sizeof text, "%s:%s:0:%d", t.trace, t.span, c->flags & 1);
        carrier_set(to, "uber-trace-id", text);
    }
    prefixed_inject(b, to, "uberctx-");
}

static const char *const jaeger_fields[] = {"uber-trace-id", NULL};
const struct sonde_propagator propagate_jaeger = {"jaeger", jaeger_fields, jaeger_extract, jaeger_inject, NULL};

// ---- OpenTracing's basic tracers ------------------------------------------------------------------------------------
static bool ot_extract(const struct sonde_propagator *p, struct sonde_context *out, struct sonde_baggage *b,
                       const struct sonde_carrier *from)
{
    (void)p;
    prefixed_extract(b, from, SLICE("ot-baggage-"));
    struct slice trace = carrier_get(from, "ot-tracer-traceid"), span = carrier_get(from, "ot-tracer-spanid");
    struct slice sampled = carrier_get(from, "ot-tracer-sampled");
    return exact(trace, span) && take(out, trace, span, !sampled.n || yes(sampled));
}

static void ot_inject(const struct sonde_propagator *p, const struct sonde_context *c, const struct sonde_baggage *b,
                      const struct sonde_carrier *to)
{
    (void)p;
    if (sonde_context_valid(c)) {
        struct ids t = text_of(c);
        carrier_set(to, "ot-tracer-traceid", t.trace + 16); // 64 bits there
        carrier_set(to, "ot-tracer-spanid", t.span);
        carrier_set(to, "ot-tracer-sampled", c->flags & 1 ? "true" : "false");
    }
    prefixed_inject(b, to, "ot-baggage-");
}

static const char *const ot_fields[] = {"ot-tracer-traceid", "ot-tracer-spanid", "ot-tracer-sampled", NULL};
const struct sonde_propagator propagate_ottrace = {"ottrace", ot_fields, ot_extract, ot_inject, NULL};

// ---- X-Ray: Root=1-8 digits-24 digits;Parent=16 digits;Sampled=1 ----------------------------------------------------
static bool xray_extract(const struct sonde_propagator *p, struct sonde_context *out, struct sonde_baggage *b,
                         const struct sonde_carrier *from)
{
    (void)p, (void)b;
    struct slice rest = carrier_get(from, "x-amzn-trace-id"), part, parent = SLICE_NONE;
    char trace[32];
    bool root = false, sampled = true;
    while (rest.n && slice_split(&rest, ';', &part)) {
        part = context_trim(part);
        if (slice_starts(part, SLICE("Root=1-")) && part.n == 40 && part.p[15] == '-') {
            memcpy(trace, part.p + 7, 8);
            memcpy(trace + 8, part.p + 16, 24);
            root = true;
        } else if (slice_starts(part, SLICE("Parent=")) && part.n == 23) {
            parent = slice_from(part, 7);
        } else if (slice_starts(part, SLICE("Sampled="))) {
            sampled = !slice_eq(slice_from(part, 8), SLICE("0"));
        }
    }
    return root && take(out, slice_of(trace, 32), parent, sampled);
}

static void xray_inject(const struct sonde_propagator *p, const struct sonde_context *c, const struct sonde_baggage *b,
                        const struct sonde_carrier *to)
{
    (void)p, (void)b;
    char text[96];
    if (!sonde_context_valid(c))
        return;
    struct ids t = text_of(c);
    snprintf(text, sizeof text, "Root=1-%.8s-%s;Parent=%s;Sampled=%d", t.trace, t.trace + 8, t.span, c->flags & 1);
    carrier_set(to, "x-amzn-trace-id", text);
}

static const char *const xray_fields[] = {"x-amzn-trace-id", NULL};
const struct sonde_propagator propagate_xray = {"xray", xray_fields, xray_extract, xray_inject, NULL};

// ---- OpenCensus: version 0, then fields: 0 trace id, 1 span id, 2 options -------------------------------------------
size_t sonde_inject_binary(const struct sonde_context *c, uint8_t out[29])
{
    if (!sonde_context_valid(c))
        return 0;
    out[0] = out[1] = 0;
    memcpy(out + 2, c->trace_id, 16);
    out[18] = 1;
    memcpy(out + 19, c->span_id, 8);
    out[27] = 2;
    out[28] = c->flags & 1;
    return 29;
}

bool sonde_extract_binary(struct sonde_context *out, const uint8_t *p, size_t n)
{
    struct sonde_context c = {{0}};
    if (n < 1 || p[0] != 0)
        return false;
    for (size_t at = 1; at < n;) { // a field that is not known ends the list: its length is not known either
        size_t size = p[at] == 0 ? 16 : p[at] == 1 ? 8 : p[at] == 2 ? 1 : 0;
        if (!size || n - at - 1 < size)
            break;
        memcpy(p[at] == 0 ? c.trace_id : p[at] == 1 ? c.span_id : &c.flags, p + at + 1, size);
        at += 1 + size;
    }
    c.flags &= 1;
    c.remote = true;
    if (!sonde_context_valid(&c))
        return false;
    *out = c;
    return true;
}
