// Appends, scans, flushes and statistics at once. Run under -fsanitize=thread too.
#include "base/limits.h"
#include "util.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { WRITERS = 3, REQUESTS = 60, LINES = 200, ALL = WRITERS * REQUESTS * LINES };

static struct store *store;
static atomic_uint acknowledged; // lines
static atomic_bool stop;

static void *writer(void *arg)
{
    unsigned w = (unsigned)(uintptr_t)arg;
    for (unsigned i = 0; i < REQUESTS; i++) {
        if (append_lines(store, (int)w, (w * REQUESTS + i) * LINES, LINES) != ERR_OK)
            abort();
        atomic_fetch_add(&acknowledged, LINES);
    }
    return NULL;
}

static void *reader(void *arg)
{
    struct scan_request q = all_logs();
    q.newest_first = arg != NULL;
    while (!atomic_load(&stop)) {
        uint64_t before = atomic_load(&acknowledged);
        uint64_t rows = scan_rows(store, &q, NULL, NULL);
        if (rows < before || rows > ALL) { // what was acknowledged is seen, nothing twice
            fprintf(stderr, "%llu rows, %llu acknowledged before\n", (unsigned long long)rows, (unsigned long long)before);
            abort();
        }
    }
    return NULL;
}

static bool any_resource(void *arg, const struct resource *r)
{
    ++*(int *)arg;
    return r->n_labels > 0;
}

static void *flusher(void *arg)
{
    (void)arg;
    while (!atomic_load(&stop)) {
        struct store_stats st;
        int n = 0;
        if (store_flush(store, NULL) != ERR_OK)
            abort();
        store_stats(store, &st);
        store_resources(store, SLICE_NONE, SIGNAL_LOG, INT64_MIN, INT64_MAX, any_resource, &n, NULL);
        usleep(3000);
    }
    return NULL;
}

static void small(struct store_options *o)
{
    o->head_max_bytes = KIB(512);
    o->wal_segment_bytes = o->wal_keep_bytes = KIB(256);
}

static void everything_at_once(void **state)
{
    (void)state;
    char *dir = temp_dir();
    static unsigned seen[ALL];
    pthread_t w[WRITERS], r[2], f;
    store = open_with(dir, small);
    pthread_create(&f, NULL, flusher, NULL);
    for (uintptr_t i = 0; i < 2; i++)
        pthread_create(&r[i], NULL, reader, (void *)i);
    for (uintptr_t i = 0; i < WRITERS; i++)
        pthread_create(&w[i], NULL, writer, (void *)i);
    for (int i = 0; i < WRITERS; i++)
        pthread_join(w[i], NULL);
    atomic_store(&stop, true);
    for (int i = 0; i < 2; i++)
        pthread_join(r[i], NULL);
    pthread_join(f, NULL);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(count_lines(store, seen, ALL), ALL);
        for (unsigned i = 0; i < ALL; i++)
            assert_int_equal(seen[i], 1);
        store_close(store);
        store = open_with(dir, small);
    }
    store_close(store);
    temp_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(everything_at_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
