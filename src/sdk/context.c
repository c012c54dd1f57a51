#include "sdk/context.h"
#include "base/hash.h"

// ---- traceparent ------------------------------------------------------------------------------------------------------
static bool lower_hex(struct slice s, void *out, size_t n)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] >= 'A' && s.p[i] <= 'F')
            return false;
    return hex_decode(out, n, s);
}

static bool all_zero(const uint8_t *p, size_t n)
{
    uint8_t any = 0;
    for (size_t i = 0; i < n; i++)
        any |= p[i];
    return any == 0;
}

static struct slice trim_ows(struct slice s)
{
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = slice_from(s, 1);
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

bool traceparent_parse(struct sonde_context *out, struct slice v)
{
    uint8_t version, flags, trace[16], span[8];
    v = trim_ows(v);
    if (v.n < 55 || v.p[2] != '-' || v.p[35] != '-' || v.p[52] != '-')
        return false;
    if (!lower_hex(slice_of(v.p, 2), &version, 1) || version == 0xff)
        return false;
    // A later version may carry more behind another '-'; version 00 may not.
    if (v.n > 55 && (version == 0 || v.p[55] != '-'))
        return false;
    if (!lower_hex(slice_of(v.p + 3, 32), trace, 16) || !lower_hex(slice_of(v.p + 36, 16), span, 8) ||
        !lower_hex(slice_of(v.p + 53, 2), &flags, 1))
        return false;
    if (all_zero(trace, 16) || all_zero(span, 8))
        return false;
    memcpy(out->trace_id, trace, 16);
    memcpy(out->span_id, span, 8);
    out->flags = flags & 3; // sampled, random; all others are sent as zero
    return true;
}

// ---- tracestate -------------------------------------------------------------------------------------------------------
static bool key_ok(struct slice k)
{
    if (k.n == 0 || k.n > 256)
        return false;
    for (size_t i = 0; i < k.n; i++) {
        char c = k.p[i];
        bool first = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!first && (i == 0 || !strchr("_-*/@", c) || !c))
            return false;
    }
    return true;
}

static bool value_ok(struct slice v)
{
    if (v.n == 0 || v.n > 256 || v.p[v.n - 1] == ' ')
        return false;
    for (size_t i = 0; i < v.n; i++)
        if (v.p[i] < 0x20 || v.p[i] > 0x7e || v.p[i] == ',' || v.p[i] == '=')
            return false;
    return true;
}

static bool member_ok(struct slice m)
{
    const char *eq = memchr(m.p, '=', m.n);
    if (!eq)
        return false;
    size_t at = (size_t)(eq - m.p);
    return key_ok(slice_cut(m, at)) && value_ok(slice_from(m, at + 1));
}

static bool collect(const struct slice *values, size_t n, struct slice *member, size_t *count)
{
    *count = 0;
    for (size_t i = 0; i < n; i++) {
        struct slice rest = values[i], part;
        while (slice_split(&rest, ',', &part)) {
            part = trim_ows(part);
            if (!part.n)
                continue;
            if (*count == CONTEXT_STATE_MEMBERS || !member_ok(part))
                return false;
            member[(*count)++] = part;
        }
    }
    return true;
}

static size_t joined(const struct slice *member, size_t n)
{
    size_t size = 0;
    for (size_t i = 0; i < n; i++)
        size += member[i].n ? member[i].n + 1 : 0;
    return size ? size - 1 : 0;
}

bool tracestate_parse(char out[513], const struct slice *values, size_t n)
{
    struct slice member[CONTEXT_STATE_MEMBERS];
    size_t count;
    out[0] = 0;
    if (!collect(values, n, member, &count))
        return false;
    for (size_t i = count; i-- > 0 && joined(member, count) > 512;)
        if (member[i].n > 128)
            member[i].n = 0;
    while (joined(member, count) > 512)
        count--;
    char *p = out;
    for (size_t i = 0; i < count; i++) {
        if (!member[i].n)
            continue;
        if (p > out)
            *p++ = ',';
        memcpy(p, member[i].p, member[i].n);
        p += member[i].n;
    }
    *p = 0;
    return true;
}

// ---- x-request-id -----------------------------------------------------------------------------------------------------
bool request_id_valid(struct slice v)
{
    if (v.n == 0 || v.n > CONTEXT_REQUEST_ID)
        return false;
    for (size_t i = 0; i < v.n; i++)
        if (v.p[i] < 0x20 || v.p[i] > 0x7e)
            return false;
    return true;
}

bool sonde_set_request_id(struct sonde_context *c, const char *id, size_t n)
{
    struct slice v = trim_ows(slice_of(id, n));
    if (!request_id_valid(v))
        return false;
    memcpy(c->request_id, v.p, v.n);
    c->request_id[v.n] = 0;
    return true;
}

void sonde_new_request_id(char out[37])
{
    uint8_t b[16];
    char hex[32];
    uint64_t r[2] = {random_u64(), random_u64()};
    memcpy(b, r, 16);
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    hex_encode(hex, b, 16);
    for (int i = 0, o = 0; i < 32; i++) {
        if (i == 8 || i == 12 || i == 16 || i == 20)
            out[o++] = '-';
        out[o++] = hex[i];
    }
    out[36] = 0;
}

// ---- headers ----------------------------------------------------------------------------------------------------------
static bool has_ids(const struct sonde_context *c)
{
    return !all_zero(c->trace_id, 16) && !all_zero(c->span_id, 8);
}

bool sonde_extract(struct sonde_context *out, sonde_get_fn *get, void *carrier)
{
    size_t n = 0;
    memset(out, 0, sizeof *out);
    const char *v = get(carrier, "x-request-id", 0, &n);
    if (v)
        sonde_set_request_id(out, v, n);
    v = get(carrier, "traceparent", 0, &n);
    struct slice parent = slice_of(v, n);
    if (!v || get(carrier, "traceparent", 1, &n) || !traceparent_parse(out, parent))
        return false;
    out->remote = true;
    struct slice states[CONTEXT_STATE_MEMBERS + 1];
    size_t count = 0;
    while (count < CONTEXT_STATE_MEMBERS + 1 && (v = get(carrier, "tracestate", (int)count, &n)))
        states[count++] = slice_of(v, n);
    if (count <= CONTEXT_STATE_MEMBERS)
        tracestate_parse(out->tracestate, states, count);
    return true;
}

void sonde_traceparent(const struct sonde_context *c, char out[56])
{
    out[0] = 0;
    if (!has_ids(c))
        return;
    memcpy(out, "00-", 3);
    hex_encode(out + 3, c->trace_id, 16);
    out[35] = '-';
    hex_encode(out + 36, c->span_id, 8);
    out[52] = '-';
    uint8_t flags = c->flags & 3;
    hex_encode(out + 53, &flags, 1);
    out[55] = 0;
}

void sonde_inject(const struct sonde_context *c, sonde_set_fn *set, void *carrier)
{
    if (!c)
        return;
    char text[56];
    sonde_traceparent(c, text);
    if (text[0]) {
        set(carrier, "traceparent", text, 55);
        if (c->tracestate[0])
            set(carrier, "tracestate", c->tracestate, strlen(c->tracestate));
    }
    if (c->request_id[0])
        set(carrier, "x-request-id", c->request_id, strlen(c->request_id));
}
