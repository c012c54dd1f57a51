// Many threads at once: nothing is lost, nothing counted twice, scrapes see consistent histograms, shards of ended threads are
// used again. To be run under the thread sanitizer too.
#include "base/alloc.h"
#include "check.h"
#include "child.h"
#include "sdk/metric.h"
#include <math.h>
#include <pthread.h>
#include <stdlib.h>

enum { THREADS = 4, UPDATES = 20000 };

static struct sonde_registry *r;
static struct sonde_counter *floats;
static struct sonde_int_counter *ints;
static struct sonde_gauge *gauge;
static struct sonde_int_gauge *int_gauge;
static struct sonde_histogram *classic, *native;
static struct sonde_int_counter_vec *vec;
static atomic_bool done;

static void *writer(void *arg)
{
    struct sonde_context parent = {.flags = 1, .trace_id = {1}, .span_id = {2}};
    struct sonde_span *span = sonde_span_start("writer", SONDE_KIND_INTERNAL, &parent);
    sonde_span_enter(span);
    for (int i = 0; i < UPDATES; i++) {
        sonde_counter_add(floats, 0.5);
        sonde_int_counter_add(ints, 2);
        sonde_gauge_add(gauge, 1);
        sonde_int_gauge_add(int_gauge, -1);
        sonde_histogram_observe(classic, i % 7);
        // the range grows in both directions, so that the scale changes while others read
        sonde_histogram_observe(native, ldexp(1, i % 2 ? i / 100 : -i / 100));
        char path[16];
        snprintf(path, sizeof path, "/%d", (i + (int)(intptr_t)arg) % 300);
        sonde_int_counter_add(sonde_int_counter_vec_with(vec, SONDE_VALUES(path)), 1);
        if (i % 1000 == 0)
            sonde_int_counter_add_exemplar(ints, 0, (struct sonde_label[]){{"who", "w"}}, 1);
    }
    sonde_span_end(span);
    return NULL;
}

// A histogram's count is its last bucket's, buckets never fall, and totals never fall from scrape to scrape.
static void *scraper(void *arg)
{
    uint64_t last = 0, last_native = 0, *scrapes = arg;
    while (!atomic_load(&done)) {
        char *page = sonde_registry_text(r, *scrapes % 2 ? SONDE_EXPOSITION_TEXT : SONDE_EXPOSITION_OPENMETRICS, NULL);
        uint64_t inf = 0, count = 0;
        char *at = strstr(page, "classic_bucket{le=\"+Inf\"} ");
        if (at)
            inf = strtoull(at + 26, NULL, 10);
        at = strstr(page, "\nclassic_count ");
        if (at)
            count = strtoull(at + 15, NULL, 10);
        CHECK_INT(inf, count);
        CHECK(count >= last);
        last = count;
        struct metric_native n;
        metric_native_read((struct metric_series *)native, &n);
        CHECK(n.count >= last_native && n.positive.n <= METRIC_NATIVE_MAX);
        last_native = n.count;
        free(page);
        ++*scrapes;
    }
    return NULL;
}

static void together(void **state)
{
    (void)state;
    static const char *const names[] = {"path"};
#define NEW(type, text) sonde_##type##_new(r, &(struct sonde_metric_options){.name = text}, NULL)
    r = sonde_registry_new(NULL);
    floats = NEW(counter, "floats_total");
    ints = NEW(int_counter, "ints_total");
    gauge = NEW(gauge, "gauge");
    int_gauge = NEW(int_gauge, "int_gauge");
    classic = NEW(histogram, "classic");
    native = NEW(native_histogram, "native");
    vec = sonde_int_counter_vec_new(
        r, &(struct sonde_metric_options){.name = "vec_total", .label_names = names, .n_label_names = 1, .max_series = 200},
        NULL);
    pthread_t t[THREADS], s;
    uint64_t scrapes = 0;
    pthread_create(&s, NULL, scraper, &scrapes);
    for (intptr_t i = 0; i < THREADS; i++)
        pthread_create(&t[i], NULL, writer, (void *)i);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    atomic_store(&done, true);
    pthread_join(s, NULL);
    uint64_t all = (uint64_t)THREADS * UPDATES;
    CHECK(scrapes > 0);
    CHECK(sonde_counter_value(floats) == 0.5 * (double)all);
    CHECK_INT(sonde_int_counter_value(ints), 2 * all);
    CHECK(sonde_gauge_value(gauge) == (double)all);
    CHECK_INT(sonde_int_gauge_value(int_gauge), -(int64_t)all);
    CHECK_INT(sonde_histogram_count(classic), all);
    double sum = 0;
    for (int i = 0; i < UPDATES; i++)
        sum += i % 7;
    CHECK(sonde_histogram_sum(classic) == sum * THREADS);
    struct metric_native n;
    metric_native_read((struct metric_series *)native, &n);
    CHECK_INT(n.count, all);
    CHECK_INT(n.scale, -2); // 400 octaves: four in a bucket
    uint64_t in_series = 0;
    struct metric_family *f = metric_family_find(r, SLICE("vec_total"), NULL);
    CHECK_INT(f->n_series, 201);
    for (uint32_t i = 0; i < f->n_series; i++)
        in_series += metric_sum_u64(f->series[i]->slot);
    CHECK_INT(in_series, all);
    sonde_registry_free(r);
    check_done();
}

