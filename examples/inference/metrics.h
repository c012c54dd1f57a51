// How the three programs make their metrics, and the page they serve them on. Names, labels and buckets are Dynamo's, so that its
// dashboards work; engine metrics are named as vLLM's.
#pragma once
#include "net/http.h"
#include <sonde/metrics.h>

// Buckets of a histogram; DEFAULT_BUCKETS are the library's.
struct buckets {
    double v[SONDE_BUCKETS_MAX];
    size_t n;
};
#define BUCKETS(...) (&(const struct buckets){{__VA_ARGS__}, sizeof((double[]){__VA_ARGS__}) / sizeof(double)})

// A metric of any type, null (and an ERROR line) if it is refused: updates of it do nothing then. labels: the names of the
// variable ones, "model,status", or null. buckets may be null.
void *family(struct sonde_registry *r, enum sonde_metric_type type, const char *name, const char *labels,
             const struct buckets *buckets, const char *help);

// The page of root, in the form that the Accept header asks for.
void reply_metrics(struct http_req *r, struct sonde_registry *root);
// Shows the page of another registry behind that of root: an engine, or a library, that keeps its own names.
void append_page(struct sonde_registry *root, struct sonde_registry *other);
