#include "sdk/filter.h"
#include "base/limits.h"
#include "base/toml.h"
#include "sdk/pattern.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

bool filter_level_word(struct slice word, unsigned *level)
{
    static const struct {
        const char *word;
        unsigned level;
    } rows[] = {{"off", 0},   {"error", 1}, {"warn", 2}, {"info", 3}, {"debug", 4}, {"trace", 5}, {"warning", 2}, {"critical", 1},
                {"fatal", 1}, {"0", 0},     {"1", 1},    {"2", 2},    {"3", 3},     {"4", 4},     {"5", 5}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (slice_ieq(word, slice_str(rows[i].word))) {
            *level = rows[i].level;
            return true;
        }
    }
    return false;
}

static void note(struct filter *f, struct buf *notes, struct slice text, const char *why)
{
    f->mistakes++;
    if (notes)
        buf_printf(notes, "sonde: %s: ignoring '%.*s': %s\n", f->of, (int)(text.n < 200 ? text.n : 200), text.p, why);
}

static bool same(const struct filter_directive *a, const struct filter_directive *b)
{
    return slice_eq(a->target, b->target) && slice_eq(a->span, b->span) && a->has_span == b->has_span &&
           a->conditions == b->conditions;
}

static void add(struct filter *f, struct filter_directive d, struct slice text, struct buf *notes)
{
    for (unsigned i = 0; i < f->n; i++) {
        if (same(&f->row[i], &d)) {
            f->row[i] = d;
            return;
        }
    }
    if (f->n == FILTER_MAX)
        note(f, notes, text, "more than 128 directives");
    else
        f->row[f->n++] = d;
}

// Null, or what is wrong.
static const char *add_condition(struct filter *f, struct slice text, struct filter_directive *d)
{
    struct filter_condition c = {.field = text};
    ptrdiff_t eq = slice_find(text, SLICE("="));
    if (eq >= 0) {
        c = (struct filter_condition){slice_trim(slice_cut(text, (size_t)eq)), slice_trim(slice_from(text, (size_t)eq + 1)),
                                      true};
        if (c.value.n >= 2 && c.value.p[0] == '"' && c.value.p[c.value.n - 1] == '"')
            c.value = slice_of(c.value.p + 1, c.value.n - 2);
    }
    const char *why = pattern_is(c.value) ? pattern_check(c.value) : NULL;
    if (why)
        return why;
    if (!c.field.n || f->n_conditions == FILTER_CONDITIONS)
        return "a field condition has no name, or there are more than 32";
    for (unsigned i = 0; i < f->n_conditions; i++) {
        if (slice_eq(f->condition[i].field, c.field) && f->condition[i].has_value == c.has_value &&
            slice_eq(f->condition[i].value, c.value)) {
            d->conditions |= 1u << i;
            return NULL;
        }
    }
    d->conditions |= 1u << f->n_conditions;
    f->condition[f->n_conditions++] = c;
    return NULL;
}

// Up to the next comma that is not within brackets of a value.
static bool next_condition(struct slice *in, struct slice *part)
{
    int depth = 0;
    size_t n = 0;
    if (!in->n)
        return false;
    for (; n < in->n && (in->p[n] != ',' || depth > 0); n++) {
        char c = in->p[n];
        depth += (c == '[' || c == '{' || c == '(') - (c == ']' || c == '}' || c == ')');
    }
    *part = slice_trim(slice_cut(*in, n));
    *in = slice_from(*in, n < in->n ? n + 1 : n);
    return true;
}

// The inside of [span{field=value, …}]. Returns null, or what is wrong.
static const char *parse_span(struct filter *f, struct slice in, struct filter_directive *d)
{
    d->has_span = true;
    in = slice_trim(in);
    ptrdiff_t brace = slice_find(in, SLICE("{"));
    d->span = slice_trim(brace < 0 ? in : slice_cut(in, (size_t)brace));
    if (brace < 0)
        return NULL;
    struct slice fields = slice_from(in, (size_t)brace + 1), part;
    if (!fields.n || fields.p[fields.n - 1] != '}')
        return "a '}' is missing before ']'";
    fields.n--;
    while (next_condition(&fields, &part)) {
        const char *why = part.n ? add_condition(f, part, d) : NULL;
        if (why)
            return why;
    }
    return NULL;
}

// A slip of the pen ("info my_mod=debug", "a==debug") is told instead of taken for a target that never comes.
static bool strange_target(struct slice target)
{
    for (size_t i = 0; i < target.n; i++)
        if (target.p[i] && strchr(" \t\n=;[]{}\"", target.p[i]))
            return true;
    return false;
}

