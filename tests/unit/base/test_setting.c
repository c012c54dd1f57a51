#include "base/setting.h"
#include "check.h"
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

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
    char text[200], *argv[20] = {"serve"}, *save = NULL;
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
        {"--keep 999999w", "", 0, 0, 0, false, "option --keep: \"999999w\" is too long a duration"},
        {"--memory 99999999999GiB", "", 0, 0, 0, false, "option --memory: \"99999999999GiB\" is too large a size"},
        {"--workers -99999999999999999999", "", 0, 0, 0, false, "\"-99999999999999999999\" is too large a whole number"},
        {"--workers -", "", 0, 0, 0, false, "\"-\" is not a whole number"},
        {"-v=perhaps", "", 0, 0, 0, false, "option -v: \"perhaps\" is neither on nor off"},
        {"--nothing", "", 0, 0, 0, false, "unknown option --nothing; `sonde help serve` lists"},
        {"--wrokers 3", "", 0, 0, 0, false, "unknown option --wrokers; did you mean --workers?"},
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
    CHECK_STR(buf_slice(&b), ":3100 2 64MiB 1500ms on ");
    buf_free(&b);
    check_done();
}

// ---- the file layer -------------------------------------------------------------------------------------------------
struct filed {
    const char *config, *http, *mode;
    int64_t workers, memory, keep_all;
    bool verbose;
};

static const struct setting file_rows[] = {
    {"http", "T_HTTP", SETTING_STR, ":3100", 0, 0, "ADDR", "Where.", offsetof(struct filed, http)},
    {"config", "T_CONFIG", SETTING_CONFIG, "", 0, 0, "FILE", "Settings.", offsetof(struct filed, config)},
    {"workers", "T_WORKERS", SETTING_INT, "2", 1, 64, "N", "Threads.", offsetof(struct filed, workers)},
    {"memory", NULL, SETTING_SIZE, "64MiB", 0, 0, "SIZE", "Budget.", offsetof(struct filed, memory)},
    {"keep-all", NULL, SETTING_DURATION, "7d", 0, 0, "TIME", "Retention.", offsetof(struct filed, keep_all)},
    {"mode", NULL, SETTING_STR, "fast", 0, 0, "MODE", "How.", offsetof(struct filed, mode), "fast safe"},
    {"v", NULL, SETTING_BOOL, "off", 0, 0, NULL, "Say more.", offsetof(struct filed, verbose)},
};
enum { N_FILE_ROWS = CHECK_ROWS(file_rows) };

struct rig {
    char path[64];
    struct arena arena;
    struct filed s;
    struct setting_origin origins[N_FILE_ROWS];
    struct error err;
};

static void rig_write(struct rig *r, struct slice text)
{
    FILE *f;
    snprintf(r->path, sizeof r->path, "/tmp/sonde-test-%d.toml", (int)getpid());
    f = fopen(r->path, "w");
    if (CHECK(f != NULL)) {
        fwrite(text.p, 1, text.n, f);
        fclose(f);
    }
}

static enum errc rig_load(struct rig *r, const char *flag, const char *value)
{
    char path[80], *argv[] = {"serve", (char *)flag, (char *)value, NULL};
    int rest;
    snprintf(path, sizeof path, "%s", r->path);
    setenv("T_CONFIG", path, 1);
    r->err = (struct error){0};
    r->s = (struct filed){0};
    arena_reset(&r->arena);
    return settings_load_file(file_rows, N_FILE_ROWS, &r->s, flag ? (value ? 3 : 2) : 1, argv, &rest, &r->arena, r->origins,
                              &r->err);
}

