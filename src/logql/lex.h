// The words of LogQL.
#pragma once
#include "base/arena.h"
#include "base/error.h"

enum tok {
    TOK_END,
    TOK_BAD,
    TOK_IDENT,
    TOK_STRING,
    TOK_NUMBER,
    TOK_DURATION,
    TOK_BYTES,
    TOK_FLAG, // --name
    TOK_LBRACE,
    TOK_RBRACE,
    TOK_LPAREN,
    TOK_RPAREN,
    TOK_LBRACKET,
    TOK_COMMA,
    TOK_PIPE,
    TOK_EQ,
    TOK_EQEQ,
    TOK_NE,
    TOK_RE,
    TOK_NRE,
    TOK_GT,
    TOK_GE,
    TOK_LT,
    TOK_LE,
    TOK_PIPE_EQ,
    TOK_PIPE_RE,
    TOK_PIPE_LIKE,
    TOK_NOT_LIKE, // |= |~ |> !>
    TOK_ADD,
    TOK_SUB,
    TOK_MUL,
    TOK_DIV,
    TOK_MOD,
    TOK_POW,
};
const char *tok_text(enum tok t); // for messages: "'{'", "a string"

// Longer ranges and offsets are refused, so that sums of times stay within 64 bits.
#define MAX_LOGQL_RANGE (50ll * 365 * 86400 * 1000000000)

struct lex {
    struct slice text;
    struct arena *arena;
    struct error *err;
    size_t next; // where the token after the current one is looked for
    // the current token
    enum tok tok;
    size_t at;
    struct slice s; // identifier, unquoted string, flag without --, number as written
    double number;  // number, duration (ns), bytes
    bool failed;    // an error has been raised; tok is TOK_BAD
};

void lex_init(struct lex *l, struct slice text, struct arena *a, struct error *err);
void lex_next(struct lex *l);
// The current token is '[': reads a range like 5m or 1h30m up to ']' and goes on behind it.
bool lex_range(struct lex *l, int64_t *ns);
// Raises "parse error at line L, col C: …" for the byte `at`, once.
void lex_fail(struct lex *l, size_t at, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
// Is the current token this word, in any case?
bool lex_word(const struct lex *l, const char *word);
