// Label filters. An absent label compares as the empty string; it fails every number, duration, bytes and address
// test. A value that cannot be read sets __error__ = LabelFilterErr and lets the row through, and a row that already
// has an error passes number tests: only string tests can filter it.
#include "query/stage.h"
#include <math.h>

const char *cmp_text(enum cmp c)
{
    static const char *const text[] = {"==", "!=", ">", ">=", "<", "<="};
    return text[c];
}

struct filter_stage {
    struct stage stage;
    const struct label_test *test;
};

static bool compare(enum cmp c, double a, double b)
{
    switch (c) {
    case CMP_EQ:
        return a == b;
    case CMP_NE:
        return a != b;
    case CMP_GT:
        return a > b;
    case CMP_GE:
        return a >= b;
    case CMP_LT:
        return a < b;
    case CMP_LE:
        return a <= b;
    }
    return false;
}

static bool test_value(const struct label_test *t, struct row *r)
{
    bool found;
    struct slice v = row_get(r, t->name, &found);
    if (!found)
        return false;
    if (r->error.n)
        return true;
    double x = 0;
    int64_t ns;
    bool good;
    if (t->kind == LABEL_NUMBER) {
        good = unit_number(v, &x);
    } else if (t->kind == LABEL_BYTES) {
        good = unit_bytes(v, &x);
    } else {
        good = unit_duration(v, &ns);
        x = good ? (double)ns : 0;
    }
    if (good)
        return compare(t->cmp, x, t->number);
    const char *what = t->kind != LABEL_DURATION               ? "cannot read"
                       : v.n && v.p[0] >= '0' && v.p[0] <= '9' ? "unknown unit in"
                                                               : "invalid duration";
    struct slice shown = slice_cut(v, 100);
    row_fail(r, SLICE("LabelFilterErr"),
             arena_printf(r->scratch, "label %.*s: %s \"%.*s\"", (int)t->name.n, t->name.p, what, (int)shown.n, shown.p));
    return true;
}

static bool test_ip(const struct label_test *t, struct row *r)
{
    bool found;
    struct slice v = row_get(r, t->name, &found);
    struct ip a;
    if (!found)
        return false;
    if (r->error.n)
        return true;
    if (!ip_parse(v, &a)) {
        if (t->cmp == CMP_NE)
            return !ip_line(&t->ip, v);
        return ip_line(&t->ip, v);
    }
    return ip_in(&t->ip, &a) == (t->cmp == CMP_EQ);
}

static bool test(const struct label_test *t, struct row *r)
{
    switch (t->kind) {
    case LABEL_AND: {
        bool left = test(t->left, r); // both sides run: either may set an error
        return test(t->right, r) && left;
    }
    case LABEL_OR:
        return test(t->left, r) || test(t->right, r);
    case LABEL_STRING:
        return matcher_test(&t->match, row_get(r, t->match.name, NULL));
    case LABEL_NUMBER:
    case LABEL_DURATION:
    case LABEL_BYTES:
        return test_value(t, r);
    case LABEL_IP:
        return test_ip(t, r);
    }
    return false;
}

static bool filter_run(const struct stage *s, struct row *r)
{
    return test(((const struct filter_stage *)s)->test, r);
}
static const struct stage_ops filter_ops = {.name = "label filter", .labels = true, .run = filter_run};

enum errc stage_label_filter(const struct stage **out, struct stage_env *e, const struct label_test *t)
{
    STAGE_NEW(e, struct filter_stage, &filter_ops);
    s->test = t;
    return ERR_OK;
}