static void values_from_a_file(void **state)
{
    static const struct {
        const char *text, *error; // the message without the path
        const char *http, *mode;
        int64_t workers, memory, keep_all;
        bool verbose;
    } table[] = {
        {"", NULL, ":3100", "fast", 2, 64 << 20, 604800000000000, false},
        {"http = \"0.0.0.0:1\"\nworkers = 8\nv = true\n", NULL, "0.0.0.0:1", "fast", 8, 64 << 20, 604800000000000, true},
        {"memory = 4096\nkeep_all = \"90m\"\nmode = 'safe'", NULL, ":3100", "safe", 2, 4096, 5400000000000, false},
        {"memory = \"10kB\"\nkeep_all = 0\nhttp = \"\"", NULL, "", "fast", 2, 10000, 0, false},
        {"a = ", "line 1, column 5: expected a value, found the end of the text"},
        {"workers = 1\nworkers = 2", "line 2, column 1: workers is set twice; first on line 1"},
        {"\n workers = 0", "line 2, column 2: workers: 0 is out of bounds: 1 to 64 are accepted"},
        {"workers = 65", "line 1, column 1: workers: 65 is out of bounds: 1 to 64 are accepted"},
        {"workers = \"2\"", "line 1, column 1: workers must be an integer; found a string"},
        {"workers = 2.0", "line 1, column 1: workers must be an integer; found a float"},
        {"http = 3100", "line 1, column 1: http must be a string in quotes; found an integer"},
        {"http = \"a\\u0000b\"", "line 1, column 1: http may not hold the character U+0000"},
        {"memory = true", "line 1, column 1: memory must be a size: \"64MiB\", \"10kB\" or a number of bytes; found a boolean"},
        {"memory = \"64 parsecs\"", "line 1, column 1: memory: \"64 parsecs\" is not a size; write 4096, 10kB or 64MiB"},
        {"keep_all = 5",
         "line 1, column 1: keep_all must be a duration: \"500ms\", \"5s\", \"2m\", \"1h\" or \"7d\"; found an integer"},
        {"keep_all = 1979-05-27",
         "line 1, column 1: keep_all must be a duration: \"500ms\", \"5s\", \"2m\", \"1h\" or \"7d\"; found a date"},
        {"v = 'yes'", "line 1, column 1: v must be true or false; found a string"},
        {"v = 1", "line 1, column 1: v must be true or false; found an integer"},
        {"mode = 'slow'", "line 1, column 1: mode: \"slow\" is not accepted; write one of fast safe"},
        {"keep-all = '5s'", "line 1, column 1: there is no setting \"keep-all\"; did you mean keep_all? Accepted: http, workers, "
                            "memory, keep_all, mode, v"},
        {"worker = 5", "line 1, column 1: there is no setting \"worker\"; did you mean workers? Accepted: http, workers, memory, "
                       "keep_all, mode, v"},
        {"x = 1\n[more]\n", "line 1, column 1: there is no setting \"x\". Accepted: http, workers, memory, keep_all, mode, v"},
        {"[http]", "line 1, column 2: http must be a string in quotes; found a table"},
        {"config = 'x'", "line 1, column 1: there is no setting \"config\". Accepted: http, workers, memory, keep_all, mode, v"},
    };
    struct rig r = {{0}};
    arena_init(&r.arena, 8 << 20);
    for (size_t i = 0; i < CHECK_ROWS(table); i++) {
        char want[500];
        check_row("%s", table[i].text);
        rig_write(&r, slice_str(table[i].text));
        enum errc rc = rig_load(&r, NULL, NULL);
        snprintf(want, sizeof want, "%s: %s", r.path, table[i].error);
        CHECK_INT(rc, r.err.code);
        CHECK((rc == ERR_OK) == !table[i].error);
        if (table[i].error) {
            CHECK(rc == ERR_INPUT || rc == ERR_SYNTAX);
            CHECK_STR(slice_str(r.err.msg), want);
            continue;
        }
        CHECK_STR(slice_str(r.err.msg), "");
        CHECK_STR(slice_str(r.s.http), table[i].http);
        CHECK_STR(slice_str(r.s.mode), table[i].mode);
        CHECK_INT(r.s.workers, table[i].workers);
        CHECK_INT(r.s.memory, table[i].memory);
        CHECK_INT(r.s.keep_all, table[i].keep_all);
        CHECK_INT(r.s.verbose, table[i].verbose);
    }
    unlink(r.path);
    arena_free(&r.arena);
    check_done();
}

static void origins_text(struct rig *r, struct buf *out)
{
    buf_reset(out);
    for (size_t i = 0; i < N_FILE_ROWS; i++) {
        if (file_rows[i].type == SETTING_CONFIG)
            continue;
        buf_printf(out, "%s=", file_rows[i].flag);
        setting_print(&file_rows[i], &r->s, out);
        size_t from = out->n + 1;
        buf_char(out, '(');
        setting_print_origin(file_rows, N_FILE_ROWS, &r->s, r->origins, i, out);
        if (r->origins[i].from == SETTING_FROM_FILE && slice_starts(slice_from(buf_slice(out), from), slice_str(r->path))) {
            size_t cut = strlen(r->path); // the path changes from run to run
            memmove(out->p + from, out->p + from + cut, out->n - from - cut);
            out->n -= cut;
        }
        buf_str(out, ") ");
    }
}

