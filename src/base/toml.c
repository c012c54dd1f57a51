// Keys, tables and arrays of TOML, and reading the tree.
//
// Which table may be written by which words (https://toml.io/en/v1.0.0#table): a header [a.b] makes a.b once and what stands in
// front of it silently; a silent table may get its own header later. A dotted key makes tables that no header may define, but
// headers may add tables below them. Inline tables and arrays in brackets are closed for good. A dotted key may extend tables
// that dotted keys made, or silent ones; never those with a header.
#include "base/hash.h"
#include "base/limits.h"
#include "base/toml_int.h"
#include "base/utf8.h"

#include <stdio.h>

enum made {
    MADE_PLAIN, // no table
    MADE_SILENTLY,
    MADE_BY_HEADER,
    MADE_BY_DOTS,
    MADE_INLINE,  // and arrays in brackets
    MADE_BY_ITEMS // an array of [[tables]]
};

// ---- errors ---------------------------------------------------------------------------------------------------------
static void place(struct toml_parser *t, const char *at, int *line, int *column)
{
    if (at < t->mark) {
        t->mark = t->start;
        t->mark_line = t->mark_column = 1;
    }
    for (; t->mark < at; t->mark++) {
        if (*t->mark == '\n') {
            t->mark_line++;
            t->mark_column = 1;
        } else {
            t->mark_column += ((unsigned char)*t->mark & 0xc0) != 0x80; // characters, not bytes
        }
    }
    *line = t->mark_line;
    *column = t->mark_column;
}

enum errc toml_fail(struct toml_parser *t, const char *at, enum errc code, const char *fmt, ...)
{
    char text[ERROR_MESSAGE_MAX];
    int line, column;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    place(t, at, &line, &column);
    return error_raise(t->err, code, __FILE__, __LINE__, "line %d, column %d: %s", line, column, text);
}

enum errc toml_expected(struct toml_parser *t, const char *what)
{
    int c = toml_peek(t), n = 1;
    if (c < 0)
        return toml_fail(t, t->p, ERR_SYNTAX, "expected %s, found the end of the text", what);
    if (c == '\n' || (c == '\r' && t->end - t->p > 1 && t->p[1] == '\n'))
        return toml_fail(t, t->p, ERR_SYNTAX, "expected %s, found the end of the line", what);
    if (c < 0x20 || c == 0x7f)
        return toml_fail(t, t->p, ERR_SYNTAX, "expected %s, found the control character U+%04X", what, (unsigned)c);
    utf8_decode(slice_of(t->p, (size_t)(t->end - t->p)), &n);
    return toml_fail(t, t->p, ERR_SYNTAX, "expected %s, found '%.*s'", what, n, t->p);
}

enum errc toml_no_memory(struct toml_parser *t)
{
    return toml_fail(t, t->p, ERR_LIMIT, "no memory for what follows: %zu of at most %zu bytes are in use", t->arena->used,
                     t->arena->max);
}

// The path of an entry that is in the way, for messages.
struct name {
    char text[120];
};

static struct name name_of(const struct toml *t)
{
    struct name out = {{0}};
    struct buf b;
    buf_init(&b, KIB(64));
    toml_path(t, &b);
    snprintf(out.text, sizeof out.text, "%.*s%s", (int)slice_cut(buf_slice(&b), 100).n, b.p ? b.p : "", b.n > 100 ? "…" : "");
    buf_free(&b);
    return out;
}

// ---- the tree -------------------------------------------------------------------------------------------------------
static size_t slot_of(const struct toml_parser *t, const struct toml *parent, struct slice key)
{
    size_t at = (size_t)hash64_seed(key.p, key.n, (uint64_t)(uintptr_t)parent) & (t->n_slots - 1);
    while (t->slots[at] && !(t->slots[at]->parent == parent && slice_eq(t->slots[at]->key, key)))
        at = (at + 1) & (t->n_slots - 1);
    return at;
}

static enum errc index_grow(struct toml_parser *t)
{
    struct toml **old = t->slots;
    size_t n = t->n_slots;
    t->n_slots = n ? n * 4 : 64;
    t->slots = ARENA_ARRAY(t->arena, struct toml *, t->n_slots);
    if (!t->slots)
        return toml_no_memory(t);
    for (size_t i = 0; i < n; i++)
        if (old[i])
            t->slots[slot_of(t, old[i]->parent, old[i]->key)] = old[i];
    return ERR_OK;
}

