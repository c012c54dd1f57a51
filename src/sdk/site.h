// Call sites: what the macros' static records say, kept by number for the backend and written into the ring's dictionary,
// so that a record needs to carry only the number.
#pragma once
#include "base/buf.h"
#include "sdk/format.h"
#include "sdk/ring.h"

enum { SITE_LASTING = 2 }; // in is_span: its record lives as long as the process (sonde_site_new)

// One call site as the formatters want it. Lives as long as its table.
struct site {
    uint32_t number, line;
    uint8_t level, n, is_span;
    uint8_t n_args;               // values that are the arguments of the message; then with_errno, the last value is errno
    bool with_errno, with_fields; // with_fields: message and fields are values (SONDE_LOG_ARRAY)
    struct fmt_arg arg[SONDE_FIELDS_MAX];
    struct slice target, file, message; // target in the form a::b::c, valid UTF-8
    struct slice key[REC_VALUES_MAX];   // as written on lines: reserved names carry "field." in front
    uint8_t type[REC_VALUES_MAX];
    uint8_t order[REC_VALUES_MAX]; // fields sorted by key (bytes), without those that a later one of the same name replaces
    uint8_t n_order;
    struct slice json_place;               // ,"level":"INFO",…,"target":"…"
    struct slice json_head;                // ,"level":"INFO",…,"message":"…" ready to be copied
    struct slice json_key[REC_VALUES_MAX]; // ,"key":
    struct slice entry;                    // as in the dictionary
    const struct scope *scope;             // of a logger (sonde/logger.h); null: the target is all
    char *memory;
};

enum { SITE_BLOCK = 256, SITE_BLOCKS = 256 };
struct site_table {
    struct site **block[SITE_BLOCKS]; // atomic
    uint32_t n;                       // numbers 1 … n
};

// Reads one dictionary entry; *size gets its bytes. Null: damaged, or no memory.
struct site *site_parse(const char *p, size_t n, size_t *size);
void site_free(struct site *s);
// Null for an unknown number. Any thread.
struct site *site_get(const struct site_table *t, uint32_t number);
bool site_put(struct site_table *t, struct site *s); // under the caller's lock
void site_table_free(struct site_table *t);
// The dictionary entry of a static record, under that number.
void site_encode(struct buf *out, const struct sonde_site *s, uint32_t number);
// a::b::c of a source path: without leading ../ and ./, without extension; of an absolute path the last two parts.
void site_target(struct buf *out, const char *text);
// Keys that Sonde itself writes on each line.
bool site_reserved(struct slice key);
const char *level_text(unsigned level); // "ERROR" …
