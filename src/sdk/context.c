#include "sdk/context.h"
#include "base/hash.h"

// ---- traceparent ----------------------------------------------------------------------------------------------------
// Exactly 2n hex digits in lower case.
static bool hex_lower(struct slice s, void *out, size_t n)
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

struct slice context_trim(struct slice s)
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
    v = context_trim(v);
    if (v.n < 55 || v.p[2] != '-' || v.p[35] != '-' || v.p[52] != '-')
        return false;
    if (!hex_lower(slice_of(v.p, 2), &version, 1) || version == 0xff)
        return false;
    // A later version may carry more behind another '-'; version 00 may not.
    if (v.n > 55 && (version == 0 || v.p[55] != '-'))
        return false;
    if (!hex_lower(slice_of(v.p + 3, 32), trace, 16) || !hex_lower(slice_of(v.p + 36, 16), span, 8) ||
        !hex_lower(slice_of(v.p + 53, 2), &flags, 1))
        return false;
    if (all_zero(trace, 16) || all_zero(span, 8))
        return false;
    memcpy(out->trace_id, trace, 16);
    memcpy(out->span_id, span, 8);
    out->flags = flags & 3; // sampled, random; all others are sent as zero
    return true;
}

// ---- tracestate -----------------------------------------------------------------------------------------------------
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
            part = context_trim(part);
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

// At most `room` characters: long members go first, then those at the right. An empty member is none.
static size_t write_members(char *out, struct slice *member, size_t count, size_t room)
{
    for (size_t i = count; i-- > 0 && joined(member, count) > room;)
        if (member[i].n > 128)
            member[i].n = 0;
    while (joined(member, count) > room)
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
    return (size_t)(p - out);
}

bool tracestate_parse(char out[513], const struct slice *values, size_t n)
{
    struct slice member[CONTEXT_STATE_MEMBERS];
    size_t count;
    out[0] = 0;
    if (!collect(values, n, member, &count))
        return false;
    write_members(out, member, count, 512);
    return true;
}

// ---- x-request-id ---------------------------------------------------------------------------------------------------
bool request_id_valid(struct slice v)
{
    if (v.n == 0 || v.n > CONTEXT_REQUEST_ID)
        return false;
    for (size_t i = 0; i < v.n; i++)
        if (v.p[i] < 0x20 || v.p[i] > 0x7e)
            return false;
    return true;
}

// With or without hyphens; always written with them, in lower case.
bool sonde_set_dynamo_request_id(struct sonde_context *c, const char *id, size_t n)
{
    struct slice v = context_trim(slice_of(id, n));
    char digits[32], *p = c->dynamo_request_id;
    uint8_t bytes[16];
    size_t at = 0;
    if (v.n != 36 && v.n != 32)
        return false;
    for (size_t i = 0; i < v.n; i++) {
        bool hyphen = v.n == 36 && (i == 8 || i == 13 || i == 18 || i == 23);
        if (hyphen != (v.p[i] == '-'))
            return false;
        if (!hyphen)
            digits[at++] = v.p[i];
    }
    if (!hex_decode(bytes, 16, slice_of(digits, 32)))
        return false;
    hex_encode(digits, bytes, 16);
    for (int i = 0; i < 32; i++) {
        if (i == 8 || i == 12 || i == 16 || i == 20)
            *p++ = '-';
        *p++ = digits[i];
    }
    *p = 0;
    return true;
}

bool sonde_set_request_id(struct sonde_context *c, const char *id, size_t n)
{
    struct slice v = context_trim(slice_of(id, n));
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

// ---- ids ------------------------------------------------------------------------------------------------------------
bool sonde_context_valid(const struct sonde_context *c)
{
    return c && !all_zero(c->trace_id, 16) && !all_zero(c->span_id, 8);
}

void sonde_traceparent(const struct sonde_context *c, char out[56])
{
    out[0] = 0;
    if (!sonde_context_valid(c))
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

// ---- one member of a tracestate -------------------------------------------------------------------------------------
bool tracestate_find(const char *state, struct slice key, char *out, size_t size)
{
    struct slice rest = slice_of(state, strnlen(state, 512)), part;
    while (rest.n && slice_split(&rest, ',', &part)) {
        if (!slice_starts(part, key) || part.n <= key.n || part.p[key.n] != '=')
            continue;
        struct slice v = slice_from(part, key.n + 1);
        if (v.n >= size)
            return false;
        memcpy(out, v.p, v.n);
        out[v.n] = 0;
        return true;
    }
    return false;
}

bool sonde_tracestate_get(const struct sonde_context *c, const char *key, char *out, size_t size)
{
    return tracestate_find(c->tracestate, slice_str(key), out, size);
}

bool sonde_tracestate_edit(char state[513], const char *key, const char *value)
{
    struct slice k = slice_str(key), v = slice_str(value), part, other[CONTEXT_STATE_MEMBERS];
    struct slice rest = slice_of(state, strnlen(state, 512));
    char made[514];
    size_t n = 0, most = CONTEXT_STATE_MEMBERS - (value != NULL), at = 0;
    if (!key_ok(k) || (value && (!value_ok(v) || k.n + v.n + 1 > 512)))
        return false;
    while (rest.n && slice_split(&rest, ',', &part))
        if (part.n && n < most && !(slice_starts(part, k) && part.n > k.n && part.p[k.n] == '='))
            other[n++] = part;
    if (value) { // stays however long it is
        memcpy(made, k.p, k.n);
        made[k.n] = '=';
        memcpy(made + k.n + 1, v.p, v.n);
        at = k.n + 1 + v.n;
        made[at++] = ',';
    }
    size_t others = at > 512 ? 0 : write_members(made + at, other, n, 512 - at);
    at = others ? at + others : at - (value != NULL);
    memcpy(state, made, at);
    state[at] = 0;
    return true;
}

bool sonde_tracestate_set(struct sonde_context *c, const char *key, const char *value)
{
    return sonde_tracestate_edit(c->tracestate, key, value);
}