static struct toml *find(const struct toml_parser *t, const struct toml *table, struct slice key)
{
    return t->n_slots ? t->slots[slot_of(t, table, key)] : NULL;
}

// A child at the end of parent; key.p is null for an item of an array.
static enum errc add(struct toml_parser *t, struct toml *parent, struct slice key, const char *at, struct toml **out)
{
    struct toml *n = ARENA_NEW(t->arena, struct toml);
    if (!n)
        return toml_no_memory(t);
    n->key = key;
    n->parent = parent;
    place(t, at, &n->line, &n->column);
    if (parent->last)
        parent->last->next = n;
    else
        parent->first = n;
    parent->last = n;
    parent->n++;
    *out = n;
    if (!key.p)
        return ERR_OK;
    if (t->n_entries * 2 >= t->n_slots)
        TRY(index_grow(t));
    t->n_entries++;
    t->slots[slot_of(t, parent, key)] = n;
    return ERR_OK;
}

static enum errc add_table(struct toml_parser *t, struct toml *parent, struct slice key, const char *at, enum made made,
                           struct toml **out)
{
    TRY(add(t, parent, key, at, out));
    (*out)->type = TOML_TABLE;
    (*out)->made = made;
    return ERR_OK;
}

// ---- space and keys -------------------------------------------------------------------------------------------------
bool toml_newline(struct toml_parser *t)
{
    if (t->p < t->end && *t->p == '\n') {
        t->p++;
        return true;
    }
    if (t->end - t->p > 1 && t->p[0] == '\r' && t->p[1] == '\n') {
        t->p += 2;
        return true;
    }
    return false;
}

static void blanks(struct toml_parser *t)
{
    while (t->p < t->end && (*t->p == ' ' || *t->p == '\t'))
        t->p++;
}

static enum errc comment(struct toml_parser *t)
{
    if (toml_peek(t) != '#')
        return ERR_OK;
    for (int c; (c = toml_peek(t)) >= 0; t->p++) {
        if (c == '\n' || (c == '\r' && t->end - t->p > 1 && t->p[1] == '\n'))
            return ERR_OK;
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return toml_fail(t, t->p, ERR_SYNTAX, "a comment may not hold the control character U+%04X", (unsigned)c);
    }
    return ERR_OK;
}

// What may stand between the values of an array.
static enum errc blank_lines(struct toml_parser *t)
{
    do {
        blanks(t);
        TRY(comment(t));
    } while (toml_newline(t));
    return ERR_OK;
}

static enum errc end_of_line(struct toml_parser *t)
{
    blanks(t);
    TRY(comment(t));
    if (t->p == t->end || toml_newline(t))
        return ERR_OK;
    return toml_expected(t, "the end of the line");
}

bool toml_is_bare(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || toml_is_digit(c) || c == '_' || c == '-';
}

static enum errc key_part(struct toml_parser *t, struct slice *out)
{
    int c = toml_peek(t);
    if (c == '"' || c == '\'')
        return toml_string(t, false, out);
    const char *from = t->p;
    while (toml_is_bare(toml_peek(t)))
        t->p++;
    *out = slice_of(from, (size_t)(t->p - from));
    return out->n ? ERR_OK : toml_expected(t, "a key");
}

static enum errc too_deep(struct toml_parser *t, const char *at)
{
    return toml_fail(t, at, ERR_LIMIT, "tables and arrays stand more than %d deep within each other", MAX_TOML_DEPTH);
}

// Reads one part of a dotted key; *more when another follows.
static enum errc next_part(struct toml_parser *t, struct slice *key, const char **at, bool *more, int *depth)
{
    blanks(t);
    *at = t->p;
    TRY(key_part(t, key));
    blanks(t);
    *more = toml_peek(t) == '.';
    t->p += *more;
    return ++*depth > MAX_TOML_DEPTH ? too_deep(t, *at) : ERR_OK;
}

// ---- values ---------------------------------------------------------------------------------------------------------
static enum errc value(struct toml_parser *t, struct toml *out, int depth);

static enum errc array(struct toml_parser *t, struct toml *out)
{
    out->type = TOML_ARRAY;
    out->made = MADE_INLINE;
    t->p++;
    for (;;) {
        struct toml *item;
        TRY(blank_lines(t));
        if (toml_peek(t) == ']')
            break;
        TRY(add(t, out, SLICE_NONE, t->p, &item));
        TRY(value(t, item, t->depth + 1));
        TRY(blank_lines(t));
        if (toml_peek(t) == ']')
            break;
        if (toml_peek(t) != ',')
            return toml_expected(t, "',' or ']'");
        t->p++;
    }
    t->p++;
    return ERR_OK;
}

