// | regexp, | pattern, | unpack: labels out of the line by shape.
#include "base/json.h"
#include "query/stage.h"

// ---- regexp ---------------------------------------------------------------------------------------------------------

enum { MAX_GROUPS = 64 };

struct regexp_stage {
    struct stage stage;
    struct regex *re;
    int groups;
    struct slice names[MAX_GROUPS + 1]; // n == 0: unnamed
};

static bool regexp_run(const struct stage *st, struct row *r)
{
    const struct regexp_stage *s = (const struct regexp_stage *)st;
    struct slice g[MAX_GROUPS + 1];
    if (!regex_find(s->re, r->line, g, s->groups + 1))
        return true;
    for (int i = 1; i <= s->groups; i++)
        if (s->names[i].n)
            row_extract(r, s->names[i], g[i].p ? g[i] : SLICE(""), false);
    return true;
}
static const struct stage_ops regexp_ops = {.name = "regexp", .parses = true, .labels = true, .run = regexp_run};

enum errc stage_regexp(const struct stage **out, struct stage_env *e, struct slice pattern)
{
    STAGE_NEW(e, struct regexp_stage, &regexp_ops);
    TRY(regex_keep(&s->re, pattern, false, e->keep, e->err));
    s->groups = regex_groups(s->re);
    if (s->groups > MAX_GROUPS)
        return ERR(e->err, LIMIT, "regexp: more than %d groups", MAX_GROUPS);
    bool any = false;
    for (int i = 1; i <= s->groups; i++) {
        struct slice name = slice_str(regex_group_name(s->re, i));
        if (!name.n)
            continue;
        any = true;
        s->names[i] = row_name(e->a, name, SLICE("_"));
        for (int k = 1; k < i; k++)
            if (slice_eq(s->names[k], s->names[i]))
                return ERR(e->err, SYNTAX, "regexp: duplicate extracted label name \"%.*s\"", (int)name.n, name.p);
    }
    if (!any)
        return ERR(e->err, SYNTAX, "regexp: at least one named capture must be supplied: (?P<name>…)");
    return ERR_OK;
}

// ---- pattern --------------------------------------------------------------------------------------------------------

struct pattern_stage {
    struct stage stage;
    struct pattern_piece *p;
    uint32_t n;
};

static bool pattern_run(const struct stage *st, struct row *r)
{
    const struct pattern_stage *s = (const struct pattern_stage *)st;
    struct slice rest = r->line;
    if (!rest.n)
        return true;
    uint32_t i = 0;
    if (!s->p[0].capture) {
        if (!slice_starts(rest, s->p[0].text))
            return true;
        rest = slice_from(rest, s->p[0].text.n);
        i = 1;
    }
    for (; i < s->n; i += 2) { // a capture and the literal that ends it
        struct slice value = rest;
        ptrdiff_t at = i + 1 < s->n ? slice_find(rest, s->p[i + 1].text) : (ptrdiff_t)rest.n;
        if (at >= 0)
            value = slice_cut(rest, (size_t)at);
        if (!slice_eq(s->p[i].text, SLICE("_")))
            row_extract(r, s->p[i].text, value, false);
        if (at < 0)
            break; // what was captured so far stays
        rest = slice_from(rest, (size_t)at + (i + 1 < s->n ? s->p[i + 1].text.n : 0));
    }
    return true;
}
static const struct stage_ops pattern_ops = {.name = "pattern", .parses = true, .labels = true, .run = pattern_run};

enum errc stage_pattern(const struct stage **out, struct stage_env *e, struct slice pattern)
{
    STAGE_NEW(e, struct pattern_stage, &pattern_ops);
    s->p = pattern_parse(pattern, e->a, &s->n, e->err);
    if (!s->p)
        return ERR_SYNTAX;
    uint32_t names = 0;
    for (uint32_t i = 0; i < s->n; i++) {
        if (!s->p[i].capture || slice_eq(s->p[i].text, SLICE("_")))
            continue;
        names++;
        for (uint32_t k = 0; k < i; k++)
            if (s->p[k].capture && slice_eq(s->p[k].text, s->p[i].text))
                return ERR(e->err, SYNTAX, "pattern: two captures are named \"%.*s\"", (int)s->p[i].text.n, s->p[i].text.p);
    }
    return names ? ERR_OK : ERR(e->err, SYNTAX, "pattern: at least one capture is required: a named capture like <name>");
}

// ---- unpack ---------------------------------------------------------------------------------------------------------

struct unpack_stage {
    struct stage stage;
};

// Walks the members; takes them when `packed`. Returns whether a text _entry is among them.
static bool unpack_members(struct json *j, struct row *r, bool packed, bool *failed)
{
    struct slice key, value, line = r->line;
    bool entry = false;
    json_init(j, r->line, r->scratch, NULL);
    if (json_peek(j) != JSON_OBJECT || !json_object(j)) {
        *failed = true;
        return false;
    }
    while (json_next_key(j, &key)) {
        if (json_peek(j) != JSON_STRING) {
            json_skip(j, NULL);
        } else if (json_string(j, &value)) {
            bool is_entry = slice_eq(key, SLICE("_entry"));
            entry |= is_entry;
            if (is_entry)
                line = value;
            else if (packed)
                row_extract(r, row_name(r->scratch, key, SLICE("_")), value, true);
        }
    }
    if (packed)
        r->line = line;
    *failed = j->failed;
    return entry;
}

// What Promtail packed: strings become labels and _entry the line; an object without _entry is left alone.
static bool unpack_run(const struct stage *s, struct row *r)
{
    struct json j;
    bool failed;
    if (!r->line.n)
        return true;
    if (unpack_members(&j, r, false, &failed) && !failed)
        unpack_members(&j, r, true, &failed);
    if (failed)
        row_fail(r, SLICE("JSONParserErr"), SLICE("unpack expects a JSON object of strings"));
    return true;
}
static const struct stage_ops unpack_ops = {.name = "unpack", .parses = true, .labels = true, .run = unpack_run};

enum errc stage_unpack(const struct stage **out, struct stage_env *e)
{
    STAGE_NEW(e, struct unpack_stage, &unpack_ops);
    return ERR_OK;
}
