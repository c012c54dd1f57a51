// sonde config dump|diff: what decided how a process runs, and in what two processes differ.
#include "base/json.h"
#include "base/limits.h"
#include "base/toml.h"
#include "cli/cli.h"
#include "cli/config_sources.h"
#include "sdk/dump.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct config_settings {
    const char *url, *pid, *token, *output;
    int64_t timeout;
    bool all;
};
#define ROW(field_) .offset = offsetof(struct config_settings, field_)
static const struct setting settings[] = {
    {.flag = "url",
     .type = SETTING_STR,
     .value = "",
     .argument = "URL",
     .about = "dump: the status server of the process to ask",
     ROW(url)},
    {.flag = "pid",
     .type = SETTING_STR,
     .value = "",
     .argument = "PID",
     .about = "dump: the process on this machine to ask",
     ROW(pid)},
    {.flag = "token",
     .env = "SONDE_DEBUG_TOKEN",
     .type = SETTING_STR,
     .value = "",
     .argument = "TOKEN",
     .about = "what opens /debug/ of processes on other machines",
     ROW(token)},
    {.flag = "o",
     .type = SETTING_STR,
     .value = "text",
     .argument = "FORMAT",
     .about = "diff: text or json",
     .choices = "text json",
     ROW(output)},
    {.flag = "timeout",
     .type = SETTING_DURATION,
     .value = "10s",
     .argument = "TIME",
     .about = "how long to wait for an answer",
     ROW(timeout)},
    {.flag = "all",
     .type = SETTING_BOOL,
     .value = "off",
     .about = "diff: also machine, process and where settings come from",
     ROW(all)},
};
enum { N_SETTINGS = sizeof settings / sizeof *settings, LEAVES_MAX = 200000, PATH_SIZE = 1024 };

// ---- a dump as a sorted list of values ------------------------------------------------------------------------------
struct leaf {
    struct slice path, value, from; // from: of a setting, else empty
};
struct leaves {
    struct leaf *list;
    size_t n, cap;
    struct arena arena;
    bool dump, all; // dump: a whole one, not a list of expected values
    struct error *err;
};

static void add(struct leaves *l, const char *path, struct slice value, struct slice from)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 256;
        struct leaf *more = arena_grow(&l->arena, l->list, l->cap * sizeof *more, cap * sizeof *more);
        if (!more)
            return; // the arena tells
        l->list = more;
        l->cap = cap;
    }
    if (l->n < LEAVES_MAX)
        l->list[l->n++] = (struct leaf){arena_dup(&l->arena, slice_str(path)), value, from};
}

// Texts stand as they are, so that 9090 of a TOML file is "9090" of the environment; lists and objects in one form.
static struct slice value_of(struct leaves *l, const struct tree *t)
{
    struct buf b;
    struct error err;
    switch (t->type) {
    case TREE_NULL:
        return SLICE("null");
    case TREE_BOOL:
        return t->yes ? SLICE("true") : SLICE("false");
    case TREE_NUMBER:
    case TREE_STRING:
        return t->text;
    default:
        buf_init(&b, MAX_CLI_OUTPUT);
        struct slice s = dump_sort(t->text, NULL, &b, &err) ? arena_dup(&l->arena, buf_slice(&b)) : t->text;
        buf_free(&b);
        return s;
    }
}

static void walk(struct leaves *l, const struct tree *t, const char *path)
{
    const struct tree *value = t->type == TREE_OBJECT ? tree_get(t, "value") : NULL;
    bool setting = l->dump && strncmp(path, "settings.", 9) == 0;
    if (setting && value) {
        add(l, path, value_of(l, value), tree_text(t, "from"));
        return;
    }
    if (t->type != TREE_OBJECT) {
        add(l, path, value_of(l, t), SLICE(""));
        return;
    }
    for (const struct tree *k = t->first; k; k = k->next) {
        char below[PATH_SIZE];
        static const char *const volatile_parts[] = {"system_info", "runtime_info", "gpu_info", "config_hash"};
        bool skip = false;
        for (size_t i = 0; i < 4 && l->dump && !l->all && !*path; i++)
            skip |= slice_eq(k->key, slice_str(volatile_parts[i]));
        snprintf(below, sizeof below, "%s%s%.*s", path, *path ? "." : "", (int)k->key.n, k->key.p);
        if (!skip)
            walk(l, k, below);
    }
}

