// The filter of DYN_LOG: directives, the most specific of which decides.
//   level · target · target=level · target:level (with a warning) · target[span{field=value}]=level and its parts
// Level words in any case: off error warn warning info debug trace critical fatal, or 0 … 5. A target matches as a prefix of
// the record's. A directive with a span holds for all records of a thread that is inside a span of that name (whose own
// target begins with the directive's) and whose fields, if named, are there, given at its start or later: with that value,
// compared as number, as text, or as a regular expression (pattern.h) if it holds a character of those.
// Without a default level the rest is at info.
#pragma once
#include "base/buf.h"
#include "base/error.h"
#include "base/slice.h"

enum { FILTER_MAX = 128, FILTER_CONDITIONS = 32, FILTER_TEXT = 16384, FILTER_FILE_MAX = 1 << 20 };

struct filter_condition {
    struct slice field, value;
    bool has_value;
};
struct filter_directive {
    struct slice target, span;
    bool has_span;       // [..] was there, even empty
    uint32_t conditions; // bits of filter.condition
    unsigned level;
};
struct filter {
    struct filter_directive row[FILTER_MAX];
    unsigned n;
    struct filter_condition condition[FILTER_CONDITIONS];
    unsigned n_conditions;
    unsigned default_level;
    unsigned max_span_level; // of the directives with a span; 0: none
    unsigned mistakes;       // directives that were left out
    const char *of;          // whose directives, for notes; filter_init: DYN_LOG
    char text[FILTER_TEXT];  // what the slices point into
    size_t used;
};

// Level info for all, and the built-in directives (libraries whose chatter nobody wants), which lose against equal ones.
void filter_init(struct filter *f);
// A TOML file with log_level = "…" and a table log_filters of target = "level"; other keys are ignored, and so is a missing file.
// What is wrong is told in notes with its line, and left out.
void filter_file(struct filter *f, const char *path, struct buf *notes);
// Reads directives, which win against equal ones that came before; what is not understood is left out and told in notes (one
// sentence a line).
void filter_parse(struct filter *f, struct slice text, struct buf *notes);
// Level up to which records of the target pass, whatever span they are in.
unsigned filter_level(const struct filter *f, struct slice target);
// Conditions that a span field fulfils, as bits.
uint32_t filter_field(const struct filter *f, struct slice key, struct slice value);
// Level that a span of that name and target, with those fulfilled conditions, gives to the records inside it; 0: none.
unsigned filter_span(const struct filter *f, struct slice target, struct slice name, uint32_t conditions);
bool filter_level_word(struct slice word, unsigned *level);
