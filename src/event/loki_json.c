// {"streams":[{"stream":{"a":"b"},"values":[["1700000000000000000","line",{"k":"v"}], …]}, …]}
#include "event/decode.h"

static void read_labels(struct decode *d, struct json *j, struct loki_stream *s)
{
    struct slice name, value;
    json_object(j);
    while (json_next_key(j, &name))
        if (json_string(j, &value))
            loki_label(d, s, name, value);
}

static bool read_time(struct json *j, int64_t *out)
{
    struct slice text;
    if (json_peek(j) != JSON_STRING)
        return json_fail(j, "a timestamp was expected: a string of nanoseconds since 1970, in quotes");
    struct json before = *j;
    if (!json_string(j, &text))
        return false;
    if (slice_to_i64(text, out))
        return true;
    j->p = before.p; // name the place of the string, not what follows it
    return json_fail(j, "a timestamp was expected: a string of nanoseconds since 1970");
}

static void read_metadata(struct decode *d, struct json *j, bool stored)
{
    struct loki_metadata m = {0};
    struct slice name, value;
    json_object(j);
    while (json_next_key(j, &name))
        if (json_string(j, &value) && stored)
            stored = loki_metadata(d, &m, name, value);
}

// One ["time", "line", {metadata}?].
static void read_entry(struct decode *d, struct json *j, struct loki_stream *s)
{
    int64_t time = 0;
    struct slice line;
    json_array(j);
    if (!json_next_item(j) || !read_time(j, &time) || !json_next_item(j) || !json_string(j, &line)) {
        json_fail(j, "an entry was expected: [\"nanoseconds\", \"line\"]");
        return;
    }
    bool stored = loki_entry(d, s, time, line);
    if (!json_next_item(j))
        return;
    if (json_peek(j) == JSON_NULL)
        json_null(j);
    else
        read_metadata(d, j, stored);
    if (!j->failed && json_next_item(j))
        json_fail(j, "an entry has at most three parts: time, line and metadata");
}

static void read_entries(struct decode *d, struct json *j, struct loki_stream *s)
{
    json_array(j);
    while (json_next_item(j) && !d->b->failed)
        read_entry(d, j, s);
}

static void read_stream(struct decode *d, struct json *j)
{
    struct loki_stream s = {0};
    bool ready = false;
    struct json values = {0};
    bool waiting = false; // `values` stood before `stream`: read it again once the labels are known
    struct slice key;
    json_object(j);
    while (json_next_key(j, &key)) {
        if (slice_eq(key, SLICE("stream")) && !ready) {
            read_labels(d, j, &s);
            loki_stream_ready(d, &s);
            ready = true;
        } else if (slice_eq(key, SLICE("values")) && ready) {
            read_entries(d, j, &s);
        } else if (slice_eq(key, SLICE("values")) && !waiting) {
            values = *j;
            waiting = true;
            json_skip(j, NULL);
        } else {
            json_skip(j, NULL);
        }
    }
    if (j->failed)
        return;
    if (!ready)
        loki_stream_ready(d, &s); // without labels: refused, with the reason
    if (waiting) {
        read_entries(d, &values, &s);
        j->failed |= values.failed;
    }
    loki_stream_end(d, &s);
}

bool decode_loki_json(struct decode *d, struct slice text)
{
    struct json j;
    struct slice key;
    bool seen = false;
    json_init(&j, text, &d->b->arena, d->err);
    json_object(&j);
    while (json_next_key(&j, &key)) {
        if (!slice_eq(key, SLICE("streams"))) {
            json_skip(&j, NULL);
            continue;
        }
        seen = true;
        json_array(&j);
        while (json_next_item(&j) && !d->b->failed)
            read_stream(d, &j);
    }
    if (!j.failed && !seen)
        json_fail(&j, "an object with \"streams\" was expected");
    return json_finish(&j) && !d->b->failed;
}
