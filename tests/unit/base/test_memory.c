// error, alloc, arena, buf (memory side).
#include "base/alloc.h"
#include "base/arena.h"
#include "base/buf.h"
#include "check.h"
#include <stdlib.h>

static void error_keeps_the_first_cause(void **state)
{
    struct error e = {0};
    CHECK_INT(ERR(&e, SYNTAX, "bad byte %d", 7), ERR_SYNTAX);
    int line = e.line;
    CHECK_INT(ERR(&e, IO, "later"), ERR_IO);
    CHECK_INT(e.code, ERR_SYNTAX);
    CHECK_INT(e.line, line);
    CHECK_STR(slice_str(e.msg), "bad byte 7");
    CHECK(strstr(e.file, "test_memory.c") != NULL);
    CHECK_INT(error_prefix(&e, "loading %s: ", "/x"), ERR_SYNTAX);
    CHECK_STR(slice_str(e.msg), "loading /x: bad byte 7");
    CHECK_INT(ERR(NULL, NET, "nobody listens"), ERR_NET);
    CHECK(error_prefix(NULL, "x: ") != ERR_OK);
    CHECK_STR(slice_str(errc_text(ERR_FULL)), "no space left");
    CHECK_STR(slice_str(errc_text((enum errc)999)), "unknown error");
    check_done();
}

static void error_prefix_cuts_the_end(void **state)
{
    struct error e = {0};
    char longer[600];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    ERR(&e, IO, "%s", longer);
    CHECK_INT(strlen(e.msg), ERROR_MESSAGE_MAX - 1);
    error_prefix(&e, "front: ");
    CHECK_INT(strlen(e.msg), ERROR_MESSAGE_MAX - 1);
    CHECK(strncmp(e.msg, "front: xxx", 10) == 0);
    error_prefix(&e, "%s", longer);
    CHECK_INT(strlen(e.msg), ERROR_MESSAGE_MAX - 1);
    check_done();
}

static void arena_gives_aligned_separate_memory(void **state)
{
    struct arena a;
    arena_init(&a, 64 << 20);
    enum { N = 4000 };
    static unsigned char *p[N];
    static size_t n[N];
    srand(1);
    for (int i = 0; i < N; i++) {
        n[i] = (size_t)(rand() % 300) * (i % 100 == 0 ? 1000 : 1);
        p[i] = arena_alloc(&a, n[i]);
        check_row("%d of %zu bytes", i, n[i]);
        if (!CHECK(p[i] != NULL))
            break;
        CHECK((uintptr_t)p[i] % 16 == 0);
        memset(p[i], i & 255, n[i]);
    }
    for (int i = 0; i < N && p[i]; i++)
        for (size_t k = 0; k < n[i]; k++)
            if (p[i][k] != (i & 255)) {
                check_failed(__FILE__, __LINE__, "allocation %d overwritten", i);
                break;
            }
    CHECK(!arena_failed(&a));
    arena_reset(&a);
    CHECK(a.used > 0 && a.used <= 1 << 20);
    arena_free(&a);
    CHECK_INT(a.used, 0);
    CHECK(arena_alloc(&a, 10) != NULL); // usable again
    arena_free(&a);
    check_done();
}

static void arena_refuses_beyond_its_budget(void **state)
{
    struct arena a;
    arena_init(&a, 10000);
    CHECK(arena_alloc(&a, 3000) != NULL);
    CHECK(arena_alloc(&a, 4000) != NULL); // a doubled chunk would not fit, one of its size does
    CHECK(!arena_failed(&a));
    CHECK(arena_alloc(&a, 4000) == NULL);
    CHECK(arena_failed(&a));
    CHECK(a.used <= 10000);
    CHECK(arena_alloc(&a, 16) != NULL); // small ones still fit
    CHECK(arena_failed(&a));            // but the failure is remembered
    arena_reset(&a);
    CHECK(!arena_failed(&a));
    CHECK(arena_alloc(&a, SIZE_MAX) == NULL);
    CHECK(arena_alloc(&a, SIZE_MAX - 40) == NULL);
    CHECK(ARENA_ARRAY(&a, uint64_t, SIZE_MAX / 4) == NULL);
    CHECK(arena_dup(&a, slice_of("x", SIZE_MAX)).p == NULL);
    CHECK(arena_alloc(&a, 0) != NULL);
    arena_free(&a);
    check_done();
}

