// The value of a metric expression: series with one value, or none, for each step. Everything is evaluated over all
// steps at once; an instant query has one step. A scalar is a matrix with `scalar` set and one series without labels.
// Memory comes from the query's arena.
#pragma once
#include "query/query.h"

struct series {
    struct label *l; // sorted by name
    uint32_t n;
    uint64_t hash;
    double *v;
    uint8_t *has; // 0: no value at this step
    void *extra;  // of who builds the series
};

struct matrix {
    struct arena *arena;
    struct series *s;
    uint32_t n, cap, steps;
    uint32_t *table; // series number + 1
    uint32_t table_size;
    bool scalar;
    bool ordered; // by sort or sort_desc: the order of the series is part of the answer
};

void matrix_init(struct matrix *m, struct arena *a, uint32_t steps);
// Finds or adds; labels must be sorted; strings are copied. Null when over budget.
struct series *matrix_series(struct matrix *m, const struct label *l, uint32_t n, bool *added);
const struct series *matrix_find(const struct matrix *m, const struct label *l, uint32_t n);
uint64_t labels_hash(const struct label *l, uint32_t n);
int labels_cmp(const struct label *a, uint32_t na, const struct label *b, uint32_t nb);
// Drops series without any value; sorts by labels unless ordered.
void matrix_finish(struct matrix *m);

// by (…) or without (…).
struct grouping {
    bool given, without;
    const struct slice *names; // sorted
    uint32_t n;
};
bool grouping_has(const struct grouping *g, struct slice name);
// The labels that the grouping leaves, into out (room for n); not given: all of them go.
uint32_t grouping_pick(const struct grouping *g, const struct label *l, uint32_t n, struct label *out);
