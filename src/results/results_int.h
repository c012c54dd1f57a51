// What the readers of one kind of file share.
#pragma once
#include "results/results.h"
#include <math.h>

enum { FILES_MAX = 100000, CLIENTS_MAX = 4096, RESULT_FILE_MAX = 64 << 20, DEPTH_MAX = 16 };
#define RESULT_MARK    ".sonde-test"
#define RESULTS_MEMORY ((size_t)1 << 30)

// A file of a result's folder.
struct file {
    const char *path;
    struct slice name, plain; // relative to the folder; plain: without .gz
    uint64_t size;
};
struct folder {
    struct file *file; // by name
    uint32_t n;
    const uint32_t *client; // numbers of the clients that have a folder of attempts
    uint32_t n_clients;
};

// Any bytes as UTF-8, in a.
struct slice result_clean(struct arena *a, struct slice s);
// A sentence for the reader of the table; beyond RESULTS_NOTES they are dropped.
void result_note(struct arena *a, struct result *r, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
// Counts a file that cannot be read, or not whole, and says so: "<name> <why>".
void result_unreadable(struct arena *a, struct result *r, struct slice name, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
// The file's bytes, in a. False: it cannot be read, which is said.
bool result_text(struct arena *a, struct result *r, const struct file *f, size_t max, struct slice *out);

// The value at a path of keys ("records.request_latency.avg"; a number picks an array's item) as raw JSON. False: there is none,
// or the text is no JSON (then *err holds why; may be null).
bool result_json(struct slice text, const char *path, struct arena *a, struct slice *raw, struct error *err);
bool result_json_whole(struct slice text, struct arena *a, struct error *err); // is it one JSON object and nothing else?
void result_json_lenient(struct slice text); // writes over the NaN and Infinity that Python's json writes: they become ""
double result_json_number(struct slice text, const char *path, struct arena *a); // NaN: none
struct slice result_json_text(struct slice text, const char *path, struct arena *a);

// Whether the name ends so, with something before it: *stem (may be null).
static inline bool name_ends(struct slice name, const char *tail, struct slice *stem)
{
    size_t t = strlen(tail);
    if (name.n <= t || memcmp(name.p + name.n - t, tail, t) != 0)
        return false;
    if (stem)
        *stem = slice_cut(name, name.n - t);
    return true;
}

// client_3.log.txt, client_3/…: 3. False: another name.
bool client_number(struct slice name, uint32_t *number);

// Readers; each fills what it knows and leaves notes.
enum errc aiperf_read(struct arena *a, struct result *r, const struct folder *f);
enum errc legacy_read(struct arena *a, struct result *r, const struct folder *f, const struct results_options *o);
void testlog_read(struct arena *a, struct result *r, const struct folder *f);
// Seconds from one time to a later one; NaN where one is not known or the clock went back.
double result_seconds(int64_t from, int64_t to);
struct slice result_failure(struct slice name); // decode_worker of test_fault_scenario[agg-decode_worker]; "" without brackets
int result_failure_order(struct slice failure); // its place in tables
struct slice result_group(struct slice name);   // agg of that name; "" without
enum errc components_read(struct arena *a, struct result *r, const struct folder *f, unsigned threads);
enum errc junit_read(struct arena *a, struct result *r, const struct file *file);

// ---- numbers ----
double stat_mean(const double *v, size_t n);                             // NaN of none
double stat_deviation(const double *v, size_t n);                        // of the sample; 0 of one
double stat_percentile(double *v, size_t n, double p);                   // sorts v; linear between neighbours
double stat_welch(const double *a, size_t n, const double *b, size_t m); // p value, two sides; NaN with fewer than two of either
double stat_proportions(double ok_a, double n_a, double ok_b, double n_b); // p value, two sides

// The same request told by several readers: keeps the slowest and the first failed ones.
struct tally {
    struct result_request slow[RESULTS_SLOWEST];
    uint32_t n_slow;
    struct result_request failed[RESULTS_SLOWEST];
    uint32_t n_failed;
};
void tally_add(struct tally *t, const struct result_request *q);
enum errc tally_keep(struct arena *a, struct result *r, const struct tally *t);
