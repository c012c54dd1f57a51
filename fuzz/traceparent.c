// traceparent, tracestate and x-request-id as they come from any client. Input: the three values, one a line (a second tracestate
// may follow). What is accepted must come out again in valid form, and be accepted again unchanged.
#include "sdk/context.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct values {
    struct slice line[4];
};

static const char *get(void *carrier, const char *name, int nth, size_t *len)
{
    struct values *v = carrier;
    int i = strcmp(name, "traceparent") == 0 ? 0 : strcmp(name, "tracestate") == 0 ? (nth ? 3 : 1) : 2;
    if ((nth && i != 3) || nth > 1 || (i == 2 && strcmp(name, "x-request-id") != 0) || !v->line[i].p)
        return NULL;
    *len = v->line[i].n;
    return v->line[i].p;
}

static char sent[3][600];

static void set(void *carrier, const char *name, const char *value, size_t len)
{
    int i = strcmp(name, "traceparent") == 0 ? 0 : strcmp(name, "tracestate") == 0 ? 1 : 2;
    struct values *v = carrier;
    if (len >= sizeof sent[0])
        abort();
    memcpy(sent[i], value, len);
    v->line[i] = slice_of(sent[i], len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct values in = {{{0}}}, out = {{{0}}};
    struct slice rest = slice_of(data, size), part;
    for (int i = 0; i < 4 && slice_split(&rest, '\n', &part); i++)
        in.line[i] = part;
    struct sonde_context a, b;
    bool valid = sonde_extract(&a, get, &in);
    if (a.request_id[0] && !request_id_valid(slice_str(a.request_id)))
        abort();
    sonde_inject(&a, set, &out);
    bool again = sonde_extract(&b, get, &out);
    if (again != valid || memcmp(a.trace_id, b.trace_id, 16) != 0 || memcmp(a.span_id, b.span_id, 8) != 0 || a.flags != b.flags ||
        strcmp(a.tracestate, b.tracestate) != 0 || strcmp(a.request_id, b.request_id) != 0)
        abort();
    return 0;
}
