// Opening after a kill: what is read again, and what is not because parts have it.
#include "base/limits.h"
#include "util.h"
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static unsigned seen[20000];

// As SIGKILL leaves it: no flush changes anything while it is copied.
static char *copy_of(struct store *s, const char *dir)
{
    char *copy = temp_dir(), cmd[600];
    snprintf(cmd, sizeof cmd, "cp -r %s/. %s/", dir, copy);
    pthread_mutex_lock(&s->flush_lock);
    int rc = system(cmd);
    pthread_mutex_unlock(&s->flush_lock);
    assert_int_equal(rc, 0);
    return copy;
}

static void expect_lines(struct store *s, unsigned n)
{
    assert_int_equal(count_lines(s, seen, 20000), n);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(seen[i], 1);
}

static void small(struct store_options *o)
{
    o->head_max_log_bytes = o->wal_segment_bytes = KIB(32);
    o->wal_keep_bytes = MIB(4);
}

// 60 requests of 200 lines, all but the last in parts; as after a kill.
static char *killed_dir(void)
{
    char *dir = temp_dir();
    struct store *s = open_with(dir, small);
    for (unsigned i = 0; i < 59; i++)
        OK(append_lines(s, 1, i * 200, 200));
    OK(store_flush(s, NULL));
    OK(append_lines(s, 1, 59 * 200, 200));
    char *copy = copy_of(s, dir);
    store_close(s);
    temp_remove(dir);
    return copy;
}

static size_t files(const char *dir, const char *pattern, glob_t *g)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", dir, pattern);
    return glob(path, 0, NULL, g) == 0 ? g->gl_pathc : 0;
}

static void heads_are_flushed_by_their_log(void **state)
{
    (void)state;
    char *dir = temp_dir();
    struct store *s = open_with(dir, small); // 64 MiB of head are far away
    struct store_stats st = {0};
    for (unsigned i = 0; i < 60; i++)
        OK(append_lines(s, 1, i * 200, 200));
    for (int i = 0; i < 1500 && st.rows_parts < 6000; i++) {
        usleep(20000);
        store_stats(s, &st);
    }
    assert_true(st.rows_parts >= 6000);
    store_close(s);
    temp_remove(dir);
}

// A tenant that sends little does not keep the log of a busy one from being covered.
static void a_slow_table_follows(void **state)
{
    (void)state;
    char *dir = temp_dir();
    struct store *s = open_with(dir, small);
    struct buf b;
    buf_init(&b, MIB(1));
    push_text(&b, 1, 0, 10);
    assert_int_equal(append_raw(s, SLICE("slow"), WIRE_LOKI_JSON, buf_slice(&b)), ERR_OK);
    struct table *slow = table_find(s, SLICE("slow"), SIGNAL_LOG);
    for (unsigned i = 0; i < 60; i++)
        OK(append_lines(s, 1, i * 200, 200));
    for (int i = 0; i < 1500 && !table_covers(slow, 1); i++)
        usleep(20000);
    assert_true(table_covers(slow, 1));
    store_close(s);
    buf_free(&b);
    temp_remove(dir);
}

static void covered_segments_are_left_alone(void **state)
{
    (void)state;
    char *dir = killed_dir();
    glob_t g;
    assert_true(files(dir, "wal/*-*.wal", &g) > 5);
    write_whole(g.gl_pathv[2], (const uint8_t *)"damage", 6); // nobody looks
    struct store *s = open_with(dir, small);
    struct store_stats st;
    store_stats(s, &st);
    assert_int_equal(st.torn_bytes, 0);
    assert_int_equal(st.rows_head, 200);
    assert_int_equal(access(g.gl_pathv[2], F_OK), 0);
    globfree(&g);
    expect_lines(s, 12000);
    OK(append_lines(s, 1, 12000, 200)); // its number is higher than all of the covered
    expect_lines(s, 12200);
    store_close(s);
    s = open_with(dir, small);
    expect_lines(s, 12200);
    store_close(s);
    temp_remove(dir);
}

// Rows in parts, of covered segments, and of the head: a client that sends again after the restart doubles none.
static void the_filter_comes_back(void **state)
{
    (void)state;
    char *dir = killed_dir();
    struct store *s = open_with(dir, small);
    for (unsigned i = 0; i < 60; i++)
        OK(append_lines(s, 1, i * 200, 200));
    expect_lines(s, 12000);
    store_close(s);
    temp_remove(dir);
}

