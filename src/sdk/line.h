// Lines: one record as text or as JSONL, in Dynamo's shape (spec: the readable line, the JSONL line), with typed fields.
// Strings: invalid UTF-8 becomes U+FFFD; control characters are escaped in both forms. NaN and infinities: 0 in JSON, NaN, inf,
// -inf in text.
#pragma once
#include "sdk/spans.h"

struct line_style {
    bool jsonl, color, local_tz, span_events;
};
struct line_clock { // the text of the current second
    int64_t second;
    char text[40];
    int n;
    bool valid, local;
};
struct line_extra { // fields that the pipeline itself adds (span events, losses)
    const char *key;
    int64_t value;
    enum sonde_type type; // 0: a number
    struct slice text;    // of SONDE_TYPE_STR
};

enum { LINE_MAX = 256 << 20 }; // of the buffer that collects lines

void line_time(struct buf *out, struct line_clock *c, int64_t wall_ns, bool local);
void line_json_key(struct buf *out, struct slice key); // ,"key":
void line_json_value(struct buf *out, enum sonde_type type, uint64_t u, struct slice s);
void line_text_value(struct buf *out, enum sonde_type type, uint64_t u, struct slice s);

struct line {
    int64_t time;
    const struct site *site;        // level, place, message
    struct slice message;           // if p is not null, instead of the site's
    const struct rec *rec;          // the fields of site; null: none
    struct bspan *span;             // null: none
    const struct line_extra *extra; // sorted by key
    uint32_t n_extra;
};
// The record's own message, when it has one (arguments, SONDE_LOG_ARRAY); otherwise a slice without p. Uses scratch, which must
// stay as it is for as long as the message is needed.
struct slice line_message(struct buf *scratch, const struct site *site, const struct rec *rec);
// Appends one line with its line feed.
void line_write(struct buf *out, const struct line_style *style, struct line_clock *clock, const struct line *l);