static int by_path(const void *a, const void *b)
{
    const struct leaf *x = a, *y = b;
    return slice_cmp(x->path, y->path);
}

static const struct leaf *find(const struct leaves *l, struct slice path)
{
    struct leaf key = {.path = path};
    return l->n ? bsearch(&key, l->list, l->n, sizeof key, by_path) : NULL;
}

static enum errc read_leaves(struct leaves *l, const char *source, const struct config_settings *s, struct error *err)
{
    struct buf text;
    enum errc rc = ERR_OK;
    arena_init(&l->arena, MAX_CLI_MEMORY);
    l->all = s->all;
    buf_init(&text, MAX_CLI_OUTPUT);
    struct config_ask ask = {.token = s->token, .timeout_ns = s->timeout};
    GO(config_source_read(source, &ask, &text, err));
    struct slice kept = arena_dup(&l->arena, buf_slice(&text));
    const struct tree *root = tree_parse(kept, &l->arena, err);
    if (!root || root->type != TREE_OBJECT) {
        rc = root ? ERR(err, INPUT, "%s: neither a dump nor a table of expected values", source)
                  : error_prefix(err, "%s: ", source);
        goto out;
    }
    l->dump = tree_get(root, "system_info") != NULL;
    walk(l, root, "");
    if (l->n)
        qsort(l->list, l->n, sizeof *l->list, by_path);
    if (arena_failed(&l->arena))
        rc = ERR(err, NOMEM, "%s: too large to compare", source);
out:
    buf_free(&text);
    return rc;
}

// ---- differences ----------------------------------------------------------------------------------------------------
struct report {
    bool json;
    struct jw w;
    struct buf *out;
    size_t n;
};

static void show_value(struct jw *w, const char *key, const struct leaf *l)
{
    jw_key(w, slice_str(key));
    l ? jw_str(w, l->value) : jw_null(w);
}

static void show_side(struct buf *out, const struct leaf *l)
{
    if (!l)
        buf_str(out, "(absent)");
    else
        buf_printf(out, "%s%.*s%s", l->value.n ? "" : "\"", (int)l->value.n, l->value.p, l->value.n ? "" : "\"");
    if (l && l->from.n)
        buf_printf(out, " (%.*s)", (int)l->from.n, l->from.p);
}

static void differ(struct report *r, struct slice path, const struct leaf *a, const struct leaf *b)
{
    r->n++;
    if (!r->json) {
        buf_printf(r->out, "%.*s: ", (int)path.n, path.p);
        show_side(r->out, a);
        buf_str(r->out, " | ");
        show_side(r->out, b);
        buf_char(r->out, '\n');
        return;
    }
    jw_obj(&r->w);
    show_value(&r->w, "a", a);
    if (a && a->from.n)
        JW_KEY(&r->w, "a_from"), jw_str(&r->w, a->from);
    show_value(&r->w, "b", b);
    if (b && b->from.n)
        JW_KEY(&r->w, "b_from"), jw_str(&r->w, b->from);
    JW_KEY(&r->w, "path");
    jw_str(&r->w, path);
    jw_obj_end(&r->w);
}

static void compare(struct report *r, const struct leaves *a, const struct leaves *b, bool all)
{
    size_t i = 0, k = 0;
    while (i < a->n || k < b->n) {
        int c = i == a->n ? 1 : k == b->n ? -1 : slice_cmp(a->list[i].path, b->list[k].path);
        const struct leaf *x = c <= 0 ? &a->list[i++] : NULL, *y = c >= 0 ? &b->list[k++] : NULL;
        if (!x || !y || !slice_eq(x->value, y->value) || (all && !slice_eq(x->from, y->from)))
            differ(r, x ? x->path : y->path, x, y);
    }
}

