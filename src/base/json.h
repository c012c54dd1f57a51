// JSON: a writer onto a struct buf, and a reader that walks a text once, in place, without building a tree.
// The reader is strict RFC 8259 (depth-limited by MAX_JSON_DEPTH, UTF-8 checked by the caller where it matters) and
// tells the byte where it failed. Strings without escapes are slices of the input; others are unescaped into the arena
// (lone surrogates become U+FFFD). Errors: ERR_SYNTAX, ERR_LIMIT (depth, arena budget).
// Thread rule: one thread at a time.
#pragma once
#include "base/arena.h"
#include "base/buf.h"

// ---- writer ---------------------------------------------------------------------------------------------------------
// Commas and colons come by themselves. jw_key must precede each value in an object.
struct jw {
    struct buf *b;
    bool need_comma;
};
static inline struct jw jw_to(struct buf *b)
{
    return (struct jw){b, false};
}
void jw_obj(struct jw *w);
void jw_obj_end(struct jw *w);
void jw_arr(struct jw *w);
void jw_arr_end(struct jw *w);
void jw_key(struct jw *w, struct slice key);
#define JW_KEY(w, lit) jw_key((w), SLICE(lit))
void jw_str(struct jw *w, struct slice s); // escapes " \ and controls (\n …, else \u00xx); invalid UTF-8 → U+FFFD
void jw_i64(struct jw *w, int64_t v);
void jw_u64(struct jw *w, uint64_t v);
void jw_f64(struct jw *w, double v); // NaN and infinities are written as null
void jw_bool(struct jw *w, bool v);
void jw_null(struct jw *w);
void jw_raw(struct jw *w, struct slice json); // a ready value
void jw_str_i64(struct jw *w, int64_t v);     // "123" (64-bit integers as strings, as in OTLP/JSON)
void jw_str_u64(struct jw *w, uint64_t v);
void jw_hex(struct jw *w, const void *p, size_t n); // "0af7…"
void jw_base64(struct jw *w, struct slice bytes);
// The escaped inside of a string (no quotes) appended to b.
void json_escape(struct buf *b, struct slice s);

// ---- reader ---------------------------------------------------------------------------------------------------------
enum json_type { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT, JSON_END, JSON_BAD };

struct json {
    const char *start, *p, *end;
    struct arena *arena; // for unescaped strings; may be null if only raw access is used
    struct error *err;   // may be null
    int depth;
    bool fresh;  // just behind an opening bracket: no comma yet
    bool failed; // sticky
};

void json_init(struct json *j, struct slice text, struct arena *arena, struct error *err);
static inline size_t json_at(const struct json *j)
{
    return (size_t)(j->p - j->start);
}
// Type of the next value without consuming it.
enum json_type json_peek(struct json *j);
// Enter an object, then: while (json_next_key(j, &key)) { read or json_skip exactly one value }. After the loop check
// j->failed. Same with json_array / json_next_item.
bool json_object(struct json *j);
bool json_next_key(struct json *j, struct slice *key);
bool json_array(struct json *j);
bool json_next_item(struct json *j);
bool json_string(struct json *j, struct slice *out);
// The text of a number, exactly as written.
bool json_number_text(struct json *j, struct slice *out);
bool json_i64(struct json *j, int64_t *out);  // integer (2.0 and 1e3 are), or a string that holds one (OTLP/JSON writes both)
bool json_u64(struct json *j, uint64_t *out); // likewise
bool json_f64(struct json *j, double *out);   // number, or "NaN", "Infinity", "-Infinity", or a string holding a number
bool json_bool(struct json *j, bool *out);
bool json_null(struct json *j);
// Consumes any value, checking it wholly; *raw (may be null) gets its text.
bool json_skip(struct json *j, struct slice *raw);
// Nothing but white space may be left.
bool json_finish(struct json *j);
// Raises "JSON: what at byte N" once; returns false.
bool json_fail(struct json *j, const char *what);
// Name of the kernel in use ("avx2", "portable"). SONDE_CPU=portable in the environment forces the portable one.
const char *json_kernel(void);
bool base64_decode(struct arena *a, struct slice text, struct slice *out); // standard and URL alphabets, padding optional
