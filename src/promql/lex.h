// PromQL's tokens. Inside braces words are label names (no ':', no keywords); inside brackets ':' stands for itself.
#pragma once
#include "base/arena.h"

enum prom_token {
    TOK_END,
    TOK_WORD,     // name, keyword, function: told apart by the parser
    TOK_NUMBER,   // number holds it
    TOK_DURATION, // ms holds it
    TOK_STRING,   // text holds it, unescaped
    TOK_LPAREN,
    TOK_RPAREN,
    TOK_LBRACE,
    TOK_RBRACE,
    TOK_LBRACKET,
    TOK_RBRACKET,
    TOK_COMMA,
    TOK_COLON,
    TOK_AT,
    TOK_ASSIGN, // =
    TOK_RE,     // =~
    TOK_NRE,    // !~
    TOK_EQ,     // ==
    TOK_NE,
    TOK_LE,
    TOK_LT,
    TOK_GE,
    TOK_GT,
    TOK_ADD,
    TOK_SUB,
    TOK_MUL,
    TOK_DIV,
    TOK_MOD,
    TOK_POW,
};

struct prom_lex {
    struct slice in;
    struct arena *arena;
    struct error *err;
    bool failed; // an error was raised; the token is TOK_END from then on
    bool braces, brackets;
    int parens;
    // the token at hand
    enum prom_token token;
    uint32_t from, to;
    struct slice text; // the word; of a string what it means
    double number;
    int64_t ms;
};

void prom_lex_init(struct prom_lex *l, struct slice text, struct arena *a, struct error *err);
void prom_lex_next(struct prom_lex *l);
// Raises "LINE:COLUMN: parse error: …" for the byte, once; returns false.
bool prom_lex_fail(struct prom_lex *l, uint32_t at, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
// How the token at hand is named in messages: `identifier "x"`, `")"`, "end of input".
struct slice prom_lex_name(struct prom_lex *l);
