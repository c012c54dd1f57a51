// TOML 1.0: a text becomes a typed tree in an arena. https://toml.io/en/v1.0.0
// Strict: the whole text must be valid UTF-8, keys and tables obey the rules of redefinition, integers and floats must fit 64
// bits, nesting ends at MAX_TOML_DEPTH. Keys and strings without escapes are slices of the text, which must therefore live as
// long as the tree; everything else lives in the arena. A BOM at the start is skipped. Newlines inside multi-line strings stay
// as they are written.
//
//     struct toml *root;
//     TRY(toml_parse(text, &arena, &root, err));
//     const struct toml *threads = toml_get(root, "server.threads"); // null if absent
//
// Thread rule: parsing belongs to one thread; a finished tree may be read by any number.
#pragma once
#include "base/arena.h"
#include "base/buf.h"

enum toml_type {
    TOML_STRING,          // text
    TOML_INTEGER,         // integer
    TOML_FLOAT,           // number
    TOML_BOOLEAN,         // yes
    TOML_OFFSET_DATETIME, // time, all fields
    TOML_LOCAL_DATETIME,  // time without offset
    TOML_LOCAL_DATE,      // time: year, month, day
    TOML_LOCAL_TIME,      // time: hour, minute, second, ns
    TOML_ARRAY,           // first …, n; arrays of tables too
    TOML_TABLE,           // first …, n; inline tables too
};

struct toml_time {
    int16_t year, offset; // offset: minutes east of UTC
    uint8_t month, day, hour, minute, second;
    uint32_t ns; // further digits are cut off
};

struct toml {
    enum toml_type type;
    uint8_t made;     // of the parser: by what a table or array came about
    int line, column; // where the key stands, the value in an array, the header of a table; characters, from 1
    struct slice key; // in a table
    union {
        struct slice text;
        int64_t integer;
        double number;
        bool yes;
        struct toml_time time;
        struct {
            struct toml *first, *last; // in the order of the text
            size_t n;
        };
    };
    struct toml *parent, *next;
};

// The table of the whole text. ERR_SYNTAX "line 3, column 9: expected a value, found the end of the line"; ERR_LIMIT for depth,
// text beyond MAX_TOML_TEXT, and an arena that gives no more. *root is null after an error.
enum errc toml_parse(struct slice text, struct arena *arena, struct toml **root, struct error *err);

// "a string", "an integer", … for messages.
const char *toml_type_text(enum toml_type type);
// The dotted path of a value from the root, keys quoted where TOML asks for it, array items as [0]: a."b c"[2].d
void toml_path(const struct toml *t, struct buf *out);
// The value on one line, as TOML: strings in "…", tables inline. Parsed again it gives the same tree; of times what was kept.
void toml_print(const struct toml *t, struct buf *out);
// An entry by its dotted path of bare keys; null if absent, or if the way leads through what is no table.
const struct toml *toml_get(const struct toml *table, const char *path);