// target:level, which is no directive of the original grammar but what people write.
static bool colon_form(struct slice text, struct filter_directive *d)
{
    const char *colon = text.p ? memrchr(text.p, ':', text.n) : NULL;
    if (!colon || colon == text.p || colon[-1] == ':')
        return false;
    size_t at = (size_t)(colon - text.p);
    d->target = slice_cut(text, at);
    return filter_level_word(slice_from(text, at + 1), &d->level);
}

static void parse_one(struct filter *f, struct slice text, struct buf *notes)
{
    struct filter_directive d = {.level = 5};
    if (filter_level_word(text, &d.level)) {
        f->default_level = d.level;
        return;
    }
    struct slice rest = text;
    ptrdiff_t open = slice_find(text, SLICE("["));
    struct slice before = open >= 0 ? slice_cut(text, (size_t)open) : text;
    const char *last = before.p && open < 0 ? memrchr(before.p, '=', before.n) : NULL;
    if (strange_target(slice_trim(last ? slice_cut(before, (size_t)(last - before.p)) : before))) {
        note(f, notes, text, "a target has no blanks, brackets or '=': separate directives by commas, write target=level");
        return;
    }
    if (open >= 0) {
        const char *close = memrchr(text.p, ']', text.n);
        if (!close || close < text.p + open) {
            note(f, notes, text, "']' is missing");
            return;
        }
        d.target = slice_trim(slice_cut(text, (size_t)open));
        const char *why = parse_span(f, slice_of(text.p + open + 1, (size_t)(close - text.p) - (size_t)open - 1), &d);
        if (why) {
            note(f, notes, text, why);
            return;
        }
        rest = slice_of(close + 1, (size_t)(text.p + text.n - close - 1));
    } else {
        if (colon_form(text, &d)) {
            if (notes)
                buf_printf(notes, "sonde: %s: '%.*s' is taken as '%.*s=%.*s': write '=' before a level\n", f->of, (int)text.n,
                           text.p, (int)d.target.n, d.target.p, (int)(text.n - d.target.n - 1), text.p + d.target.n + 1);
            add(f, d, text, notes);
            return;
        }
        const char *eq = memrchr(text.p, '=', text.n);
        size_t at = eq ? (size_t)(eq - text.p) : text.n;
        d.target = slice_trim(slice_cut(text, at));
        rest = slice_from(text, at);
    }
    rest = slice_trim(rest);
    if (rest.n && (rest.p[0] != '=' || !filter_level_word(slice_trim(slice_from(rest, 1)), &d.level))) {
        note(f, notes, text, "the level must be one of off, error, warn, info, debug, trace or 0 to 5");
        return;
    }
    if (!d.target.n && !d.has_span) {
        note(f, notes, text, "a target is missing before '='");
        return;
    }
    if (d.has_span && d.level > f->max_span_level)
        f->max_span_level = d.level;
    add(f, d, text, notes);
}

static void builtin(struct filter *f)
{
    static const char *const quiet[] = {
        "h2",   "tower", "hyper_util", "neli",          "async_nats",         "rustls",           "tokenizers",
        "axum", "tonic", "hf_hub",     "opentelemetry", "opentelemetry-otlp", "opentelemetry_sdk"};
    for (size_t i = 0; i < sizeof quiet / sizeof *quiet; i++)
        f->row[f->n++] = (struct filter_directive){.target = slice_str(quiet[i]), .level = 1};
}

void filter_init(struct filter *f)
{
    memset(f, 0, offsetof(struct filter, text));
    f->used = 0;
    f->default_level = 3;
    f->of = "DYN_LOG";
    builtin(f);
}

// A copy that lives as long as the filter; false if there is no room.
static bool keep(struct filter *f, struct slice *s)
{
    if (s->n > sizeof f->text - f->used)
        return false;
    char *at = f->text + f->used;
    if (s->n)
        memcpy(at, s->p, s->n);
    f->used += s->n;
    s->p = at;
    return true;
}

void filter_parse(struct filter *f, struct slice text, struct buf *notes)
{
    if (!keep(f, &text)) {
        note(f, notes, text, "longer than 16 KiB");
        return;
    }
    // Commas inside [] separate fields, not directives.
    size_t from = 0;
    int depth = 0;
    for (size_t i = 0; i <= text.n; i++) {
        char c = i < text.n ? text.p[i] : ',';
        depth += (c == '[' || c == '{') - (c == ']' || c == '}');
        if (i < text.n && (c != ',' || depth > 0))
            continue;
        struct slice part = slice_trim(slice_of(text.p + from, i - from));
        if (part.n)
            parse_one(f, part, notes);
        from = i + 1;
        depth = 0;
    }
}

