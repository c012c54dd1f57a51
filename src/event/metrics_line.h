// A line of a page of metrics, piece by piece: what Prometheus' text format and OpenMetrics have in common. Two readers stand on
// it: metrics_text.c makes samples to store, sdk/metric_parse.c families to write again in another form.
// Pieces are slices of the line; nothing is kept. Thread rule: none.
#pragma once
#include "base/arena.h"
#include "base/slice.h"

struct metrics_line {
    const char *p, *end; // what is not read yet
    size_t number;       // of the line, from 1
};

// The next line of *rest that is not blank, without its end and what stands before its first word. False: there is none.
bool metrics_line_next(struct metrics_line *l, struct slice *rest);
void metrics_line_blanks(struct metrics_line *l);
bool metrics_line_is(const struct metrics_line *l, char c); // the next character
bool metrics_line_take(struct metrics_line *l, char c);     // the same, and it is read
struct slice metrics_line_word(struct metrics_line *l);     // up to a blank or the end; may be empty
// [A-Za-z_][A-Za-z0-9_]*, with colons where they may stand; may be empty.
struct slice metrics_line_name(struct metrics_line *l, bool colons);
// What stands between the quote at the place and the next one, escapes and all. False: no quote is there, or it is not closed.
bool metrics_line_quoted(struct metrics_line *l, struct slice *raw);
// raw with its escapes resolved: \\ and \n, and \" where quotes; others stay as they are. A copy in the arena only where there
// are any. p null without memory.
struct slice metrics_line_unescape(struct arena *a, struct slice raw, bool quotes);
