// The stages of a log pipeline. A stage is made once for a plan, in its arena, and is read-only then: any number of
// threads may run it. Adding a kind: one file with a constructor here and a `struct stage_ops` of its own.
#pragma once
#include "query/match.h"
#include "query/row.h"

struct stage;
struct stage_ops {
    const char *name;                                  // as the query language calls it
    bool parses;                                       // reads labels out of the line: can be left out when nobody needs a label
    bool labels;                                       // needs or changes labels (else only the line)
    bool (*run)(const struct stage *s, struct row *r); // false: the row is dropped
};
struct stage {
    const struct stage_ops *ops;
};
static inline bool stage_run(const struct stage *s, struct row *r)
{
    return s->ops->run(s, r);
}

struct pipeline {
    const struct stage **stages;
    uint32_t n;
    uint32_t n_line; // so many stages at the front look at the line alone
    // All labels that a filter or the consumer looks at, when the planner knows them; null: any may be needed.
    const struct slice *wanted;
    uint32_t n_wanted;
};
void pipeline_seal(struct pipeline *p); // computes n_line
// The whole pipeline over a row whose labels are set; `from` skips stages that have run already.
bool pipeline_run(const struct pipeline *p, uint32_t from, struct row *r);

// Constructors. All raise a clear error and return it; strings are not copied.
struct stage_env {
    struct arena *a;
    struct regex_list *keep;
    struct error *err;
};
enum errc stage_line_filter(const struct stage **out, struct stage_env *e, enum line_op op, const struct line_filter_text *texts,
                            uint32_t n);

// ---- parsers --------------------------------------------------------------------------------------------------------
struct stage_expr {
    struct slice label, path;
};
enum errc stage_json(const struct stage **out, struct stage_env *e, const struct stage_expr *x, uint32_t n);
enum errc stage_logfmt(const struct stage **out, struct stage_env *e, bool strict, bool keep_empty, const struct stage_expr *x,
                       uint32_t n);
enum errc stage_regexp(const struct stage **out, struct stage_env *e, struct slice pattern);
enum errc stage_pattern(const struct stage **out, struct stage_env *e, struct slice pattern);
enum errc stage_unpack(const struct stage **out, struct stage_env *e);

// ---- label filters --------------------------------------------------------------------------------------------------
enum cmp { CMP_EQ, CMP_NE, CMP_GT, CMP_GE, CMP_LT, CMP_LE };
const char *cmp_text(enum cmp c);
struct label_test {
    enum { LABEL_AND, LABEL_OR, LABEL_STRING, LABEL_NUMBER, LABEL_DURATION, LABEL_BYTES, LABEL_IP } kind;
    struct label_test *left, *right; // AND, OR
    struct matcher match;            // STRING
    struct slice name;
    enum cmp cmp;
    double number; // NUMBER, DURATION (ns), BYTES
    struct ip_range ip;
};
enum errc stage_label_filter(const struct stage **out, struct stage_env *e, const struct label_test *t);

// ---- changing labels and lines --------------------------------------------------------------------------------------
struct stage_pick { // drop or keep: a name alone (has_match false) or with a matcher
    struct slice name;
    bool has_match;
    struct matcher match;
};
enum errc stage_drop(const struct stage **out, struct stage_env *e, const struct stage_pick *p, uint32_t n);
enum errc stage_keep(const struct stage **out, struct stage_env *e, const struct stage_pick *p, uint32_t n);
struct stage_format {
    struct slice label;
    bool rename;
    struct slice text; // the old name, or a template
};
enum errc stage_label_format(const struct stage **out, struct stage_env *e, const struct stage_format *f, uint32_t n);
enum errc stage_line_format(const struct stage **out, struct stage_env *e, struct slice template_text);
enum errc stage_decolorize(const struct stage **out, struct stage_env *e);

// ---- unwrap ---------------------------------------------------------------------------------------------------------
enum unwrap_as { UNWRAP_NUMBER, UNWRAP_DURATION, UNWRAP_BYTES };
enum errc stage_unwrap(const struct stage **out, struct stage_env *e, struct slice label, enum unwrap_as as);

#define STAGE_NEW(e, type, ops_)                                        \
    type *s = ARENA_NEW((e)->a, type);                                  \
    if (!s)                                                             \
        return ERR((e)->err, NOMEM, "out of memory preparing a query"); \
    s->stage.ops = (ops_);                                              \
    *out = &s->stage
