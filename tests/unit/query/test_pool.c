// The pool: all jobs run, a full queue refuses, closing finishes what waits.
#include "check.h"
#include "query/pool.h"
#include <pthread.h>
#include <stdatomic.h>

static _Atomic int ran;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void count(void *arg)
{
    atomic_fetch_add(&ran, 1);
}
static void wait_gate(void *arg)
{
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    atomic_fetch_add(&ran, 1);
}

static void runs_all(void **state)
{
    struct pool *p;
    ran = 0;
    assert_int_equal(pool_new(&p, 3, 1000, NULL), ERR_OK);
    for (int i = 0; i < 500; i++)
        assert_int_equal(pool_submit(p, count, NULL), ERR_OK);
    pool_free(p);
    assert_int_equal(ran, 500);
}

static void refuses_when_full(void **state)
{
    struct pool *p;
    struct pool_stats s;
    ran = 0;
    pthread_mutex_lock(&gate);
    assert_int_equal(pool_new(&p, 1, 2, NULL), ERR_OK);
    assert_int_equal(pool_submit(p, wait_gate, NULL), ERR_OK);
    do {
        pool_stats(p, &s);
    } while (!s.running);
    assert_int_equal(pool_submit(p, count, NULL), ERR_OK);
    assert_int_equal(pool_submit(p, count, NULL), ERR_OK);
    assert_int_equal(pool_submit(p, count, NULL), ERR_LIMIT);
    pool_stats(p, &s);
    assert_int_equal(s.waiting, 2);
    assert_int_equal(s.refused, 1);
    pthread_mutex_unlock(&gate);
    pool_free(p);
    assert_int_equal(ran, 3);
}

static void bad_sizes(void **state)
{
    struct pool *p;
    struct error err = {0};
    assert_int_equal(pool_new(&p, 0, 1, &err), ERR_INPUT);
    assert_int_equal(pool_new(&p, 1, 0, NULL), ERR_INPUT);
    assert_non_null(strstr(err.msg, "threads"));
    pool_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(runs_all), cmocka_unit_test(refuses_when_full),
                                       cmocka_unit_test(bad_sizes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
