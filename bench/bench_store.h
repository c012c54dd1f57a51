// What the benchmarks of the store share: its directory, appends that are on their way, the figures at the end.
#pragma once
#include "base/clock.h"
#include "base/limits.h"
#include "base/pb.h"
#include "store/store_int.h"
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { IN_FLIGHT = 8 };
static atomic_int in_flight; // appends that are not acknowledged

static inline void die(const char *what, const struct error *err)
{
    fprintf(stderr, "%s: %s\n", what, err->msg);
    exit(1);
}

static inline void committed(void *arg, enum errc rc)
{
    (void)arg;
    if (rc != ERR_OK) {
        fprintf(stderr, "commit: %s\n", errc_text(rc));
        exit(1);
    }
    atomic_fetch_sub(&in_flight, 1);
}

static inline void wait_below(int n) // until fewer than n appends are on their way
{
    while (atomic_load(&in_flight) >= n)
        usleep(20);
}

// Appends when there is room; the batch is the store's then.
static inline void append_batch(struct store *s, enum wire_format kind, const struct buf *raw, int64_t received, struct batch *b)
{
    struct error err = {0};
    atomic_fetch_add(&in_flight, 1);
    if (store_append(s, SLICE_NONE, kind, buf_slice(raw), received, b, committed, NULL, &err) != ERR_OK)
        die("append", &err);
}

static inline uint64_t scan_rows(struct store *s, const struct scan_request *q)
{
    struct scan *scan;
    struct scan_batch part;
    struct error err = {0};
    uint64_t rows = 0;
    if (store_scan(s, q, &scan, &err) != ERR_OK)
        die("scan", &err);
    while (scan_next(scan, &part, &err) == ERR_OK && part.batch)
        rows += part.n_rows;
    scan_close(scan);
    if (err.code != ERR_OK)
        die("scan", &err);
    return rows;
}

enum { DIR_SIZE = 1000 };
static inline void make_dir(char dir[DIR_SIZE], const char *name) // where none is named yet
{
    const char *base = getenv("TMPDIR");
    if (*dir)
        return;
    snprintf(dir, DIR_SIZE, "%s/%s-XXXXXX", base ? base : "/tmp", name);
    if (!mkdtemp(dir)) {
        perror(dir);
        exit(1);
    }
}

static inline struct store *open_dir(const char *dir, size_t head_max) // 0: as by default
{
    struct store_options o;
    struct store *s;
    struct error err = {0};
    store_options_default(&o);
    o.dir = dir;
    if (head_max)
        o.head_max_bytes = o.head_max_log_bytes = head_max;
    if (store_open(&s, &o, &err) != ERR_OK)
        die("open", &err);
    return s;
}

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
    (void)st, (void)type, (void)f;
    return remove(path);
}
static inline void remove_dir(const char *dir)
{
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

struct figure {
    const char *key, *text;
    double v;
};

// A table, and one line of JSON behind it where asked for.
static inline void print_figures(const struct figure *f, size_t n, const char *counted, uint64_t count, bool json)
{
    for (size_t i = 0; i < n; i++)
        printf("%14.2f  %s\n", f[i].v, f[i].text);
    if (!json)
        return;
    printf("{\"%s\":%llu", counted, (unsigned long long)count);
    for (size_t i = 0; i < n; i++)
        printf(",\"%s\":%.3f", f[i].key, f[i].v);
    printf("}\n");
}