static struct sonde_histogram *churn;

static void *short_life(void *arg)
{
    sonde_histogram_observe(churn, (double)(intptr_t)arg);
    return NULL;
}

static void thread_churn(void **state)
{
    (void)state;
    r = sonde_registry_new(NULL);
    churn = NEW(native_histogram, "churn");
    sonde_histogram_observe(churn, 1);
    size_t before = metric_shard_count();
    for (intptr_t i = 0; i < 300; i++) {
        pthread_t t[2];
        for (int k = 0; k < 2; k++)
            pthread_create(&t[k], NULL, short_life, (void *)(i + 1));
        for (int k = 0; k < 2; k++)
            pthread_join(t[k], NULL);
    }
    assert_true(metric_shard_count() <= (before > 3 ? before : 3)); // as many as ever lived at one time
    assert_int_equal(sonde_histogram_count(churn), 601);
    sonde_registry_free(r);
}

// Destructors of other keys may still count after the shard was given back.
static pthread_key_t late;
static struct sonde_int_counter *late_counter;

static void late_update(void *arg)
{
    (void)arg;
    sonde_int_counter_add(late_counter, 1);
}

static void *with_late_update(void *arg)
{
    pthread_setspecific(late, arg);
    sonde_int_counter_add(late_counter, 1);
    return NULL;
}

static void after_the_end(void **state)
{
    (void)state;
    r = sonde_registry_new(NULL);
    late_counter = NEW(int_counter, "late_total");
    sonde_int_counter_add(late_counter, 0); // the library's key is made first, its destructor runs first
    assert_int_equal(pthread_key_create(&late, late_update), 0);
    size_t before = metric_shard_count();
    for (int i = 0; i < 20; i++) {
        pthread_t t;
        pthread_create(&t, NULL, with_late_update, &late);
        pthread_join(t, NULL);
    }
    assert_int_equal(sonde_int_counter_value(late_counter), 40);
    assert_true(metric_shard_count() <= before + 1);
    pthread_key_delete(late);
    sonde_registry_free(r);
}

// Without memory for its shard or page an update is lost, and that is counted.
static void *starved(void *arg)
{
    mem_fail_after(1);
    sonde_int_counter_add(arg, 1);
    mem_fail_after(0);
    sonde_int_counter_add(arg, 10);
    return NULL;
}

static void no_memory(void **state)
{
    (void)state;
    r = sonde_registry_new(NULL);
    struct sonde_int_counter *c = NEW(int_counter, "c_total");
    struct metric_shard *taken[64];
    size_t n = 0;
    METRIC_EACH_SHARD(s)
    { // no shard of an ended thread is at hand
        unsigned idle = 0;
        if (n < 64 && atomic_compare_exchange_strong(&s->used, &idle, 1))
            taken[n++] = s;
    }
    uint64_t before = atomic_load(&metric_updates_lost);
    pthread_t t;
    pthread_create(&t, NULL, starved, c);
    pthread_join(t, NULL);
    while (n > 0)
        atomic_store(&taken[--n]->used, 0);
    assert_int_equal(atomic_load(&metric_updates_lost), before + 1);
    assert_int_equal(sonde_int_counter_value(c), 10);
    sonde_registry_add_process(r, NULL);
    char *page = sonde_registry_text(r, SONDE_EXPOSITION_TEXT, NULL);
    char want[64];
    snprintf(want, sizeof want, "\nsonde_metrics_updates_lost_total %llu\n", (unsigned long long)before + 1);
    assert_non_null(strstr(page, want));
    free(page);
    sonde_registry_free(r);
}

// A child goes on from the parent's numbers, and uses the shards of the threads that it does not have.
static void fork_child(void **state)
{
    (void)state;
    if (CHILD_TSAN)
        skip();
    r = sonde_registry_new(NULL);
    struct sonde_int_counter *c = NEW(int_counter, "c_total");
    sonde_int_counter_add(c, 5);
    size_t before = metric_shard_count();
    pid_t pid = fork();
    if (pid == 0) {
        sonde_int_counter_add(c, 1);
        char *page = sonde_registry_text(r, SONDE_EXPOSITION_TEXT, NULL);
        _exit(!(page && strstr(page, "c_total 6\n") && metric_shard_count() == before));
    }
    int status = -1;
    assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
    assert_int_equal(status, 0);
    assert_int_equal(sonde_int_counter_value(c), 5);
    sonde_registry_free(r);
}

int main(void)
{
    setenv("SONDE_RING_SIZE", "262144", 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(together),  cmocka_unit_test(thread_churn), cmocka_unit_test(after_the_end),
        cmocka_unit_test(no_memory), cmocka_unit_test(fork_child),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