static void layers(void **state)
{
    struct rig r = {{0}};
    struct buf out;
    arena_init(&r.arena, 8 << 20);
    buf_init(&out, 4096);
    rig_write(&r, SLICE("http = 'file'\nworkers = 3\n\nmemory = '1KiB'\n"));
    setenv("T_WORKERS", "4", 1);
    check_row("environment");
    CHECK_INT(rig_load(&r, NULL, NULL), ERR_OK);
    origins_text(&r, &out);
    CHECK_STR(
        buf_slice(&out),
        "http=file(:1) workers=4(environment T_WORKERS) memory=1KiB(:4) keep-all=7d(default) mode=fast(default) v=off(default) ");
    check_row("flag");
    CHECK_INT(rig_load(&r, "--workers", "5"), ERR_OK);
    origins_text(&r, &out);
    CHECK_STR(buf_slice(&out),
              "http=file(:1) workers=5(flag --workers) memory=1KiB(:4) keep-all=7d(default) mode=fast(default) v=off(default) ");
    CHECK_INT(rig_load(&r, "-v", NULL), ERR_OK);
    CHECK(r.s.verbose && r.origins[6].from == SETTING_FROM_FLAG);
    check_row("a flag names another file");
    CHECK_INT(rig_load(&r, "--config", "/nonexistent/x.toml"), ERR_INPUT);
    CHECK_STR(slice_str(r.err.msg), "cannot read /nonexistent/x.toml: No such file or directory");
    CHECK_INT(rig_load(&r, "--config=/tmp", NULL), ERR_INPUT);
    CHECK_STR(slice_str(r.err.msg), "cannot read /tmp: it is a directory");
    CHECK_INT(rig_load(&r, "--config=", NULL), ERR_OK); // none
    CHECK_STR(slice_str(r.s.http), ":3100");
    check_row("a wrong flag is told before the file is read");
    CHECK_INT(rig_load(&r, "--wokers", "5"), ERR_INPUT);
    CHECK_STR(slice_str(r.err.msg), "unknown option --wokers; did you mean --workers? `sonde help serve` lists the options");
    unsetenv("T_WORKERS");
    check_row("too large");
    struct buf large;
    buf_init(&large, 4 << 20);
    while (large.n <= 1 << 20)
        buf_str(&large, "# a comment of some length\n");
    rig_write(&r, buf_slice(&large));
    CHECK_INT(rig_load(&r, NULL, NULL), ERR_INPUT);
    CHECK(strstr(r.err.msg, "is larger than 1048576 bytes") != NULL);
    check_row("without arena");
    r.err = (struct error){0};
    CHECK_INT(settings_load(file_rows, N_FILE_ROWS, &r.s, 1, (char *[]){"serve", NULL}, NULL, &r.err), ERR_BUG);
    unsetenv("T_CONFIG");
    unlink(r.path);
    buf_free(&large);
    buf_free(&out);
    arena_free(&r.arena);
    check_done();
}

static void words(void **state)
{
    static const struct {
        const char *a, *b;
        size_t distance;
        bool near;
    } table[] = {
        {"http", "http", 0, true},
        {"htpt", "http", 1, true},
        {"http", "htt", 1, true},
        {"Otlp_GRPC", "otlp-grpc", 0, true},
        {"otlp-gprc", "otlp-grpc", 1, true},
        {"otlp-http", "otlp-grpc", 4, false},
        {"threads", "thread", 1, true},
        {"x", "o", 1, false},
        {"", "abc", 3, false},
        {"retain", "retention", 4, false},
        {"quite", "quiet", 1, true},
        {"request", "requests", 1, true},
    };
    for (size_t i = 0; i < CHECK_ROWS(table); i++) {
        check_row("%s %s", table[i].a, table[i].b);
        CHECK_INT(word_distance(slice_str(table[i].a), slice_str(table[i].b)), table[i].distance);
        CHECK_INT(word_distance(slice_str(table[i].b), slice_str(table[i].a)), table[i].distance);
        CHECK_INT(word_is_near(slice_str(table[i].a), slice_str(table[i].b)), table[i].near);
    }
    check_done();
}

// What is printed, given again, is the same value.
static void printed_values_are_read_again(void **state)
{
    static const char *const sizes[] = {"0", "1", "1023", "1KiB", "10kB", "1500kB", "64MiB", "8GiB", "1GB", "1025KiB"};
    static const char *const times[] = {"0", "1ns", "1500us", "500ms", "90s", "90m", "36h", "7d", "1001ms"};
    struct filed s = {0};
    struct buf b;
    buf_init(&b, 100);
    for (size_t i = 0; i < CHECK_ROWS(sizes) + CHECK_ROWS(times); i++) {
        bool size = i < CHECK_ROWS(sizes);
        const char *text = size ? sizes[i] : times[i - CHECK_ROWS(sizes)];
        int64_t again = -1, *v = size ? &s.memory : &s.keep_all;
        check_row("%s", text);
        CHECK_INT(size ? setting_parse_size(slice_str(text), v, NULL) : setting_parse_duration(slice_str(text), v, NULL), ERR_OK);
        buf_reset(&b);
        setting_print(&file_rows[size ? 3 : 4], &s, &b);
        CHECK_INT(size ? setting_parse_size(buf_slice(&b), &again, NULL) : setting_parse_duration(buf_slice(&b), &again, NULL),
                  ERR_OK);
        CHECK_INT(again, *v);
        CHECK(b.n <= strlen(text) + 1);
    }
    buf_free(&b);
    check_done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options),
        cmocka_unit_test(the_environment_stands_between),
        cmocka_unit_test(help_and_print),
        cmocka_unit_test(values_from_a_file),
        cmocka_unit_test(layers),
        cmocka_unit_test(words),
        cmocka_unit_test(printed_values_are_read_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
