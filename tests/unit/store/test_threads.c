// Appends, scans, flushes and statistics at once. Run under -fsanitize=thread too.
#include "base/clock.h"
#include "base/limits.h"
#include "util.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
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

// ---- the log is trimmed while commits go on --------------------------------------------------------------------------
static void one_request_a_segment(struct store_options *o)
{
    o->wal_segment_bytes = 1;
    o->wal_keep_bytes = 0;
}

static void *flush_once(void *arg)
{
    if (store_flush(arg, NULL) != ERR_OK)
        abort();
    return NULL;
}

// The log still has, to be read at the next start, what only the table's head has.
static bool head_is_in_the_log(struct store *s, struct table *t)
{
    pthread_mutex_lock(&s->flush_lock);
    pthread_mutex_lock(&t->lock);
    uint64_t first = t->head.n ? t->head.v[0].first : UINT64_MAX;
    pthread_mutex_unlock(&t->lock);
    pthread_mutex_lock(&s->wal.lock);
    bool found = first == UINT64_MAX;
    for (size_t i = 0; i < s->wal.n_segments; i++) {
        const struct wal_segment *g = &s->wal.segment[i];
        found = found || (g->first <= first && first < g->end && !g->covered);
    }
    pthread_mutex_unlock(&s->wal.lock);
    pthread_mutex_unlock(&s->flush_lock);
    return found;
}

// Heads shrink as they become parts; then the flush gets a moment to come to where it waits. When it does not, the round
// shows nothing.
static void wait_for_heads(struct store *s, size_t bytes)
{
    while (atomic_load(&s->head_bytes) > bytes)
        usleep(100);
    usleep(2000);
}

// A flush of three tables, led by the locks of the second and the third: it saw the head of the first empty, and before it
// trims, requests for the first arrive.
static void trimming_spares_what_came_meanwhile(void **state)
{
    (void)state;
    char *dir = temp_dir();
    struct store *s = open_with(dir, one_request_a_segment);
    struct slice third_name = SLICE("third");
    unsigned line = 0;
    OK(append_lines(s, 1, line++, 1));
    struct table *first = table_find(s, SLICE_NONE, SIGNAL_LOG);
    struct table *second = table_get(s, SLICE("second"), SIGNAL_LOG), *third = table_get(s, third_name, SIGNAL_LOG);
    assert_true(first && second && third);
    for (int i = 0; i < 5; i++) {
        struct buf b;
        pthread_t f;
        OK(store_flush(s, &e_));
        buf_init(&b, KIB(1));
        push_text(&b, 1, line++, 1);
        OK(append_raw(s, third_name, WIRE_LOKI_JSON, buf_slice(&b)));
        buf_free(&b);
        size_t of_third = atomic_load(&s->head_bytes);
        OK(append_lines(s, 1, line++, 1));
        pthread_mutex_lock(&third->lock);
        pthread_create(&f, NULL, flush_once, s);
        wait_for_heads(s, of_third);
        pthread_mutex_lock(&second->lock);
        pthread_mutex_unlock(&third->lock);
        wait_for_heads(s, 0);
        for (int k = 0; k < 3; k++)
            OK(append_lines(s, 1, line++, 1));
        pthread_mutex_unlock(&second->lock);
        pthread_join(f, NULL);
        assert_true(head_is_in_the_log(s, first));
    }
    store_close(s);
    temp_remove(dir);
}

// ---- the wall clock is set ---------------------------------------------------------------------------------------------
static atomic_bool set_back; // by an hour: for whoever waits, what was asked before is an hour away

int clock_gettime(clockid_t clock, struct timespec *ts)
{
    long rc = syscall(SYS_clock_gettime, clock, ts);
    ts->tv_sec += clock == CLOCK_REALTIME && atomic_load(&set_back) ? 3600 : 0;
    return (int)rc;
}

static void at_once(struct store_options *o)
{
    o->head_max_age_ns = 1000000;
}

static void a_clock_set_back_delays_nothing(void **state)
{
    (void)state;
    char *dir = temp_dir();
    int64_t began = clock_mono_ns();
    atomic_store(&set_back, true);
    struct store *s = open_with(dir, at_once);
    struct store_stats st = {0};
    OK(append_lines(s, 1, 0, 10));
    while (!st.rows_parts && clock_mono_ns() - began < 60000000000ll) {
        usleep(10000);
        store_stats(s, &st);
    }
    assert_int_equal(st.rows_parts, 10);
    atomic_store(&set_back, false);
    store_close(s);
    temp_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(everything_at_once),
                                       cmocka_unit_test(trimming_spares_what_came_meanwhile),
                                       cmocka_unit_test(a_clock_set_back_delays_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
