#include "base/setting.h"
#include "check.h"
#include <stddef.h>
#include <stdlib.h>

struct settings {
    const char *http;
    int64_t workers, memory, keep;
    bool verbose;
};

static const struct setting rows[] = {
    {"http", "T_HTTP", SETTING_STR, ":3100", 0, 0, "ADDR", "Where to listen.", offsetof(struct settings, http)},
    {"workers", "T_WORKERS", SETTING_INT, "2", 1, 64, "N", "Threads.", offsetof(struct settings, workers)},
    {"memory", NULL, SETTING_SIZE, "64MiB", 0, 0, "SIZE", "Budget.", offsetof(struct settings, memory)},
    {"keep", "T_KEEP", SETTING_DURATION, "7d", 0, 0, "TIME", "Retention.", offsetof(struct settings, keep)},
    {"v", "T_VERBOSE", SETTING_BOOL, "off", 0, 0, NULL, "Say more.", offsetof(struct settings, verbose)},
};

static enum errc load(struct settings *s, const char *line, char *left, size_t left_n, struct error *e)
{
    char text[200], *argv[20] = {"sonde"}, *save = NULL;
    int argc = 1, rest = 0;
    *s = (struct settings){0};
    *e = (struct error){0};
    snprintf(text, sizeof text, "%s", line);
    for (char *w = strtok_r(text, " ", &save); w; w = strtok_r(NULL, " ", &save))
        argv[argc++] = w;
    enum errc rc = settings_load(rows, CHECK_ROWS(rows), s, argc, argv, &rest, e);
    size_t at = 0;
    left[0] = 0;
    for (int i = 1; i <= rest && rc == ERR_OK; i++)
        at += (size_t)snprintf(left + at, left_n - at, "%s ", argv[i]);
    return rc;
}

static void options(void **state)
{
    static const struct {
        const char *line, *left;
        int64_t workers, memory, keep;
        bool verbose;
        const char *error; // null: accepted; else a part of the sentence
    } table[] = {
        {"", "", 2, 64 << 20, 604800000000000, false, NULL},
        {"--workers 8", "", 8, 64 << 20, 604800000000000, false, NULL},
        {"--workers=8 a -v b", "a b ", 8, 64 << 20, 604800000000000, true, NULL},
        {"-v=off a -- --workers -", "a --workers - ", 2, 64 << 20, 604800000000000, false, NULL},
        {"--memory 10kB --keep 1h30m", "", 2, 10000, 5400000000000, false, NULL},
        {"--memory 1.5GiB --keep 500ms", "", 2, 1610612736, 500000000, false, NULL},
        {"--memory 4096 --keep 0", "", 2, 4096, 0, false, NULL},
        {"--workers 0", "", 0, 0, 0, false, "option --workers: 0 is out of bounds: 1 to 64 are accepted"},
        {"--workers x", "", 0, 0, 0, false, "option --workers: \"x\" is not a whole number"},
        {"--workers", "", 0, 0, 0, false, "option --workers needs a value: --workers N"},
        {"--memory 5parsecs", "", 0, 0, 0, false, "option --memory: \"5parsecs\" is not a size"},
        {"--keep 5", "", 0, 0, 0, false, "option --keep: \"5\" is not a duration"},
        {"--keep h", "", 0, 0, 0, false, "is not a duration"},
        {"--keep 999999w", "", 0, 0, 0, false, "is not a duration"},
        {"-v=perhaps", "", 0, 0, 0, false, "option --v: \"perhaps\" is neither on nor off"},
        {"--nothing", "", 0, 0, 0, false, "unknown option --nothing"},
    };
    for (size_t i = 0; i < CHECK_ROWS(table); i++) {
        struct settings s;
        struct error e;
        char left[200];
        check_row("%s", table[i].line);
        enum errc rc = load(&s, table[i].line, left, sizeof left, &e);
        CHECK_INT(rc, table[i].error ? ERR_INPUT : ERR_OK);
        CHECK_INT(rc, e.code);
        if (table[i].error) {
            if (!strstr(e.msg, table[i].error))
                CHECK_STR(slice_str(e.msg), table[i].error);
            continue;
        }
        CHECK_STR(slice_str(s.http), ":3100");
        CHECK_STR(slice_str(left), table[i].left);
        CHECK_INT(s.workers, table[i].workers);
        CHECK_INT(s.memory, table[i].memory);
        CHECK_INT(s.keep, table[i].keep);
        CHECK_INT(s.verbose, table[i].verbose);
    }
    check_done();
}

static void the_environment_stands_between(void **state)
{
    struct settings s;
    struct error e;
    char left[200];
    setenv("T_WORKERS", "5", 1);
    setenv("T_VERBOSE", "YES", 1);
    setenv("T_HTTP", "", 1); // empty is unset
    CHECK_INT(load(&s, "", left, sizeof left, &e), ERR_OK);
    CHECK(s.workers == 5 && s.verbose && strcmp(s.http, ":3100") == 0);
    CHECK_INT(load(&s, "--workers 6", left, sizeof left, &e), ERR_OK);
    CHECK_INT(s.workers, 6);
    setenv("T_WORKERS", "many", 1);
    CHECK_INT(load(&s, "", left, sizeof left, &e), ERR_INPUT);
    CHECK_STR(slice_str(e.msg), "environment variable T_WORKERS: \"many\" is not a whole number");
    unsetenv("T_WORKERS");
    unsetenv("T_VERBOSE");
    unsetenv("T_HTTP");
    check_done();
}

static void help_and_print(void **state)
{
    struct settings s;
    struct error e;
    struct buf b;
    char left[200];
    buf_init(&b, 10000);
    settings_help(rows, 2, &b);
    CHECK_STR(buf_slice(&b), "  --http ADDR                Where to listen. (default :3100) [T_HTTP]\n"
                             "  --workers N                Threads. (default 2) [T_WORKERS]\n");
    buf_reset(&b);
    load(&s, "--keep 1500ms -v", left, sizeof left, &e);
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        setting_print(&rows[i], &s, &b);
        buf_char(&b, ' ');
    }
    CHECK_STR(buf_slice(&b), ":3100 2 67108864 1.5s on ");
    buf_free(&b);
    check_done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options),
        cmocka_unit_test(the_environment_stands_between),
        cmocka_unit_test(help_and_print),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
