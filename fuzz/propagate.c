// Every propagator on headers as they come from any client. Input: lines "name: value". What is understood must come out again in
// a form that means the same, and members of a tracestate may be edited without harm.
#include "sdk/context.h"
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LINES = 24, TEXT = 9000 };
struct headers {
    char name[LINES][128];
    char *value[LINES];
    size_t length[LINES], n;
};

static const char *get(void *carrier, const char *name, int nth, size_t *len)
{
    struct headers *h = carrier;
    for (size_t i = 0; i < h->n; i++) {
        if (slice_ieq(slice_str(h->name[i]), slice_str(name)) && nth-- == 0) {
            *len = h->length[i];
            return h->value[i];
        }
    }
    return NULL;
}

static const char *keys(void *carrier, int nth)
{
    struct headers *h = carrier;
    return (size_t)nth < h->n ? h->name[nth] : NULL;
}

static void set(void *carrier, const char *name, const char *value, size_t len)
{
    struct headers *h = carrier;
    for (size_t i = 0; i < len; i++)
        if (((unsigned char)value[i] < 0x20 && value[i] != '\t') || (unsigned char)value[i] == 0x7f)
            abort(); // a header that could break out of its line
    if (len >= TEXT)
        abort();
    if (h->n == LINES)
        return;
    snprintf(h->name[h->n], sizeof h->name[0], "%s", name);
    h->value[h->n] = malloc(len + 1);
    memcpy(h->value[h->n], value, len);
    h->length[h->n++] = len;
}

static void forget(struct headers *h)
{
    while (h->n)
        free(h->value[--h->n]);
}

static void one(const char *with, struct headers *in)
{
    const struct sonde_propagator *p = sonde_propagator_named(with);
    static struct headers out;
    struct sonde_context a = {{0}}, b = {{0}};
    struct sonde_baggage *m = sonde_baggage_new();
    struct sonde_carrier from = {get, set, keys, in}, to = {get, set, keys, &out};
    p->extract(p, &a, m, &from);
    p->inject(p, &a, m, &to);
    p->extract(p, &b, NULL, &to);
    // ottrace keeps half of the trace id
    if (sonde_context_valid(&a) && strcmp(with, "ottrace") != 0 &&
        (memcmp(a.trace_id, b.trace_id, 24) != 0 || ((a.flags ^ b.flags) & 1) || strcmp(a.tracestate, b.tracestate) != 0))
        abort();
    sonde_tracestate_set(&a, "ot", "th:8");
    sonde_tracestate_set(&a, "mine", NULL);
    if (strlen(a.tracestate) > 512)
        abort();
    sonde_baggage_free(m);
    forget(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const all[] = {"tracecontext", "baggage", "b3", "b3multi", "jaeger", "ottrace", "xray"};
    struct headers in = {.n = 0};
    struct slice rest = slice_of(data, size), part;
    while (in.n < LINES && slice_split(&rest, '\n', &part)) {
        const char *colon = memchr(part.p, ':', part.n);
        size_t at = colon ? (size_t)(colon - part.p) : part.n;
        snprintf(in.name[in.n], sizeof in.name[0], "%.*s", (int)(at < 127 ? at : 127), part.p ? part.p : "");
        struct slice v = slice_from(part, at + 1);
        in.value[in.n] = malloc(v.n + 1);
        memcpy(in.value[in.n], v.n ? v.p : "", v.n);
        in.length[in.n++] = v.n;
    }
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        one(all[i], &in);
    struct sonde_context c;
    sonde_extract_binary(&c, data, size);
    forget(&in);
    return 0;
}
