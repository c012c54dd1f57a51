// logproto.PushRequest, already un-snappied: streams = 1 {labels = 1, entries = 2 {timestamp = 1 {seconds = 1, nanos = 2},
// line = 2, structuredMetadata = 3 {name = 1, value = 2}}, hash = 3}.
#include "event/decode.h"

static bool read_time(struct decode *d, struct slice message, int64_t *out, bool *in_range)
{
    int64_t seconds = 0, nanos = 0;
    struct pb r;
    decode_part(d, &r, message);
    while (pb_next(&r)) {
        if (r.field == 1)
            pb_i64(&r, &seconds);
        else if (r.field == 2)
            pb_i64(&r, &nanos);
        else
            pb_skip(&r);
    }
    *in_range = nanos >= 0 && nanos < 1000000000 && !__builtin_mul_overflow(seconds, (int64_t)1000000000, out) &&
                !__builtin_add_overflow(*out, nanos, out);
    return !r.failed;
}

static bool read_pair(struct pb *r, struct slice *name, struct slice *value)
{
    *name = *value = SLICE("");
    while (pb_next(r)) {
        if (r->field == 1)
            pb_bytes(r, name);
        else if (r->field == 2)
            pb_bytes(r, value);
        else
            pb_skip(r);
    }
    return !r->failed;
}

static bool read_metadata(struct decode *d, struct pb *r, bool stored)
{
    struct loki_metadata m = {0};
    while (pb_next(r)) {
        struct pb pair;
        struct slice name, value;
        if (r->field != 3)
            pb_skip(r);
        else if (!pb_message(r, &pair) || !read_pair(&pair, &name, &value))
            return false;
        else if (stored)
            stored = loki_metadata(d, &m, name, value);
    }
    return !r->failed;
}

static bool read_entry(struct decode *d, struct pb *r, struct loki_stream *s)
{
    struct slice time_message = SLICE(""), line = SLICE(""), part;
    struct pb second = *r;
    bool has_metadata = false, in_range;
    int64_t time = 0;
    while (pb_next(r)) {
        if (r->field == 1 && pb_bytes(r, &part))
            decode_merge(d, &time_message, part);
        else if (r->field == 2)
            pb_bytes(r, &line);
        else if (r->field != 1) {
            has_metadata |= r->field == 3;
            pb_skip(r);
        }
    }
    if (r->failed || !read_time(d, time_message, &time, &in_range))
        return false;
    bool stored = false;
    if (in_range || s->bad)
        stored = loki_entry(d, s, time, line);
    else
        decode_reject(d, 1, "timestamp of an entry is out of range; it must lie between the years 1678 and 2262");
    return !has_metadata || read_metadata(d, &second, stored);
}

static bool read_stream(struct decode *d, struct pb *r)
{
    struct loki_stream s = {0};
    struct slice labels = SLICE("");
    struct pb second = *r;
    while (pb_next(r)) {
        if (r->field == 1)
            pb_bytes(r, &labels);
        else
            pb_skip(r);
    }
    if (r->failed)
        return false;
    loki_labels_text(d, &s, labels);
    loki_stream_ready(d, &s);
    while (pb_next(&second)) {
        struct pb entry;
        if (second.field != 2)
            pb_skip(&second);
        else if (!pb_message(&second, &entry) || !read_entry(d, &entry, &s) || d->b->failed)
            return false;
    }
    loki_stream_end(d, &s);
    return !second.failed;
}

bool decode_loki_pb(struct decode *d, struct slice bytes)
{
    struct pb r;
    decode_part(d, &r, bytes);
    while (pb_next(&r)) {
        struct pb stream;
        if (r.field != 1)
            pb_skip(&r);
        else if (!pb_message(&r, &stream) || !read_stream(d, &stream))
            return false;
    }
    return !r.failed;
}