// ---- file -----------------------------------------------------------------------------------------------------------
static void entry(struct filter *f, const char *path, const struct toml *t, struct buf *notes)
{
    struct filter_directive d = {.target = t->key};
    const char *why = NULL;
    if (t->type != TOML_STRING || !filter_level_word(t->text, &d.level))
        why = "the level must be one of \"off\", \"error\", \"warn\", \"info\", \"debug\", \"trace\"";
    else if (!keep(f, &d.target))
        why = "all targets together are longer than 16 KiB";
    if (why)
        buf_printf(notes, "sonde: %s, line %d: log_filters: ignoring '%.*s': %s\n", path, t->line,
                   (int)(t->key.n < 200 ? t->key.n : 200), t->key.p, why);
    else
        add(f, d, t->key, notes);
}

static void apply(struct filter *f, const char *path, const struct toml *root, struct buf *notes)
{
    const struct toml *level = toml_get(root, "log_level"), *filters = toml_get(root, "log_filters");
    unsigned value;
    if (level && level->type == TOML_STRING && filter_level_word(level->text, &value))
        f->default_level = value;
    else if (level)
        buf_printf(notes,
                   "sonde: %s, line %d: log_level must be one of \"off\", \"error\", \"warn\", \"info\", \"debug\", \"trace\"\n",
                   path, level->line);
    if (filters && filters->type != TOML_TABLE)
        buf_printf(notes, "sonde: %s, line %d: log_filters must be a table of target = \"level\"\n", path, filters->line);
    else
        for (const struct toml *t = filters ? filters->first : NULL; t; t = t->next)
            entry(f, path, t, notes);
}

void filter_file(struct filter *f, const char *path, struct buf *notes)
{
    struct buf text;
    struct arena arena;
    struct toml *root;
    struct error err = {0};
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); // a pipe would be waited for
    if (fd < 0) {
        if (errno != ENOENT && errno != ENOTDIR)
            buf_printf(notes, "sonde: %s: %s; the file is left out\n", path, strerrordesc_np(errno));
        return;
    }
    if (fstat(fd, &st) != 0 || S_ISFIFO(st.st_mode)) {
        buf_printf(notes, "sonde: %s is a pipe, and read again at each change: it must be a file; it is left out\n", path);
        close(fd);
        return;
    }
    buf_init(&text, FILTER_FILE_MAX);
    arena_init(&arena, MIB(16));
    ssize_t n;
    do {
        char *at = buf_reserve(&text, 4096);
        n = at ? read(fd, at, 4096) : -1;
        text.n += n > 0 ? (size_t)n : 0;
    } while (n > 0);
    close(fd);
    if (n < 0)
        buf_printf(notes, "sonde: %s cannot be read, or is larger than 1 MiB; it is left out\n", path);
    else if (toml_parse(buf_slice(&text), &arena, &root, &err) != ERR_OK)
        buf_printf(notes, "sonde: %s: %s; the file is left out\n", path, err.msg);
    else
        apply(f, path, root, notes);
    arena_free(&arena);
    buf_free(&text);
}

unsigned filter_level(const struct filter *f, struct slice target)
{
    unsigned level = f->default_level;
    size_t best = 0;
    for (unsigned i = 0; i < f->n; i++) {
        const struct filter_directive *d = &f->row[i];
        if (!d->has_span && d->target.n >= best && slice_starts(target, d->target)) {
            best = d->target.n;
            level = d->level;
        }
    }
    return level;
}

static bool same_value(struct slice want, struct slice have)
{
    double a, b;
    return slice_eq(want, have) || (slice_to_f64(want, &a) && slice_to_f64(have, &b) && a == b) ||
           (pattern_is(want) && pattern_match(want, have));
}

uint32_t filter_field(const struct filter *f, struct slice key, struct slice value)
{
    uint32_t bits = 0;
    for (unsigned i = 0; i < f->n_conditions; i++) {
        const struct filter_condition *c = &f->condition[i];
        if (slice_eq(c->field, key) && (!c->has_value || same_value(c->value, value)))
            bits |= 1u << i;
    }
    return bits;
}

unsigned filter_span(const struct filter *f, struct slice target, struct slice name, uint32_t conditions)
{
    const struct filter_directive *best = NULL;
    for (unsigned i = 0; i < f->n; i++) {
        const struct filter_directive *d = &f->row[i];
        if (!d->has_span || !slice_starts(target, d->target) || (d->span.n && !slice_eq(d->span, name)) ||
            (d->conditions & ~conditions))
            continue;
        if (!best || d->target.n > best->target.n || (d->target.n == best->target.n && (d->span.n > 0) > (best->span.n > 0)) ||
            (d->target.n == best->target.n && (d->span.n > 0) == (best->span.n > 0) &&
             __builtin_popcount(d->conditions) >= __builtin_popcount(best->conditions)))
            best = d;
    }
    return best ? best->level : 0;
}