// Each expected value: by its path, else a setting, else a variable, else of the caller's configuration.
static void expect(struct report *r, const struct leaves *dump, const struct leaves *wanted, bool dump_first)
{
    static const char *const below[] = {"", "settings.", "environment.", "config."};
    for (size_t i = 0; i < wanted->n; i++) {
        const struct leaf *w = &wanted->list[i], *is = NULL;
        for (size_t k = 0; k < 4 && !is; k++) {
            char path[PATH_SIZE];
            int n = snprintf(path, sizeof path, "%s%.*s", below[k], (int)w->path.n, w->path.p);
            is = find(dump, slice_of(path, (size_t)n < sizeof path ? (size_t)n : sizeof path - 1));
        }
        if (!is || !slice_eq(is->value, w->value))
            differ(r, is ? is->path : w->path, dump_first ? is : w, dump_first ? w : is);
    }
}

static int diff(const struct config_settings *s, const char *a_name, const char *b_name)
{
    struct error err = {0};
    struct leaves a = {.err = &err}, b = {.err = &err};
    struct buf out;
    struct report r = {.json = strcmp(s->output, "json") == 0, .out = &out};
    enum errc rc = ERR_OK;
    buf_init(&out, MAX_CLI_OUTPUT);
    r.w = jw_to(&out);
    GO(read_leaves(&a, a_name, s, &err));
    GO(read_leaves(&b, b_name, s, &err));
    if (r.json)
        jw_arr(&r.w);
    if (a.dump != b.dump)
        expect(&r, a.dump ? &a : &b, a.dump ? &b : &a, a.dump);
    else
        compare(&r, &a, &b, s->all);
    if (r.json) {
        jw_arr_end(&r.w);
        buf_char(&out, '\n');
    }
    cli_write(buf_slice(&out));
out:
    if (rc != ERR_OK)
        cli_fail(&err);
    buf_free(&out);
    arena_free(&a.arena);
    arena_free(&b.arena);
    return rc != ERR_OK ? EXIT_USAGE : r.n ? EXIT_NOTHING : EXIT_FOUND;
}

// ---- dump -----------------------------------------------------------------------------------------------------------
static int dump(const struct config_settings *s)
{
    struct config_ask ask = {.token = s->token, .timeout_ns = s->timeout};
    struct error err = {0};
    struct buf out;
    enum errc rc = ERR_OK;
    if (s->pid[strspn(s->pid, "0123456789")]) {
        fprintf(stderr, "sonde: option --pid: \"%s\" is not the number of a process\n", s->pid);
        return EXIT_USAGE;
    }
    buf_init(&out, MAX_CLI_OUTPUT);
    if (*s->url || *s->pid) {
        rc = config_source_read(*s->url ? s->url : s->pid, &ask, &out, &err);
    } else {
        char *text = sonde_config_dump_text(NULL);
        buf_str(&out, text ? text : "");
        free(text);
    }
    if (rc == ERR_OK) {
        buf_char(&out, '\n');
        cli_write(buf_slice(&out));
    }
    buf_free(&out);
    if (rc != ERR_OK)
        cli_fail(&err);
    return rc == ERR_OK ? EXIT_FOUND : EXIT_USAGE;
}

static int run(int argc, char **argv)
{
    struct config_settings s = {0};
    struct error err = {0};
    int words = 0;
    if (settings_load(settings, N_SETTINGS, &s, argc, argv, &words, &err) != ERR_OK)
        return cli_fail(&err);
    if (words == 1 && strcmp(argv[1], "dump") == 0 && !(*s.url && *s.pid))
        return dump(&s);
    if (words == 3 && strcmp(argv[1], "diff") == 0)
        return diff(&s, argv[2], argv[3]);
    fprintf(stderr, "sonde: write sonde config dump [--url URL | --pid PID], or sonde config diff A B\n");
    return EXIT_USAGE;
}

const struct command cmd_config = {
    .name = "config",
    .arguments = "dump | diff A B",
    .about = "the configuration of a process that links libsonde; in what two differ",
    .examples = "  sonde config dump --pid 4711 >decode.json\n"
                "  sonde config diff http://node1:9090 http://node2:9090\n"
                "  sonde config diff 4711 expected.toml        # DYN_LOG = \"info\", [config] model = \"llama\"\n"
                "A and B are files of a dump, files of expected values (TOML or JSON), URLs of status servers or process ids.\n"
                "Exit code 0: equal, 1: they differ, 2: an error.\n",
    .settings = settings,
    .n_settings = N_SETTINGS,
    .run = run,
};
