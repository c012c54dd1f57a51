// clock, hash, random.
#include "base/clock.h"
#include "base/hash.h"
#include "check.h"
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void ticks_follow_the_wall_clock(void **state)
{
    struct clock_cal c;
    clock_init();
    clock_calibrate(&c);
    int64_t worst = 0;
    for (int i = 0; i < 50; i++) {
        // The tightest of a few: this thread may be interrupted between the two readings.
        int64_t best = INT64_MAX;
        for (int k = 0; k < 20; k++) {
            int64_t wall = clock_wall_ns();
            int64_t off = llabs(clock_to_wall(&c, clock_tick()) - wall);
            best = off < best ? off : best;
        }
        worst = best > worst ? best : worst;
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
        if (i % 10 == 9)
            clock_calibrate(&c);
    }
    check_row("worst drift %lld ns", (long long)worst);
    CHECK(worst < 50000); // 20 ms between calibrations at far worse than any crystal
    check_done();
}

static void later_calibrations_are_finer(void **state)
{
    struct clock_cal a, b;
    clock_calibrate(&a);
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    clock_calibrate(&b);
    CHECK_INT(a.is_tsc, clock_use_tsc);
    CHECK_INT(b.is_tsc, a.is_tsc);
    CHECK(b.base_tick > a.base_tick);
    // Both tell the same time for the same tick, within a ten-thousandth of what passed.
    CHECK(llabs(clock_to_wall(&a, b.base_tick) - b.base_wall) < 5000000);
    // A tick before the base is before the base's time.
    CHECK(llabs(clock_to_wall(&b, a.base_tick) - a.base_wall) < 5000000);
    CHECK(clock_to_wall(&b, a.base_tick) < b.base_wall);
    check_done();
}

static void ticks_convert_by_the_formula(void **state)
{
    static const struct {
        struct clock_cal c;
        uint64_t tick;
        int64_t want;
    } rows[] = {
        {{.base_tick = 100, .base_wall = 5000, .mult = 1}, 150, 5050},
        {{.base_tick = 100, .base_wall = 5000, .mult = 1}, 50, 4950},
        {{.base_tick = 100, .base_wall = 5000, .mult = 1ull << 31, .shift = 32}, 150, 5025},
        {{.base_tick = 0, .base_wall = 0, .mult = 1ull << 31, .shift = 32}, 1ull << 62, 1ll << 61},
        {{.base_tick = 1ull << 62, .base_wall = 0, .mult = 1ull << 31, .shift = 32}, 0, -(1ll << 61)},
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        check_row("%zu", i);
        CHECK_INT(clock_to_wall(&rows[i].c, rows[i].tick), rows[i].want);
    }
    check_done();
}

static void *calibrate_often(void *arg)
{
    struct clock_cal c;
    for (int i = 0; i < 200; i++)
        clock_calibrate(&c);
    return NULL;
}

static void calibration_from_several_threads(void **state)
{
    pthread_t t[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&t[i], NULL, calibrate_often, NULL), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(t[i], NULL);
}

static void times_as_text(void **state)
{
    static const struct {
        int64_t ns;
        int digits;
        const char *want;
    } rows[] = {
        {0, 0, "1970-01-01T00:00:00Z"},
        {0, 9, "1970-01-01T00:00:00.000000000Z"},
        {1, 9, "1970-01-01T00:00:00.000000001Z"},
        {-1, 9, "1969-12-31T23:59:59.999999999Z"},
        {-1, 0, "1969-12-31T23:59:59Z"},
        {951782400000000000, 3, "2000-02-29T00:00:00.000Z"},
        {1709210096789999999, 6, "2024-02-29T12:34:56.789999Z"},
        {4107542399000000000, 0, "2100-02-28T23:59:59Z"},
        {4107542400000000000, 0, "2100-03-01T00:00:00Z"},
        {INT64_MAX, 9, "2262-04-11T23:47:16.854775807Z"},
        {INT64_MIN, 9, "1677-09-21T00:12:43.145224192Z"},
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        char out[40];
        int64_t back;
        check_row("%s", rows[i].want);
        int n = time_format(out, rows[i].ns, rows[i].digits, false);
        CHECK_SLICE(slice_of(out, (size_t)n), slice_str(rows[i].want));
        CHECK(time_parse(out, (unsigned long)n, &back));
        if (rows[i].digits == 9)
            CHECK_INT(back, rows[i].ns);
    }
    check_done();
}

static void local_times_as_text(void **state)
{
    static const struct {
        const char *tz, *want;
    } rows[] = {
        {"UTC0", "2024-02-29T12:34:56.789+00:00"},
        {"XXX-5:30", "2024-02-29T18:04:56.789+05:30"},
        {"XXX+9:30", "2024-02-29T03:04:56.789-09:30"},
        {"XXX-14", "2024-03-01T02:34:56.789+14:00"},
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        char out[40];
        int64_t back;
        setenv("TZ", rows[i].tz, 1);
        tzset();
        check_row("%s", rows[i].tz);
        int n = time_format(out, 1709210096789000000, 3, true);
        CHECK_SLICE(slice_of(out, (size_t)n), slice_str(rows[i].want));
        CHECK(time_parse(out, (unsigned long)n, &back));
        CHECK_INT(back, 1709210096789000000);
    }
    unsetenv("TZ");
    tzset();
    check_done();
}

