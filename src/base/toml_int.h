// What the two halves of the TOML parser share: toml.c (keys, tables, arrays) and toml_scalar.c (strings, numbers, times).
#pragma once
#include "base/toml.h"

struct toml_parser {
    const char *start, *p, *end;
    struct arena *arena;
    struct error *err;
    int depth; // of the table or array whose inside is read, from the root
    // A place in the text whose line and column are known: places mostly come in rising order, so each byte is counted once.
    const char *mark;
    int mark_line, mark_column;
    // All entries of all tables, by parent and key: open addressing, n_slots a power of two.
    struct toml **slots;
    size_t n_slots, n_entries;
};

static inline int toml_peek(const struct toml_parser *t)
{
    return t->p < t->end ? (unsigned char)*t->p : -1;
}
static inline bool toml_is_digit(int c)
{
    return c >= '0' && c <= '9';
}

bool toml_is_bare(int c); // may stand in a key without quotes
// Raise with the place in front.
enum errc toml_fail(struct toml_parser *t, const char *at, enum errc code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
// "expected WHAT, found …" at t->p.
enum errc toml_expected(struct toml_parser *t, const char *what);
// ERR_LIMIT: the arena gave nothing.
enum errc toml_no_memory(struct toml_parser *t);
// Past a newline (LF or CRLF) if there is one.
bool toml_newline(struct toml_parser *t);

// At an opening quote. Multi-line strings only where `multi` allows them: not as keys.
enum errc toml_string(struct toml_parser *t, bool multi, struct slice *out);
// Anything that is neither string nor array nor inline table, into out->type and its value.
enum errc toml_scalar(struct toml_parser *t, struct toml *out);
