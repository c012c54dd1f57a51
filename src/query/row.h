// One log row on its way through a pipeline: a time, a line and its labels. Rows are views into the batch they come
// from; only what a stage makes (an unescaped string, a formatted line) is put into the scratch arena, which is
// emptied for each row.
//
// Invariants: names in `l` are unique. error and error_details are the labels __error__ and __error_details__, absent
// when empty. Names are valid label names for stream and parsed labels; metadata names are made so by row_name().
#pragma once
#include "event/batch.h"

enum label_from { FROM_STREAM, FROM_META, FROM_PARSED };

struct row_label {
    struct slice name, value;
    enum label_from from;
};

enum { MAX_ROW_LABELS = 1024 }; // further ones of a line are left out

struct row {
    int64_t time;
    struct slice line;
    struct row_label *l; // MAX_ROW_LABELS places
    uint32_t n;
    struct slice error, error_details;
    bool preserve_error; // label_format __preserve_error__="true": a metric query lets the row through
    double value;        // of an unwrap stage
    bool has_value;
    const struct slice *wanted; // labels that anyone looks at; null: all. Parsers leave others out
    uint32_t n_wanted;
    struct arena *scratch;
};

#define LABEL_ERROR         SLICE("__error__")
#define LABEL_ERROR_DETAILS SLICE("__error_details__")
#define LABEL_PRESERVE      SLICE("__preserve_error__")

// Value of a label, empty if absent; *found (may be null) tells the two apart. Knows __error__ and its details.
struct slice row_get(const struct row *r, struct slice name, bool *found);
// Sets, whatever the name's origin was.
void row_set(struct row *r, struct slice name, struct slice value, enum label_from from);
// A label found by a parser: under its own name, or name_extracted when the stream or the metadata has the name. With
// `first_wins` a parsed label of that name is kept and false returned.
bool row_extract(struct row *r, struct slice name, struct slice value, bool first_wins);
// Whether `names` (null: all) has the name or name_extracted.
bool label_wanted(const struct slice *names, uint32_t n, struct slice name);
// Is a parsed label of this name (or name_extracted) looked at by anyone?
bool row_wants(const struct row *r, struct slice name);
void row_drop(struct row *r, struct slice name);
void row_fail(struct row *r, struct slice error, struct slice details); // the first error stays
// A label name from any text: every character outside [a-zA-Z0-9_] becomes _, one for each code point; a leading
// digit gets `digit_prefix` in front. The text itself when nothing changes. `a` may be null only if so.
struct slice row_name(struct arena *a, struct slice text, struct slice digit_prefix);
// Sorted by name, errors included, as an array in `a` (strings not copied). Labels with empty values are kept only
// when parsed. Null when over budget.
struct row_label *row_labels(const struct row *r, struct arena *a, uint32_t *n);
// [a-zA-Z_][a-zA-Z0-9_]*
bool label_name_valid(struct slice s);
// Of a label set in any order.
uint64_t label_hash(struct slice name, struct slice value);