static void reading_times(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        int64_t ns;
    } rows[] = {
        {"1970-01-01T00:00:01Z", true, 1000000000},
        {"1970-01-01t00:00:01z", true, 1000000000},
        {"1970-01-01 00:00:01Z", true, 1000000000},
        {"1970-01-01T00:00:00.5Z", true, 500000000},
        {"1970-01-01T00:00:00.123456789123Z", true, 123456789},
        {"1970-01-01T01:00:00+01:00", true, 0},
        {"1969-12-31T18:30:00-05:30", true, 0},
        {"2024-02-29T00:00:00Z", true, 1709164800000000000},
        {"2016-12-31T23:59:60Z", true, 1483228800000000000},
        {"2023-02-29T00:00:00Z", false, 0},
        {"1900-02-29T00:00:00Z", false, 0},
        {"2024-04-31T00:00:00Z", false, 0},
        {"2024-13-01T00:00:00Z", false, 0},
        {"2024-00-01T00:00:00Z", false, 0},
        {"2024-01-00T00:00:00Z", false, 0},
        {"2024-01-01T24:00:00Z", false, 0},
        {"2024-01-01T00:60:00Z", false, 0},
        {"2024-01-01T00:00:61Z", false, 0},
        {"2024-01-01T00:00:00", false, 0},
        {"2024-01-01T00:00:00.Z", false, 0},
        {"2024-01-01T00:00:00+1:00", false, 0},
        {"2024-01-01T00:00:00+24:00", false, 0},
        {"2024-01-01T00:00:00+0100", false, 0},
        {"2024-01-01T00:00:00Zx", false, 0},
        {"2024-01-01", false, 0},
        {"24-01-01T00:00:00Z", false, 0},
        {"2024/01/01T00:00:00Z", false, 0},
        {"9999-01-01T00:00:00Z", false, 0}, // beyond 64-bit nanoseconds
        {"0001-01-01T00:00:00Z", false, 0},
        {"", false, 0},
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        int64_t ns = 0;
        check_row("%s", rows[i].text);
        CHECK_INT(time_parse(rows[i].text, strlen(rows[i].text), &ns), rows[i].ok);
        CHECK_INT(ns, rows[i].ns);
    }
    int64_t ns;
    CHECK(!time_parse("2024-01-01T00:00:00\0Z", 21, &ns));
    check_done();
}

// Published values of XXH3: they are on disks, so they may never change.
static void hashes_are_xxh3(void **state)
{
    CHECK(hash64("", 0) == 0x2d06800538d394c2ull);
    CHECK(hash64("a", 1) != hash64("b", 1));
    CHECK(hash64_seed("a", 1, 0) == hash64("a", 1));
    CHECK(hash64_seed("a", 1, 1) != hash64("a", 1));
    CHECK(hash_mix(1, 2) != hash_mix(2, 1));
    check_done();
}

static void ids_order_as_their_text(void **state)
{
    uint8_t bytes[16] = {0x0a, 0xf7, [15] = 0x9c}, out[16];
    struct id128 id = id128_load(bytes), more = id;
    CHECK(id.hi == 0x0af7000000000000ull && id.lo == 0x9c);
    id128_store(out, id);
    CHECK(memcmp(out, bytes, 16) == 0);
    more.lo++;
    CHECK(id128_cmp(id, more) < 0 && id128_cmp(more, id) > 0 && id128_cmp(id, id) == 0);
    more.lo = 0;
    more.hi++;
    CHECK(id128_cmp(id, more) < 0);
    CHECK(!id128_zero(id) && id128_zero((struct id128){0, 0}));
    CHECK(id128_eq(id, id) && !id128_eq(id, more));
    check_done();
}

static void random_differs_over_forks(void **state)
{
    random_u64();
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    pid_t child = fork();
    if (child == 0) {
        uint64_t v = random_u64();
        _exit(write(pipes[1], &v, sizeof v) == sizeof v ? 0 : 1);
    }
    uint64_t of_child = 0, mine = random_u64(), ones = 0, zeros = 0;
    assert_int_equal(read(pipes[0], &of_child, sizeof of_child), sizeof of_child);
    waitpid(child, NULL, 0);
    close(pipes[0]);
    close(pipes[1]);
    CHECK(of_child != mine);
    for (int i = 0; i < 100; i++) {
        uint64_t v = random_u64();
        ones |= v;
        zeros |= ~v;
    }
    CHECK(ones == UINT64_MAX && zeros == UINT64_MAX); // each bit takes both values
    check_done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ticks_follow_the_wall_clock),
        cmocka_unit_test(later_calibrations_are_finer),
        cmocka_unit_test(ticks_convert_by_the_formula),
        cmocka_unit_test(calibration_from_several_threads),
        cmocka_unit_test(times_as_text),
        cmocka_unit_test(local_times_as_text),
        cmocka_unit_test(reading_times),
        cmocka_unit_test(hashes_are_xxh3),
        cmocka_unit_test(ids_order_as_their_text),
        cmocka_unit_test(random_differs_over_forks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
