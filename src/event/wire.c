// The door of all decoders: formats by number, reports, and what decoders share.
#include "base/limits.h"
#include "base/utf8.h"
#include "event/decode.h"
#include <stdio.h>
#include <stdlib.h>

enum signal wire_signal(enum wire_format f)
{
    switch (f) {
#define X(name, number, signal, text) \
    case WIRE_##name:                 \
        return signal;
        WIRE_LIST(X)
#undef X
    }
    return SIGNAL_LOG;
}

const char *wire_text(enum wire_format f)
{
    switch (f) {
#define X(name, number, signal, text) \
    case WIRE_##name:                 \
        return text;
        WIRE_LIST(X)
#undef X
    }
    return NULL;
}

void decode_reject(struct decode *d, uint32_t n, const char *fmt, ...)
{
    struct wire_report *r = d->report;
    r->rejected += n;
    if (!n || r->n_reasons == sizeof r->reason / sizeof *r->reason)
        return;
    va_list ap;
    va_start(ap, fmt);
    char *text = r->reason[r->n_reasons++];
    vsnprintf(text, sizeof *r->reason, fmt, ap);
    va_end(ap);
    text[utf8_valid_prefix(slice_str(text))] = 0; // a character cut in two at the end
}

int decode_shown(struct slice s)
{
    size_t n = s.n < 60 ? s.n : 60;
    while (n < s.n && n && ((uint8_t)s.p[n] & 0xc0) == 0x80)
        n--;
    return (int)n;
}

struct slice decode_text(struct decode *d, struct slice s)
{
    if (utf8_valid(s))
        return s;
    struct buf clean;
    buf_init(&clean, MAX_HTTP_BODY * 3); // each bad byte becomes three
    utf8_append_clean(&clean, s);
    if (clean.err != ERR_OK)
        d->b->failed = true;
    struct slice out = batch_dup(d->b, buf_slice(&clean));
    buf_free(&clean);
    return out.p ? out : SLICE("");
}

void decode_part(struct decode *d, struct pb *r, struct slice part)
{
    pb_init(r, part, d->err);
    uintptr_t at = (uintptr_t)part.p, start = (uintptr_t)d->bytes.p;
    if (at >= start && at - start <= d->bytes.n)
        r->start = (const uint8_t *)d->bytes.p;
}

void decode_merge(struct decode *d, struct slice *have, struct slice more)
{
    if (!have->n) {
        *have = more;
        return;
    }
    if (have->p + have->n == more.p) { // already one behind the other: kept raw fields
        have->n += more.n;
        return;
    }
    char *p = arena_alloc(&d->b->arena, have->n + more.n);
    if (!p) {
        d->b->failed = true;
        return;
    }
    memcpy(p, have->p, have->n);
    if (more.n)
        memcpy(p + have->n, more.p, more.n);
    *have = slice_of(p, have->n + more.n);
}

static bool decode_format(struct decode *d, enum wire_format f)
{
    switch (f) {
    case WIRE_OTLP_LOGS_PB:
    case WIRE_OTLP_TRACES_PB:
    case WIRE_OTLP_METRICS_PB:
        return decode_otlp(d, d->bytes);
    case WIRE_OTLP_LOGS_JSON:
    case WIRE_OTLP_TRACES_JSON:
    case WIRE_OTLP_METRICS_JSON:
        return decode_otlp_json(d, d->bytes);
    case WIRE_LOKI_PB:
        return decode_loki_pb(d, d->bytes);
    case WIRE_LOKI_JSON:
        return decode_loki_json(d, d->bytes);
    case WIRE_WRITE1:
        return decode_write1(d, d->bytes);
    case WIRE_WRITE2:
        return decode_write2(d, d->bytes);
    case WIRE_METRICS_TEXT:
        return decode_metrics_text(d, d->bytes);
    }
    ERR(d->err, UNSUPPORTED, "unknown wire format number %d; this request was written by a newer version", (int)f);
    return false;
}

enum errc wire_decode(enum wire_format f, struct slice bytes, bool keep, const struct wire_options *opt, struct batch **out,
                      struct wire_report *report, struct error *err)
{
    struct wire_report unasked;
    struct error local = {0};
    bytes = bytes.n ? bytes : SLICE(""); // an empty request may come as a null pointer
    struct batch *b = batch_new(wire_signal(f), MAX_BATCH_MEMORY);
    *out = NULL;
    if (!b)
        return ERR(err, NOMEM, "no memory to decode a request of %zu bytes", bytes.n);
    struct decode d = {.b = b, .bytes = bytes, .opt = opt, .report = report ? report : &unasked, .err = &local};
    *d.report = (struct wire_report){0};
    if (!keep)
        d.bytes = batch_dup(b, bytes);
    bool ok = !b->failed && decode_format(&d, f);
    if (ok)
        decode_metadata_rows(&d);
    if (ok && batch_seal(b)) {
        if (b->signal != SIGNAL_SAMPLE) // there the decoder counts: a data point of a histogram is many rows
            d.report->accepted = b->rows;
        *out = b;
        return ERR_OK;
    }
    bool memory = b->failed || arena_failed(&b->arena);
    batch_unref(b);
    if (memory)
        return ERR(err, LIMIT, "the request (%zu bytes) needs more than %zu MiB of memory once decoded; send smaller batches",
                   bytes.n, MAX_BATCH_MEMORY >> 20);
    if (local.code == ERR_OK)
        return ERR(err, BUG, "%s request of %zu bytes failed to decode without a reason", wire_text(f), bytes.n);
    return error_raise(err, local.code, local.file, local.line, "%s: %s", wire_text(f), local.msg);
}
