// Values with a type of their own, as lines and attributes show them, and the packed fields of SONDE_LOG_ARRAY.
#pragma once
#include "base/buf.h"
#include "sdk/ring.h"

// ERROR, ID, DURATION as one string without quotes; where JSON, text and OTLP agree.
void rec_value_string(struct buf *out, enum sonde_type type, uint64_t u, struct slice s);
void rec_value_json(struct buf *out, enum sonde_type type, uint64_t u, struct slice s);
void rec_value_text(struct buf *out, enum sonde_type type, uint64_t u, struct slice s);

bool rec_value_is_array(enum sonde_type type);
// Takes the next element off *rest; false at the end. A cut last number is left out, a cut last string kept as it is.
bool rec_value_next(enum sonde_type array, struct slice *rest, struct rec_value *element);

// ---- packed fields --------------------------------------------------------------------------------------------------
struct packed_field {
    struct slice key; // reserved names with "field." in front
    struct rec_value v;
    bool replaced; // by a later field of the same key
};
struct packed {
    struct packed_field *field; // in the order of the call
    size_t n;
    struct buf names;
    bool failed; // no memory: not all is here
};
void packed_append(struct buf *to, const struct sonde_field *field); // an absent value is left out
// The same into memory of the caller's: the bytes written, 0 for an absent value, SIZE_MAX when they are more than room.
size_t packed_put(char *to, size_t room, const struct sonde_field *field);
// Takes the next field off *rest; false at the end. The key as it was given.
bool packed_next(struct slice *rest, struct packed_field *f);
// Reads what packed_append has written, as far as it is whole. Without memory: no fields.
void packed_read(struct packed *out, struct slice s);
void packed_free(struct packed *p);