// The table that a part of a dotted key in front of the last one stands for.
static enum errc dotted_table(struct toml_parser *t, struct toml *table, struct slice key, const char *at, struct toml **out)
{
    struct toml *found = find(t, table, key);
    if (!found)
        return add_table(t, table, key, at, MADE_BY_DOTS, out);
    if (found->type == TOML_TABLE && (found->made == MADE_SILENTLY || found->made == MADE_BY_DOTS)) {
        found->made = MADE_BY_DOTS;
        *out = found;
        return ERR_OK;
    }
    return toml_fail(t, at, ERR_SYNTAX, "dotted keys may not add to %s, which is %s since line %d", name_of(found).text,
                     found->type != TOML_TABLE    ? toml_type_text(found->type)
                     : found->made == MADE_INLINE ? "an inline table"
                                                  : "a table",
                     found->line);
}

static enum errc key_value(struct toml_parser *t, struct toml *table)
{
    struct slice key;
    const char *at;
    bool more;
    int depth = t->depth;
    struct toml *entry;
    TRY(next_part(t, &key, &at, &more, &depth));
    while (more) {
        TRY(dotted_table(t, table, key, at, &table));
        TRY(next_part(t, &key, &at, &more, &depth));
    }
    if (toml_peek(t) != '=')
        return toml_expected(t, "'=' behind the key");
    t->p++;
    entry = find(t, table, key);
    if (entry)
        return toml_fail(t, at, ERR_SYNTAX, "%s is set twice; first on line %d", name_of(entry).text, entry->line);
    TRY(add(t, table, key, at, &entry));
    blanks(t);
    return value(t, entry, depth);
}

static enum errc inline_table(struct toml_parser *t, struct toml *out)
{
    out->type = TOML_TABLE;
    out->made = MADE_INLINE;
    t->p++;
    blanks(t);
    if (toml_peek(t) == '}') {
        t->p++;
        return ERR_OK;
    }
    for (;;) {
        TRY(key_value(t, out));
        blanks(t);
        if (toml_peek(t) == '}')
            break;
        if (toml_peek(t) != ',')
            return toml_expected(t, "',' or '}'");
        t->p++;
    }
    t->p++;
    return ERR_OK;
}

// depth: of the value, from the root. Recursion ends at MAX_TOML_DEPTH.
static enum errc value(struct toml_parser *t, struct toml *out, int depth)
{
    int c = toml_peek(t), outer = t->depth;
    if (c == '"' || c == '\'') {
        out->type = TOML_STRING;
        return toml_string(t, true, &out->text);
    }
    if (c != '[' && c != '{')
        return toml_scalar(t, out);
    if (depth >= MAX_TOML_DEPTH)
        return too_deep(t, t->p);
    t->depth = depth;
    TRY(c == '[' ? array(t, out) : inline_table(t, out));
    t->depth = outer;
    return ERR_OK;
}

// ---- headers --------------------------------------------------------------------------------------------------------
// The table that a part of a header in front of the last one stands for.
static enum errc header_step(struct toml_parser *t, struct toml *table, struct slice key, const char *at, struct toml **out)
{
    struct toml *found = find(t, table, key);
    if (!found)
        return add_table(t, table, key, at, MADE_SILENTLY, out);
    if (found->made == MADE_BY_ITEMS)
        found = found->last;
    if (found->type == TOML_TABLE && found->made != MADE_INLINE) {
        *out = found;
        return ERR_OK;
    }
    return toml_fail(t, at, ERR_SYNTAX, "a header may not add to %s, which is %s since line %d", name_of(found).text,
                     found->type == TOML_TABLE ? "an inline table" : toml_type_text(found->type), found->line);
}

static enum errc in_the_way(struct toml_parser *t, const struct toml *found, const char *at, const char *what)
{
    const char *is = found->made == MADE_BY_ITEMS ? "an array of tables" : toml_type_text(found->type);
    return toml_fail(t, at, ERR_SYNTAX, "%s cannot be %s: it is %s since line %d%s", name_of(found).text, what, is, found->line,
                     found->made == MADE_BY_DOTS ? ", made by a dotted key" : "");
}