static void arena_grows_arrays(void **state)
{
    struct arena a;
    arena_init(&a, 64 << 20);
    char *p = arena_grow(&a, NULL, 0, 10);
    memcpy(p, "0123456789", 10);
    CHECK(arena_grow(&a, p, 10, 1000) == p); // the newest grows in place
    char *other = arena_alloc(&a, 1);
    char *q = arena_grow(&a, p, 1000, 2000);
    CHECK(q != p && q != other);
    CHECK(memcmp(q, "0123456789", 10) == 0);
    CHECK(arena_grow(&a, q, 2000, 100) == q);
    char *big = arena_grow(&a, q, 2000, 3 << 20);
    CHECK(big && memcmp(big, "0123456789", 10) == 0);
    struct slice s = arena_dup(&a, SLICE("abc"));
    CHECK_STR(s, "abc");
    CHECK_INT(s.p[3], 0);
    CHECK_STR(arena_printf(&a, "%s-%05d", "x", 42), "x-00042");
    CHECK_STR(arena_dup(&a, SLICE_NONE), "");
    arena_free(&a);
    check_done();
}

static void arena_uses_what_a_big_one_leaves(void **state)
{
    struct arena a;
    arena_init(&a, 64 << 20);
    char *x = arena_alloc(&a, 100);
    CHECK(arena_alloc(&a, 8 << 20) != NULL);
    char *y = arena_alloc(&a, 100);
    CHECK_INT(y - x, 112);
    arena_free(&a);
    check_done();
}

static void allocation_failures_come_in_turn(void **state)
{
    for (long n = 1; n < 100; n++) {
        struct arena a;
        struct buf b;
        arena_init(&a, 64 << 20);
        buf_init(&b, 1 << 20);
        mem_fail_after(n);
        bool whole = true;
        for (int i = 0; i < 200; i++) {
            whole &= arena_alloc(&a, 5000) != NULL;
            buf_put(&b, "0123456789abcdef", 16);
        }
        buf_printf(&b, "%0300d", 1);
        bool hit = mem_fail_hit();
        mem_fail_after(0);
        check_row("failure %ld", n);
        CHECK(hit == (!whole || b.err == ERR_NOMEM));
        CHECK(arena_failed(&a) == !whole);
        CHECK(b.err != ERR_OK || b.n == 200 * 16 + 300);
        arena_free(&a);
        buf_free(&b);
        if (!hit)
            return check_done();
    }
    fail_msg("the last failure never stopped");
}

static void buf_grows_to_its_maximum_and_stops(void **state)
{
    struct buf b;
    buf_init(&b, 1000);
    for (int i = 0; i < 100; i++)
        buf_put(&b, "0123456789", 10);
    CHECK_INT(b.n, 1000);
    CHECK_INT(b.err, ERR_OK);
    buf_char(&b, 'x');
    CHECK_INT(b.err, ERR_LIMIT);
    CHECK_INT(b.n, 1000);
    buf_drop(&b, 500);
    buf_char(&b, 'x'); // the failure sticks
    CHECK_INT(b.n, 500);
    CHECK(buf_reserve(&b, 1) == NULL);
    buf_reset(&b);
    buf_printf(&b, "%d-%s", 12, "ab");
    CHECK_STR(buf_slice(&b), "12-ab");
    buf_drop(&b, 3);
    CHECK_STR(buf_slice(&b), "ab");
    buf_drop(&b, 99);
    CHECK_INT(b.n, 0);
    buf_printf(&b, "%0998d", 5);
    buf_printf(&b, "%d", 42);
    CHECK_INT(b.n, 1000);
    CHECK_INT(b.err, ERR_OK);
    buf_put(&b, NULL, 0);
    CHECK_INT(b.err, ERR_OK);
    CHECK(buf_reserve(&b, SIZE_MAX) == NULL);
    CHECK_INT(b.err, ERR_LIMIT);
    buf_free(&b);
    struct buf none = {0};
    buf_char(&none, 'x');
    CHECK_INT(none.err, ERR_LIMIT);
    buf_free(&none);
    check_done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(error_keeps_the_first_cause),
        cmocka_unit_test(error_prefix_cuts_the_end),
        cmocka_unit_test(arena_gives_aligned_separate_memory),
        cmocka_unit_test(arena_refuses_beyond_its_budget),
        cmocka_unit_test(arena_grows_arrays),
        cmocka_unit_test(arena_uses_what_a_big_one_leaves),
        cmocka_unit_test(allocation_failures_come_in_turn),
        cmocka_unit_test(buf_grows_to_its_maximum_and_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
