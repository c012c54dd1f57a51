// Tests on texts: matchers of labels (= != =~ !~) and filters of lines (|= != |~ !~ |> !>, with ip() and or-chains).
// Built once into an arena, then read-only. A regular expression that is only a literal, or alternatives of
// literals, is searched for as such.
#pragma once
#include "base/arena.h"
#include "query/needle.h"
#include "query/regex.h"
#include "query/units.h"

// Regular expressions made for one plan, so that they can be freed with it.
struct regex_list {
    struct regex **r;
    size_t n, cap;
};
void regex_list_free(struct regex_list *l);
// Compiles and keeps.
enum errc regex_keep(struct regex **out, struct slice pattern, bool anchored, struct regex_list *keep, struct error *err);

enum match_op { MATCH_EQ, MATCH_NE, MATCH_RE, MATCH_NRE };

struct matcher {
    struct slice name, value;
    enum match_op op;
    struct regex *re; // MATCH_RE, MATCH_NRE: anchored
};
// value and name are not copied.
enum errc matcher_init(struct matcher *m, enum match_op op, struct slice name, struct slice value, struct arena *a,
                       struct regex_list *keep, struct error *err);
bool matcher_test(const struct matcher *m, struct slice value);

enum line_op { LINE_CONTAINS, LINE_LACKS, LINE_MATCHES, LINE_DIFFERS, LINE_LIKE, LINE_UNLIKE };

// One alternative of a filter.
struct line_test {
    enum { TEST_LITERAL, TEST_ANY_LITERAL, TEST_REGEX, TEST_PATTERN, TEST_IP } kind;
    struct needle needle;   // literal
    struct needle *needles; // any literal
    struct regex *re;
    struct slice *pieces; // pattern: literals between <_>
    uint32_t n;           // of needles or pieces
    struct ip_range ip;
};

// Keeps a line if any test holds; with `negative` if none does.
struct line_filter {
    bool negative;
    struct line_test *tests;
    uint32_t n;
};
struct line_filter_text {
    struct slice text;
    bool ip;
};
enum errc line_filter_init(struct line_filter *f, enum line_op op, const struct line_filter_text *texts, uint32_t n,
                           struct arena *a, struct regex_list *keep, struct error *err);
bool line_filter_test(const struct line_filter *f, struct slice line);

// Pieces of a `pattern` expression, for |> and for the pattern stage: literals and captures in turn.
struct pattern_piece {
    bool capture;
    struct slice text; // literal text, or the capture's name; "_" captures nothing
};
// Null with an error raised when two captures touch.
struct pattern_piece *pattern_parse(struct slice text, struct arena *a, uint32_t *n, struct error *err);
