// The table of PromQL's functions: names, types of their arguments, and what they give.
#pragma once
#include "base/slice.h"

enum prom_type { PROM_NONE, PROM_SCALAR, PROM_VECTOR, PROM_MATRIX, PROM_STRING };
const char *prom_type_text(enum prom_type t); // "instant vector" …

// X(id, result, variadic, n, types …): n types are given; variadic 0 wants exactly these, v > 0 allows v-1 fewer or more of the
// last (n-1 … n-1+v), -1 allows n-1 or any number more of the last.
#define S PROM_SCALAR
#define V PROM_VECTOR
#define M PROM_MATRIX
#define T PROM_STRING
#define PROM_FUNCTION_LIST(X)                         \
    X(abs, V, 0, 1, V)                                \
    X(absent, V, 0, 1, V)                             \
    X(absent_over_time, V, 0, 1, M)                   \
    X(acos, V, 0, 1, V)                               \
    X(acosh, V, 0, 1, V)                              \
    X(asin, V, 0, 1, V)                               \
    X(asinh, V, 0, 1, V)                              \
    X(atan, V, 0, 1, V)                               \
    X(atanh, V, 0, 1, V)                              \
    X(avg_over_time, V, 0, 1, M)                      \
    X(ceil, V, 0, 1, V)                               \
    X(changes, V, 0, 1, M)                            \
    X(clamp, V, 0, 3, V, S, S)                        \
    X(clamp_max, V, 0, 2, V, S)                       \
    X(clamp_min, V, 0, 2, V, S)                       \
    X(cos, V, 0, 1, V)                                \
    X(cosh, V, 0, 1, V)                               \
    X(count_over_time, V, 0, 1, M)                    \
    X(day_of_month, V, 1, 1, V)                       \
    X(day_of_week, V, 1, 1, V)                        \
    X(day_of_year, V, 1, 1, V)                        \
    X(days_in_month, V, 1, 1, V)                      \
    X(deg, V, 0, 1, V)                                \
    X(delta, V, 0, 1, M)                              \
    X(deriv, V, 0, 1, M)                              \
    X(double_exponential_smoothing, V, 0, 3, M, S, S) \
    X(exp, V, 0, 1, V)                                \
    X(first_over_time, V, 0, 1, M)                    \
    X(floor, V, 0, 1, V)                              \
    X(histogram_avg, V, 0, 1, V)                      \
    X(histogram_count, V, 0, 1, V)                    \
    X(histogram_fraction, V, 0, 3, S, S, V)           \
    X(histogram_quantile, V, 0, 2, S, V)              \
    X(histogram_stddev, V, 0, 1, V)                   \
    X(histogram_stdvar, V, 0, 1, V)                   \
    X(histogram_sum, V, 0, 1, V)                      \
    X(holt_winters, V, 0, 3, M, S, S)                 \
    X(hour, V, 1, 1, V)                               \
    X(idelta, V, 0, 1, M)                             \
    X(increase, V, 0, 1, M)                           \
    X(irate, V, 0, 1, M)                              \
    X(label_join, V, -1, 4, V, T, T, T)               \
    X(label_replace, V, 0, 5, V, T, T, T, T)          \
    X(last_over_time, V, 0, 1, M)                     \
    X(ln, V, 0, 1, V)                                 \
    X(log10, V, 0, 1, V)                              \
    X(log2, V, 0, 1, V)                               \
    X(mad_over_time, V, 0, 1, M)                      \
    X(max_over_time, V, 0, 1, M)                      \
    X(min_over_time, V, 0, 1, M)                      \
    X(minute, V, 1, 1, V)                             \
    X(month, V, 1, 1, V)                              \
    X(pi, S, 0, 0, V)                                 \
    X(predict_linear, V, 0, 2, M, S)                  \
    X(present_over_time, V, 0, 1, M)                  \
    X(quantile_over_time, V, 0, 2, S, M)              \
    X(rad, V, 0, 1, V)                                \
    X(rate, V, 0, 1, M)                               \
    X(resets, V, 0, 1, M)                             \
    X(round, V, 1, 2, V, S)                           \
    X(scalar, S, 0, 1, V)                             \
    X(sgn, V, 0, 1, V)                                \
    X(sin, V, 0, 1, V)                                \
    X(sinh, V, 0, 1, V)                               \
    X(sort, V, 0, 1, V)                               \
    X(sort_by_label, V, -1, 2, V, T)                  \
    X(sort_by_label_desc, V, -1, 2, V, T)             \
    X(sort_desc, V, 0, 1, V)                          \
    X(sqrt, V, 0, 1, V)                               \
    X(stddev_over_time, V, 0, 1, M)                   \
    X(stdvar_over_time, V, 0, 1, M)                   \
    X(sum_over_time, V, 0, 1, M)                      \
    X(tan, V, 0, 1, V)                                \
    X(tanh, V, 0, 1, V)                               \
    X(time, S, 0, 0, V)                               \
    X(timestamp, V, 0, 1, V)                          \
    X(ts_of_first_over_time, V, 0, 1, M)              \
    X(ts_of_last_over_time, V, 0, 1, M)               \
    X(ts_of_max_over_time, V, 0, 1, M)                \
    X(ts_of_min_over_time, V, 0, 1, M)                \
    X(vector, V, 0, 1, S)                             \
    X(year, V, 1, 1, V)

enum prom_fn {
#define X(id, result, variadic, n, ...) FN_##id,
    PROM_FUNCTION_LIST(X)
#undef X
        FN_COUNT
};
#undef S
#undef V
#undef M
#undef T

struct prom_function {
    const char *name;
    enum prom_fn id;
    enum prom_type result;
    int variadic, n;
    enum prom_type types[5];
};
const struct prom_function *prom_function_find(struct slice name); // null if there is none
const struct prom_function *prom_function_at(size_t i);            // sorted by name; null past the end
