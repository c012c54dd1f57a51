// The table: one string for all rows, so that it needs no relocation and no index on disk.
#include "sdk/env.h"
#include "base/alloc.h"
#include "base/limits.h"
#include "sdk/filter.h"
#include "sdk/sdk.h"
#include "sdk/settings_sdk.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char rows[] =
#define SETTING(name, type, value, accepted, when, meaning) name "\0" value "\0" accepted "\0"
#include "sdk/settings.def"
#undef SETTING
    ;
static const char types[] = {
#define SETTING(name, type, value, accepted, when, meaning) type,
#include "sdk/settings.def"
#undef SETTING
};
enum { ROWS = sizeof types };

static uint16_t place[ROWS];
static pthread_once_t once = PTHREAD_ONCE_INIT;

// What was read, and what the program said. Values are kept for good: somebody may hold the pointer.
static struct kept {
    struct kept *older;
    const char *call;
    char text[];
} * _Atomic seen[ROWS], *_Atomic said[ROWS];
static bool warned[ROWS];

static void index_rows(void)
{
    const char *p = rows;
    for (size_t i = 0; i < ROWS; i++) {
        place[i] = (uint16_t)(p - rows);
        for (int k = 0; k < 3; k++)
            p += strlen(p) + 1;
    }
}

size_t sdk_settings_n(void)
{
    return ROWS;
}

struct sdk_setting sdk_setting(size_t i)
{
    pthread_once(&once, index_rows);
    struct sdk_setting s = {.name = rows + place[i], .type = types[i]};
    s.value = s.name + strlen(s.name) + 1;
    s.accepted = s.value + strlen(s.value) + 1;
    return s;
}

int sdk_setting_find(const char *name)
{
    pthread_once(&once, index_rows);
    for (size_t i = 0; i < ROWS; i++)
        if (strcmp(rows + place[i], name) == 0)
            return (int)i;
    return -1;
}

static const char *keep(struct kept *_Atomic *list, const char *text, const char *call)
{
    struct kept *k = *list;
    if (k && strcmp(k->text, text) == 0 && k->call == call)
        return k->text;
    size_t n = strlen(text) + 1;
    struct kept *fresh = mem_alloc(sizeof *fresh + n);
    if (!fresh)
        return NULL;
    memcpy(fresh->text, text, n);
    fresh->call = call;
    fresh->older = k;
    while (!atomic_compare_exchange_weak(list, &fresh->older, fresh))
        ;
    return fresh->text;
}

// ---- reading --------------------------------------------------------------------------------------------------------
static bool ruled_by_file(const char *name)
{
    return strncmp(name, "OTEL_", 5) == 0 && strcmp(name, "OTEL_CONFIG_FILE") != 0 && config_file_active();
}

static const char *get(const char *name, char *(*from)(const char *))
{
    int i = sdk_setting_find(name);
    struct setting_found found;
    if (i >= 0 && config_file_active() && config_file_setting(name, &found))
        return found.text; // some of its entries are settings of our own
    if (i >= 0 && ruled_by_file(name))
        return NULL;
    const char *v = from(name);
    if ((!v || !*v) && settings_runtime(name, &found))
        v = found.text;
    if (i < 0 || !v)
        return v;
    const char *copy = keep(&seen[i], v, NULL);
    return copy ? copy : v;
}

const char *env_get(const char *name)
{
    return get(name, getenv);
}

const char *env_get_path(const char *name)
{
    return get(name, secure_getenv);
}

bool env_absolute(char *out, size_t n, const char *path)
{
    char here[4096];
    bool relative = path[0] && path[0] != '/' && getcwd(here, sizeof here) && here[0] == '/';
    if (relative && snprintf(out, n, "%s/%s", here, path) < (int)n)
        return true;
    return snprintf(out, n, "%s", path) < (int)n && !relative;
}

void env_from_program(const char *name, const char *value, const char *call)
{
    int i = sdk_setting_find(name);
    if (i >= 0 && (value || said[i]))
        keep(&said[i], value ? value : "", value ? call : NULL);
}

// ---- values ---------------------------------------------------------------------------------------------------------
static bool word_at(struct slice words, struct slice word, int *at)
{
    struct slice one;
    for (*at = 0; words.p && slice_split(&words, ' ', &one); ++*at)
        if (slice_ieq(one, word))
            return true;
    return false;
}

