#include "base/alloc.h"
#include "base/clock.h"
#include "net/loop.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h> // needs the ones above

#define MS 1000000ll

static struct loop *fresh(void)
{
    struct loop *l;
    assert_int_equal(loop_new(&l, NULL), ERR_OK);
    return l;
}

// ---- timers ---------------------------------------------------------------------------------------------------------
static int order[16], n_order;
static void note(struct loop_timer *t, void *arg)
{
    order[n_order++] = (int)(intptr_t)arg;
}

static void test_timers(void **state)
{
    struct loop *l = fresh();
    struct loop_timer *t[5];
    n_order = 0;
    for (intptr_t i = 0; i < 5; i++)
        t[i] = loop_timer_new(l, note, (void *)i);
    int64_t start = clock_mono_ns();
    loop_timer_set(t[0], 30 * MS);
    loop_timer_set(t[1], 10 * MS);
    loop_timer_set(t[2], 20 * MS);
    loop_timer_set(t[3], 15 * MS);
    loop_timer_set(t[4], 5 * MS);
    loop_timer_set(t[4], 40 * MS); // again: only the last setting counts
    loop_timer_stop(t[3]);
    while (n_order < 4)
        loop_turn(l, -1);
    assert_true(clock_mono_ns() - start >= 40 * MS);
    const int want[] = {1, 2, 0, 4};
    assert_memory_equal(order, want, sizeof want);
    loop_turn(l, 0);
    assert_int_equal(n_order, 4);
    for (int i = 0; i < 5; i++)
        loop_timer_free(t[i]);
    loop_timer_free(NULL);
    loop_free(l);
}

static void again(struct loop_timer *t, void *arg)
{
    if (++*(int *)arg < 3)
        loop_timer_set(t, 0);
}

static void test_timer_again(void **state)
{
    struct loop *l = fresh();
    int n = 0;
    struct loop_timer *t = loop_timer_new(l, again, &n);
    loop_timer_set(t, 0);
    while (n < 3)
        assert_int_equal(loop_turn(l, 100 * MS), ERR_OK);
    loop_timer_free(t);
    loop_free(l);
}

static void test_timer_heap(void **state)
{
    enum { N = 1000 };
    struct loop *l = fresh();
    static struct loop_timer *t[N];
    n_order = 0;
    unsigned seed = 1;
    for (int i = 0; i < N; i++)
        t[i] = loop_timer_new(l, note, NULL);
    for (int i = 0; i < 10 * N; i++) { // sets and stops at random leave a working heap
        seed = seed * 1103515245u + 12345u;
        struct loop_timer *x = t[(seed >> 8) % N];
        if (seed >> 31)
            loop_timer_stop(x);
        else
            loop_timer_set(x, (int64_t)(seed % 1000) * 1000 * MS + 1000 * MS);
    }
    loop_turn(l, 0);
    assert_int_equal(n_order, 0);
    for (int i = 0; i < N; i++)
        loop_timer_free(t[i]);
    loop_free(l);
}

// Setting a timer cannot fail, however many exist: there is room for each from its making on.
static void fire(struct loop_timer *t, void *arg)
{
    ++*(int *)arg;
}

static void test_timer_no_memory(void **state)
{
    enum { N = 70 };
    struct loop *l = fresh();
    struct loop_timer *t[N];
    int fired = 0;
    for (int i = 0; i < N; i++) {
        t[i] = loop_timer_new(l, fire, &fired);
        assert_non_null(t[i]);
    }
    mem_fail_after(1);
    for (int i = 0; i < N; i++)
        loop_timer_set(t[i], 0);
    mem_fail_after(0);
    for (int64_t end = clock_mono_ns() + 30000 * MS; fired < N && clock_mono_ns() < end;)
        loop_turn(l, 10 * MS);
    assert_int_equal(fired, N);
    for (int i = 0; i < N; i++)
        loop_timer_free(t[i]);
    loop_free(l);
}

// ---- posts ----------------------------------------------------------------------------------------------------------
enum { POSTERS = 4, POSTS = 5000 };
static struct loop *shared;
static int arrived; // touched on the loop's thread alone

static void arrive(void *arg)
{
    if (++arrived == POSTERS * POSTS)
        loop_stop(shared);
}

static void *poster(void *arg)
{
    for (int i = 0; i < POSTS; i++) {
        while (loop_post(shared, arrive, NULL) != ERR_OK)
            ;
    }
    return NULL;
}

static void test_posts(void **state)
{
    pthread_t t[POSTERS];
    shared = fresh();
    arrived = 0;
    for (int i = 0; i < POSTERS; i++)
        pthread_create(&t[i], NULL, poster, NULL);
    assert_int_equal(loop_run(shared), ERR_OK);
    for (int i = 0; i < POSTERS; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(arrived, POSTERS * POSTS);
    loop_stop(shared); // before the run: returns at once
    assert_int_equal(loop_run(shared), ERR_OK);
    loop_post(shared, arrive, NULL); // never run: not lost memory either
    loop_free(shared);
}

// ---- descriptors ----------------------------------------------------------------------------------------------------
static struct loop_io *pair_io[2];
static int calls[2];
static unsigned seen;

// Whoever comes first removes both: the other one's event of the same turn must not arrive.
static void remove_both(struct loop_io *io, unsigned events, void *arg)
{
    calls[(intptr_t)arg]++;
    loop_io_remove(pair_io[0]);
    loop_io_remove(pair_io[1]);
}

static void test_remove(void **state)
{
    struct loop *l = fresh();
    int a[2], b[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, a) | socketpair(AF_UNIX, SOCK_STREAM, 0, b), 0);
    assert_int_equal(loop_io_add(l, a[0], LOOP_READ, remove_both, (void *)0, &pair_io[0], NULL), ERR_OK);
    assert_int_equal(loop_io_add(l, b[0], LOOP_READ, remove_both, (void *)1, &pair_io[1], NULL), ERR_OK);
    assert_int_equal(write(a[1], "x", 1) + write(b[1], "x", 1), 2);
    loop_turn(l, 0);
    loop_turn(l, 0);
    assert_int_equal(calls[0] + calls[1], 1);
    for (int i = 0; i < 2; i++) {
        close(a[i]);
        close(b[i]);
    }
    loop_io_remove(NULL);
    loop_free(l);
}

static void see(struct loop_io *io, unsigned events, void *arg)
{
    seen = events;
}

static void test_events(void **state)
{
    struct loop *l = fresh();
    struct loop_io *io;
    int a[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, a), 0);
    loop_io_add(l, a[0], LOOP_WRITE, see, NULL, &io, NULL);
    loop_turn(l, 0);
    assert_int_equal(seen, LOOP_WRITE);
    seen = 0;
    loop_io_set(io, LOOP_READ);
    loop_turn(l, 0);
    assert_int_equal(seen, 0);
    close(a[1]);
    loop_turn(l, 0);
    assert_true(seen & LOOP_HUP);
    struct error e = {0};
    struct loop_io *bad;
    assert_int_equal(loop_io_add(l, 9999, LOOP_READ, see, NULL, &bad, &e), ERR_IO);
    loop_io_remove(io);
    close(a[0]);
    loop_free(l);
    loop_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timers),          cmocka_unit_test(test_timer_again), cmocka_unit_test(test_timer_heap),
        cmocka_unit_test(test_timer_no_memory), cmocka_unit_test(test_posts),       cmocka_unit_test(test_remove),
        cmocka_unit_test(test_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
