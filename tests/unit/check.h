// For table tests: a failed check names its row, and all checks of one test are counted before it fails.
//
//   for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
//       check_row("%s", rows[i].text);           // from here on, failures print this
//       CHECK(parse(rows[i].text) == rows[i].want);
//       CHECK_STR(out, rows[i].out);             // struct slice against a C string
//   }
//   check_done();                                // fails the cmocka test if any check failed
#pragma once
#include "base/slice.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

// cmocka needs those above
#include <cmocka.h>

#define CHECK_ROWS(table) (sizeof(table) / sizeof(table)[0])

static int check_failures;
static char check_row_text[256];

__attribute__((format(printf, 1, 2), unused)) static void check_row(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(check_row_text, sizeof check_row_text, fmt, ap);
    va_end(ap);
}

__attribute__((format(printf, 3, 4), unused)) static void check_failed(const char *file, int line, const char *fmt, ...)
{
    if (++check_failures > 50)
        return; // the first ones tell enough
    fprintf(stderr, "%s:%d: row [%s]: ", file, line, check_row_text);
    va_list ap;
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
}

__attribute__((unused)) static bool check_str(const char *file, int line, struct slice got, struct slice want)
{
    if (slice_eq(got, want))
        return true;
    check_failed(file, line, "got \"%.*s\" (%zu bytes), want \"%.*s\" (%zu bytes)", (int)got.n, got.p ? got.p : "", got.n,
                 (int)want.n, want.p ? want.p : "", want.n);
    return false;
}

__attribute__((unused)) static bool check_int(const char *file, int line, long long got, long long want)
{
    if (got == want)
        return true;
    check_failed(file, line, "got %lld, want %lld", got, want);
    return false;
}

// Each evaluates to whether the check held.
#define CHECK(cond)            ((cond) ? true : (check_failed(__FILE__, __LINE__, "%s", #cond), false))
#define CHECK_STR(got, want)   check_str(__FILE__, __LINE__, (got), slice_str(want))
#define CHECK_SLICE(got, want) check_str(__FILE__, __LINE__, (got), (want))
#define CHECK_INT(got, want)   check_int(__FILE__, __LINE__, (long long)(got), (long long)(want))

__attribute__((unused)) static void check_done(void)
{
    int n = check_failures;
    check_failures = 0;
    check_row_text[0] = 0;
    if (n)
        fail_msg("%d checks failed", n);
}