static bool in_bounds(const struct sdk_setting *s, double v)
{
    struct slice rest = slice_str(s->accepted), low;
    double min, max;
    return !rest.n ||
           (slice_split(&rest, ' ', &low) && slice_to_f64(low, &min) && slice_to_f64(rest, &max) && v >= min && v <= max);
}

// A number of bytes, with k, M, G of 1024 as the log file's settings take it.
static bool whole(const struct sdk_setting *s, struct slice v, int64_t *out)
{
    int shift = 0;
    if (s->type == 'z' && v.n) {
        const char *unit = memchr("kKmMgG", v.p[v.n - 1], 6);
        static const char order[] = "kKmMgG";
        if (unit) {
            shift = 10 * ((int)(strchr(order, v.p[v.n - 1]) - order) / 2 + 1);
            v.n--;
        }
    }
    if (!slice_to_i64(v, out) || (shift && (*out < 0 || *out > INT64_MAX >> shift)))
        return false;
    *out *= (int64_t)1 << shift; // may be negative
    return in_bounds(s, (double)*out);
}

static bool truth(const struct sdk_setting *s, struct slice v, bool *yes)
{
    static const char *const words[] = {"1", "true", "on", "yes"}, *const opposites[] = {"0", "false", "off", "no"};
    *yes = false;
    if (s->type == 'b')
        return (*yes = slice_ieq(v, SLICE("true"))) || slice_ieq(v, SLICE("false"));
    for (size_t i = 0; i < 4; i++)
        *yes |= slice_ieq(v, slice_str(words[i]));
    bool no = false;
    for (size_t i = 0; i < 4; i++)
        no |= slice_ieq(v, slice_str(opposites[i]));
    return *yes || no || s->type == 'w';
}

// Whether the text is one of the row's values.
static bool accepts(const struct sdk_setting *s, struct slice v)
{
    int64_t n;
    double real;
    bool yes;
    int at;
    unsigned level;
    struct slice rest = v, word;
    switch (s->type) {
    case 'i':
    case 'm':
    case 's':
    case 'z':
        return whole(s, v, &n);
    case 'f':
        return slice_to_f64(v, &real) && in_bounds(s, real);
    case 'b':
    case 'o':
        return truth(s, v, &yes);
    case 'e':
        return word_at(slice_str(s->accepted), v, &at);
    case 'v':
        return filter_level_word(v, &level);
    case 'l':
        while (rest.p && slice_split(&rest, ',', &word))
            if (!word_at(slice_str(s->accepted), slice_trim(word), &at))
                return false;
        return true;
    default:
        return true;
    }
}

static void complain(size_t i, const struct sdk_setting *s, struct slice v, const char *instead)
{
    struct buf text;
    if (__atomic_exchange_n(&warned[i], true, __ATOMIC_RELAXED))
        return;
    buf_init(&text, KIB(4));
    buf_printf(&text, "sonde: %s: '%.*s' is not accepted; write ", s->name, (int)slice_cut(v, 100).n, v.p);
    sdk_setting_print_accepted(s, &text);
    buf_printf(&text, "; %s is used\n", *instead ? instead : "none");
    if (text.err == ERR_OK)
        sdk_note(text.p, text.n);
    buf_free(&text);
}

// The value in effect: what was given if it is accepted, else the default. Empty: there is none.
static struct slice value_of(const char *name, struct sdk_setting *s)
{
    int i = sdk_setting_find(name);
    if (i < 0)
        return slice_str("");
    *s = sdk_setting((size_t)i);
    const char *given = s->type == 'p' ? env_get_path(name) : env_get(name);
    struct slice v = slice_str(given ? given : "");
    v = s->type == 'w' ? v : slice_trim(v);
    if (!v.n)
        return slice_str(s->value);
    if (accepts(s, v))
        return v;
    complain((size_t)i, s, v, s->type == 'b' ? "false" : s->value);
    return slice_str(s->value);
}

int64_t env_int(const char *name)
{
    struct sdk_setting s = {.type = 'i', .accepted = ""};
    int64_t n;
    return whole(&s, value_of(name, &s), &n) ? n : -1;
}