static enum errc header_table(struct toml_parser *t, struct toml *table, struct slice key, const char *at, struct toml **out)
{
    struct toml *found = find(t, table, key);
    if (!found)
        return add_table(t, table, key, at, MADE_BY_HEADER, out);
    if (found->type != TOML_TABLE || found->made == MADE_INLINE || found->made == MADE_BY_DOTS)
        return in_the_way(t, found, at, "a table of its own");
    if (found->made == MADE_BY_HEADER)
        return toml_fail(t, at, ERR_SYNTAX, "the table %s is defined twice; first on line %d", name_of(found).text, found->line);
    found->made = MADE_BY_HEADER;
    place(t, at, &found->line, &found->column);
    *out = found;
    return ERR_OK;
}

static enum errc header_item(struct toml_parser *t, struct toml *table, struct slice key, const char *at, struct toml **out)
{
    struct toml *found = find(t, table, key);
    if (!found) {
        TRY(add(t, table, key, at, &found));
        found->type = TOML_ARRAY;
        found->made = MADE_BY_ITEMS;
    }
    if (found->made != MADE_BY_ITEMS)
        return in_the_way(t, found, at, "an array of tables");
    return add_table(t, found, SLICE_NONE, at, MADE_BY_HEADER, out);
}

static int depth_of(const struct toml *t)
{
    int n = 0;
    while ((t = t->parent))
        n++;
    return n;
}

// [a.b] or [[a.b]]; *table becomes where the following lines go.
static enum errc header(struct toml_parser *t, struct toml *root, struct toml **table)
{
    bool item = t->end - t->p > 1 && t->p[1] == '[', more;
    struct slice key;
    const char *at;
    int depth = 0;
    t->p += item ? 2 : 1;
    *table = root;
    TRY(next_part(t, &key, &at, &more, &depth));
    while (more) {
        TRY(header_step(t, *table, key, at, table));
        TRY(next_part(t, &key, &at, &more, &depth));
    }
    if (toml_peek(t) != ']')
        return toml_expected(t, "']' or '.'");
    t->p++;
    if (item && toml_peek(t) != ']')
        return toml_expected(t, "']]'");
    t->p += item;
    TRY(item ? header_item(t, *table, key, at, table) : header_table(t, *table, key, at, table));
    t->depth = depth_of(*table);
    return t->depth > MAX_TOML_DEPTH ? too_deep(t, at) : end_of_line(t);
}

static enum errc document(struct toml_parser *t, struct toml *root)
{
    struct toml *table = root;
    for (;;) {
        TRY(blank_lines(t));
        if (t->p == t->end)
            return ERR_OK;
        if (*t->p == '[') {
            TRY(header(t, root, &table));
        } else {
            TRY(key_value(t, table));
            TRY(end_of_line(t));
        }
    }
}

enum errc toml_parse(struct slice text, struct arena *arena, struct toml **root, struct error *err)
{
    const char *p = text.n ? text.p : "";
    struct toml_parser t = {
        .start = p, .p = p, .end = p + text.n, .arena = arena, .err = err, .mark = p, .mark_line = 1, .mark_column = 1};
    enum errc rc;
    *root = NULL;
    if (text.n > MAX_TOML_TEXT)
        return ERR(err, LIMIT, "the TOML text has %zu bytes; at most %zu are accepted", text.n, MAX_TOML_TEXT);
    if (!utf8_valid(text))
        return toml_fail(&t, p + utf8_valid_prefix(text), ERR_SYNTAX, "the text is not valid UTF-8");
    if (slice_starts(text, SLICE("\xef\xbb\xbf")))
        t.p = t.start = t.mark = p + 3;
    struct toml *top = ARENA_NEW(arena, struct toml);
    if (!top)
        return toml_no_memory(&t);
    top->type = TOML_TABLE;
    top->made = MADE_BY_HEADER;
    top->line = top->column = 1;
    rc = document(&t, top);
    if (rc == ERR_OK)
        *root = top;
    return rc;
}

// ---- reading the tree -----------------------------------------------------------------------------------------------
const char *toml_type_text(enum toml_type type)
{
    static const char *const text[] = {"a string",    "an integer", "a float", "a boolean", "a date-time with zone",
                                       "a date-time", "a date",     "a time",  "an array",  "a table"};
    return text[type];
}

const struct toml *toml_get(const struct toml *table, const char *path)
{
    struct slice rest = slice_str(path), part;
    while (table && slice_split(&rest, '.', &part)) {
        const struct toml *entry = table->type == TOML_TABLE ? table->first : NULL;
        while (entry && !slice_eq(entry->key, part))
            entry = entry->next;
        table = entry;
    }
    return table;
}
