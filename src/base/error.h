// The one error type. Every fallible function returns enum errc and, where it takes a struct error *, fills it
// with the first cause: a code, a sentence for a person (what was wrong, where, what to do), and the place in our
// source that raised it. A null struct error * is allowed everywhere and costs nothing.
// Thread rule: a struct error belongs to one thread at a time.
#pragma once
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#define ERRC_LIST(X)                \
    X(OK, "ok")                     \
    X(NOMEM, "out of memory")       \
    X(LIMIT, "limit exceeded")      \
    X(SYNTAX, "syntax error")       \
    X(INPUT, "invalid input")       \
    X(IO, "input/output error")     \
    X(FULL, "no space left")        \
    X(CORRUPT, "damaged data")      \
    X(NET, "network error")         \
    X(TIMEOUT, "timed out")         \
    X(CLOSED, "closed")             \
    X(CANCELLED, "cancelled")       \
    X(NOTFOUND, "not found")        \
    X(EXISTS, "already exists")     \
    X(UNSUPPORTED, "not supported") \
    X(DENIED, "not allowed")        \
    X(BUG, "internal error")

enum errc {
#define X(name, text) ERR_##name,
    ERRC_LIST(X)
#undef X
        ERRC_COUNT
};

enum { ERROR_MESSAGE_MAX = 400 };

struct error {
    enum errc code;
    int line;         // where it was first raised
    const char *file; // static storage
    char msg[ERROR_MESSAGE_MAX];
};

// The words for a code, static storage.
const char *errc_text(enum errc code);

// Fills *e (if not null) unless it already holds an error: the first cause is kept. Returns code. Use ERR().
enum errc error_raise(struct error *e, enum errc code, const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

// Puts text in front of the message, to say what was being done: "loading /x/y: …". Returns e->code, so
// that a failing function may return it; without an error to read the code from (null, or none raised) ERR_BUG.
enum errc error_prefix(struct error *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

// ERR(e, SYNTAX, "expected ',' at byte %zu", at) → raises and evaluates to ERR_SYNTAX.
#define ERR(e, name, ...) error_raise((e), ERR_##name, __FILE__, __LINE__, __VA_ARGS__)

// TRY(call): returns the code from the enclosing function if it is not ERR_OK.
#define TRY(call)                   \
    do {                            \
        enum errc try_rc_ = (call); \
        if (try_rc_ != ERR_OK)      \
            return try_rc_;         \
    } while (0)

// GO(call): sets rc and jumps to out: if it is not ERR_OK. The enclosing function has `enum errc rc` and `out:`.
#define GO(call)          \
    do {                  \
        rc = (call);      \
        if (rc != ERR_OK) \
            goto out;     \
    } while (0)