double env_real(const char *name)
{
    struct sdk_setting s;
    double v;
    return slice_to_f64(value_of(name, &s), &v) ? v : 0;
}

bool env_on(const char *name)
{
    struct sdk_setting s = {.type = 'w'};
    bool yes;
    struct slice v = value_of(name, &s);
    truth(&s, v, &yes);
    return yes;
}

int env_choice(const char *name)
{
    struct sdk_setting s = {.accepted = ""};
    int at;
    struct slice v = value_of(name, &s);
    return v.n && word_at(slice_str(s.accepted), v, &at) ? at : -1;
}

unsigned env_level(const char *name)
{
    struct sdk_setting s;
    unsigned level = 0;
    filter_level_word(value_of(name, &s), &level);
    return level;
}

bool env_text(const char *name, char *out, size_t n)
{
    struct sdk_setting s;
    struct slice v = value_of(name, &s);
    snprintf(out, n, "%.*s", (int)v.n, v.p);
    return v.n > 0;
}

// ---- telling --------------------------------------------------------------------------------------------------------
struct env_value sdk_setting_value(size_t i)
{
    struct sdk_setting s = sdk_setting(i);
    struct env_value v = {.text = s.value};
    struct setting_found found = {0};
    struct kept *program = said[i];
    if (program && program->call)
        v = (struct env_value){.from = ENV_FROM_PROGRAM, .text = program->text, .file = program->call};
    if (config_file_active() && config_file_setting(s.name, &found))
        return (struct env_value){.from = ENV_FROM_FILE, .text = found.text, .file = found.file, .line = found.line};
    if (ruled_by_file(s.name))
        return v;
    const char *now = s.type == 'p' ? secure_getenv(s.name) : getenv(s.name);
    struct kept *read = seen[i]; // what the library works with, whatever the environment says since
    if (read && !settings_runtime_row(s.name))
        now = read->text;
    if (now && *now) {
        struct slice word = s.type == 'w' ? slice_str(now) : slice_trim(slice_str(now));
        if (!word.n)
            return v;
        if (!accepts(&s, word))
            v.rejected = now;
        else if (v.from != ENV_FROM_PROGRAM || strncmp(v.file, "sonde_set", 9) != 0) // sonde_set_… wins over the environment
            v = (struct env_value){.from = ENV_FROM_ENVIRONMENT, .text = read ? read->text : now};
    } else if (settings_runtime(s.name, &found)) {
        v = (struct env_value){.from = ENV_FROM_FILE, .text = found.text, .file = found.file, .line = found.line};
    }
    return v;
}

void env_print_from(const struct env_value *v, struct buf *out)
{
    static const char *const text[] = {"default", "environment"};
    if (v->from <= ENV_FROM_ENVIRONMENT)
        buf_str(out, text[v->from]);
    else if (v->line)
        buf_printf(out, "%s:%d", v->file, v->line);
    else
        buf_str(out, v->file);
}

const char *sdk_setting_type(char type)
{
    static const char letters[] = "tpuwobimsfzelv";
    static const char words[][14] = {"text",          "path",         "URL",          "on or off", "on or off",
                                     "true or false", "whole number", "milliseconds", "seconds",   "number",
                                     "size",          "one word",     "words",        "level"};
    const char *at = strchr(letters, type);
    return words[at && *at ? at - letters : 0];
}

void sdk_setting_print_accepted(const struct sdk_setting *s, struct buf *out)
{
    struct slice rest = slice_str(s->accepted), word;
    if (s->type == 'e' || s->type == 'l' || s->type == 'v') {
        buf_str(out, s->type == 'l' ? "any of " : "one of ");
        for (size_t n = 0; rest.p && slice_split(&rest, ' ', &word); n++)
            buf_printf(out, "%s%.*s", n ? ", " : "", (int)word.n, word.p);
        return;
    }
    buf_str(out, s->type == 'w'   ? "1, true, on or yes"
                 : s->type == 'z' ? "a number of bytes such as 500k or 100M"
                                  : sdk_setting_type(s->type));
    if (rest.n && slice_split(&rest, ' ', &word))
        buf_printf(out, " from %.*s to %.*s", (int)word.n, word.p, (int)rest.n, rest.p);
}
