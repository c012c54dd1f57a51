// sonde results DIR: a folder of test results as tables and a verdict; sonde results A B: what got worse.
#include "base/limits.h"
#include "cli/cli.h"
#include "results/results.h"

#include <stdio.h>
#include <string.h>

struct results_settings {
    const char *format, *parser, *sla, *min_success, *paths;
    int64_t threads;
    bool info;
};
static const struct setting settings[] = {
    {.flag = "format",
     .type = SETTING_STR,
     .value = "fancy",
     .argument = "FORMAT",
     .about = "how results are printed: fancy, markdown, json, csv or html",
     .offset = offsetof(struct results_settings, format),
     .choices = "fancy markdown json csv html"},
    {.flag = "force-parser",
     .type = SETTING_STR,
     .value = "any",
     .argument = "KIND",
     .about = "which load files are read where a folder holds two kinds: any, aiperf or legacy",
     .offset = offsetof(struct results_settings, parser),
     .choices = "any aiperf legacy"},
    {.flag = "log-paths",
     .type = SETTING_STR,
     .value = "",
     .argument = "DIR",
     .about = "a folder, and with those that follow all told together instead of compared",
     .offset = offsetof(struct results_settings, paths)},
    {.flag = "sla",
     .type = SETTING_STR,
     .value = "",
     .argument = "SECONDS",
     .about = "the mean latency that no test may exceed",
     .offset = offsetof(struct results_settings, sla)},
    {.flag = "min-success",
     .type = SETTING_STR,
     .value = "",
     .argument = "PERCENT",
     .about = "the part of requests that must succeed in each test",
     .offset = offsetof(struct results_settings, min_success)},
    {.flag = "threads",
     .type = SETTING_INT,
     .value = "0",
     .min = 0,
     .max = 8,
     .argument = "N",
     .about = "threads that read logs; 0: one a core",
     .offset = offsetof(struct results_settings, threads)},
    {.flag = "info",
     .type = SETTING_BOOL,
     .value = "off",
     .about = "only list what was found, and its kind",
     .offset = offsetof(struct results_settings, info)},
};
enum { N_SETTINGS = sizeof settings / sizeof *settings };

static enum errc number(const char *flag, const char *text, double max, double *out, struct error *err)
{
    *out = 0;
    if (!*text)
        return ERR_OK;
    if (!slice_to_f64(slice_str(text), out) || !(*out > 0) || *out > max)
        return ERR(err, INPUT, "--%s %s: a number above 0 and up to %.0f is wanted", flag, text, max);
    return ERR_OK;
}

static enum errc options_of(const struct results_settings *s, struct results_options *o, enum results_format *f,
                            struct error *err)
{
    static const char *const formats[] = {"fancy", "markdown", "json", "csv", "html"};
    *o = (struct results_options){.threads = (unsigned)s->threads};
    o->parser = strcmp(s->parser, "aiperf") == 0 ? PARSER_AIPERF : strcmp(s->parser, "legacy") == 0 ? PARSER_LEGACY : PARSER_ANY;
    for (int i = 0; i < 5; i++)
        if (strcmp(s->format, formats[i]) == 0)
            *f = (enum results_format)i;
    TRY(number("sla", s->sla, 1e6, &o->sla, err));
    return number("min-success", s->min_success, 100, &o->min_success, err);
}

static void list(const struct results *r, struct buf *out)
{
    for (uint32_t i = 0; i < r->n; i++)
        buf_printf(out, "%-7s %.*s\n", result_kind_text(r->item[i].kind), (int)r->item[i].path.n, r->item[i].path.p);
}

static int show(char *const *dirs, uint32_t n_dirs, const struct results_settings *s, const struct results_options *o,
                enum results_format f)
{
    struct results r;
    struct error err = {0};
    struct buf out, misses;
    if (results_read(&r, dirs, n_dirs, o, &err) != ERR_OK)
        return cli_fail(&err);
    buf_init(&out, MAX_CLI_OUTPUT);
    buf_init(&misses, MAX_CLI_OUTPUT);
    if (s->info)
        list(&r, &out);
    else
        results_print(&r, o, f, &out);
    unsigned n = results_misses(&r, o, &misses);
    if (out.err)
        ERR(&err, LIMIT, "the report is larger than %zu MiB; give a smaller tree", MAX_CLI_OUTPUT >> 20);
    else
        cli_write(buf_slice(&out));
    if (n)
        fprintf(stderr, "%.*s", (int)misses.n, misses.p);
    buf_free(&out);
    buf_free(&misses);
    results_free(&r);
    return err.code ? cli_fail(&err) : n ? EXIT_NOTHING : EXIT_FOUND;
}

static int two_trees(char **dir, const struct results_options *o, enum results_format f)
{
    struct results a, b;
    struct result_change *change;
    uint32_t n, worse = 0;
    struct error err = {0};
    struct buf out;
    if (results_read(&a, dir, 1, o, &err) != ERR_OK)
        return cli_fail(&err);
    if (results_read(&b, dir + 1, 1, o, &err) != ERR_OK) {
        results_free(&a);
        return cli_fail(&err);
    }
    buf_init(&out, MAX_CLI_OUTPUT);
    if (results_compare(&a, &b, &change, &n) != ERR_OK) {
        ERR(&err, NOMEM, "no memory to compare %s and %s", dir[0], dir[1]);
    } else {
        results_print_changes(&a, &b, change, n, f, &out);
        cli_write(buf_slice(&out));
        for (uint32_t i = 0; i < n; i++)
            worse += change[i].worse;
    }
    buf_free(&out);
    results_free(&a);
    results_free(&b);
    return err.code ? cli_fail(&err) : worse ? EXIT_NOTHING : EXIT_FOUND;
}

static int run(int argc, char **argv)
{
    struct results_settings s;
    struct results_options o;
    enum results_format f = RESULTS_FANCY;
    struct error err = {0};
    int words = 0;
    if (settings_load(settings, N_SETTINGS, &s, argc, argv, &words, &err) != ERR_OK || options_of(&s, &o, &f, &err) != ERR_OK)
        return cli_fail(&err);
    if (*s.paths) {
        argv[0] = (char *)s.paths; // before the words: those that followed it
        return show(argv, (uint32_t)words + 1, &s, &o, f);
    }
    if (words == 1)
        return show(argv + 1, 1, &s, &o, f);
    if (words == 2)
        return two_trees(argv + 1, &o, f);
    ERR(&err, INPUT, "results takes one folder, or two to compare: sonde results DIR; more of them: --log-paths DIR DIR DIR");
    return cli_fail(&err);
}

const struct command cmd_results = {
    .name = "results",
    .arguments = "DIR [DIR]",
    .about = "test results as tables and a verdict; of two folders, what got worse",
    .examples = "  sonde results test-results/ --sla 2.5 --min-success 90\n"
                "  sonde results test-results/ --format html > report.html\n"
                "  sonde results before/ after/\n",
    .settings = settings,
    .n_settings = N_SETTINGS,
    .run = run,
};
