// Prometheus text format 0.0.4 → families → text again, or OpenMetrics. Order is kept, numbers are kept as written, and comments
// and blank lines are left out: a page in the usual form comes out byte for byte. Everything lives in the caller's arena; slices
// point into the text where nothing is escaped, so the text must live as long.
// Thread rule: one thread at a time.
#pragma once
#include "base/arena.h"
#include "base/buf.h"

enum expfmt_type { EXPFMT_UNTYPED, EXPFMT_COUNTER, EXPFMT_GAUGE, EXPFMT_HISTOGRAM, EXPFMT_SUMMARY };

struct expfmt_sample {
    struct slice name; // with its suffix
    uint32_t first_label, n_labels;
    double value;
    struct slice number, time; // as written; time in ms, empty if absent
};
struct expfmt_label {
    struct slice name, value; // value unescaped
};
struct expfmt_family {
    struct slice name, help; // help unescaped
    enum expfmt_type type;
    bool has_help, has_type;
    uint32_t first, n; // samples
    bool hidden;       // not for this page, or its samples stand with another family's: expfmt_own_created
    uint32_t created;  // that family has: the place of x_created, plus 1
};
struct expfmt {
    struct expfmt_family *families;
    struct expfmt_sample *samples;
    struct expfmt_label *labels;
    uint32_t n_families, n_samples, n_labels;
};

// ERR_SYNTAX names the line and what was expected; ERR_LIMIT or ERR_NOMEM from the arena. A name that comes again after another
// family is a family of its own.
enum errc expfmt_parse(struct expfmt *out, struct slice text, struct arena *a, struct error *err);
// Joins families of the same name, as concatenated pages have them: OpenMetrics and protobuf allow each name once. Samples under
// a name of another type than its first family's are left out. ERR_LIMIT from the arena.
enum errc expfmt_merge(struct expfmt *e, struct arena *a);
// Python's library writes the time at which a counter x_total, a histogram x or a summary x began as a gauge x_created. In
// OpenMetrics these are lines of x. Finds such gauges; to be called once, after expfmt_merge.
void expfmt_own_created(struct expfmt *e);
// Lines of one metric: their labels are the same but for inner ("le", "quantile", or empty), and in the same order.
bool expfmt_same_metric(const struct expfmt *e, const struct expfmt_sample *x, const struct expfmt_sample *y, struct slice inner);
struct slice expfmt_inner_label(enum expfmt_type type);
void expfmt_write(const struct expfmt *e, struct buf *b);
// One family. openmetrics: a counter's lines end in _total, bounds are in canonical form, times in seconds; a histogram of
// negative values has no _sum and _count there.
void expfmt_write_family(const struct expfmt *e, const struct expfmt_family *f, bool openmetrics, struct buf *b);
// The family's name in OpenMetrics: a counter's without _total.
struct slice expfmt_om_name(struct slice name, enum expfmt_type type);