// What the log alone had at the opening, and a flush put into a part before the filter read the log.
static void the_filter_comes_back_after_a_flush(void **state)
{
    (void)state;
    char *dir = temp_dir();
    struct store *s = open_store(dir);
    OK(append_lines(s, 1, 0, 100));
    char *copy = copy_of(s, dir);
    store_close(s);
    s = open_store(copy);
    OK(store_flush(s, &e_));
    OK(append_lines(s, 1, 0, 100));
    expect_lines(s, 100);
    store_close(s);
    temp_remove(copy);
    temp_remove(dir);
}

// What a lost part had comes from the covered segments, also when the first opening after the loss is killed.
static void a_lost_part_is_replayed(void **state)
{
    (void)state;
    char *dir = killed_dir();
    glob_t g;
    size_t n = files(dir, "parts/*/*.part", &g);
    assert_true(n >= 1);
    assert_int_equal(truncate(g.gl_pathv[0], 100), 0);
    globfree(&g);
    struct store *s = open_with(dir, small);
    expect_lines(s, 12000);
    char *copy = copy_of(s, dir);
    store_close(s);
    s = open_with(copy, small);
    expect_lines(s, 12000);
    store_close(s);
    temp_remove(copy);
    temp_remove(dir);
}

// Killed while the log gives the lost part's requests back: the part is set aside after that, so the next opening knows of it.
static void a_lost_part_is_replayed_after_a_kill(void **state)
{
    (void)state;
    char *dir = killed_dir(), in_the_way[600];
    struct store_options o;
    struct store *s;
    glob_t g;
    assert_true(files(dir, "parts/*/*.part", &g) >= 1);
    assert_int_equal(truncate(g.gl_pathv[0], 100), 0);
    globfree(&g);
    assert_true(files(dir, "wal/*-*.wal", &g) >= 1);
    snprintf(in_the_way, sizeof in_the_way, "%s", g.gl_pathv[0]);
    strcpy(strrchr(in_the_way, '-'), ".wal");
    globfree(&g);
    assert_int_equal(mkdir(in_the_way, 0777), 0); // where the first covered segment is to be renamed to
    store_options_default(&o);
    o.dir = dir;
    assert_int_equal(store_open(&s, &o, NULL), ERR_IO);
    assert_int_equal(rmdir(in_the_way), 0);
    s = open_with(dir, small);
    expect_lines(s, 12000);
    store_close(s);
    temp_remove(dir);
}

static void one_row_requests_are_joined(void **state)
{
    (void)state;
    char *dir = temp_dir();
    struct store *s = open_store(dir);
    struct buf b;
    buf_init(&b, MIB(1));
    for (unsigned i = 0; i < 5000; i++) {
        buf_reset(&b);
        push_text(&b, (int)(i % 3), i == 2500 ? 15000 : i, i == 2500 ? 101 : 1); // one that is not small, in the middle
        struct wire_options opt = {.received_ns = T0};
        struct wire_report report = {0};
        struct batch *batch;
        OK(wire_decode(WIRE_LOKI_JSON, buf_slice(&b), true, &opt, &batch, &report, &e_));
        OK(store_append(s, i % 2 ? SLICE_NONE : SLICE("b"), WIRE_LOKI_JSON, buf_slice(&b), T0, batch, NULL, NULL, &e_));
    }
    buf_free(&b);
    OK(append_lines(s, 0, 10000, 1)); // in order: when this is committed, all are
    char *copy = copy_of(s, dir);
    store_close(s);
    s = open_store(copy);
    struct store_stats st;
    store_stats(s, &st);
    assert_int_equal(st.replayed_requests, 5001);
    assert_int_equal(st.rows_head, 5101);
    assert_int_equal(count_lines(s, seen, 20000), 2501);
    for (unsigned i = 0; i < 5000; i++)
        assert_int_equal(seen[i], i % 2);
    struct table *t = table_find(s, SLICE("b"), SIGNAL_LOG);
    uint64_t last = 0;
    assert_true(t->head.n < 20);
    for (uint32_t i = 0; i < t->head.n; i++) {
        assert_true(t->head.v[i].first > last && t->head.v[i].last >= t->head.v[i].first);
        last = t->head.v[i].last;
    }
    store_close(s);
    temp_remove(copy);
    temp_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_are_flushed_by_their_log),       cmocka_unit_test(a_slow_table_follows),
        cmocka_unit_test(covered_segments_are_left_alone),      cmocka_unit_test(the_filter_comes_back),
        cmocka_unit_test(the_filter_comes_back_after_a_flush),  cmocka_unit_test(a_lost_part_is_replayed),
        cmocka_unit_test(a_lost_part_is_replayed_after_a_kill), cmocka_unit_test(one_row_requests_are_joined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
