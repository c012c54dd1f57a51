// Protocol-buffer wire format, by hand: zero copy, any field order, unknown fields skipped, groups refused.
//
//   struct pb r; pb_init(&r, bytes, err);
//   while (pb_next(&r)) switch (r.field) {
//       case 1: pb_bytes(&r, &name); break;      // fails if the wire type is another
//       case 2: pb_message(&r, &child); …        // a nested reader, one deeper
//       default: pb_skip(&r);
//   }
//   if (r.failed) …
//
// A nested reader that fails marks the readers it came from too, so one check of the outermost at the end is enough.
// Byte positions in messages count from the start of the outermost. The parent must outlive the child.
// Thread rule: one thread at a time.
#pragma once
#include "base/buf.h"
#include "base/error.h"
#include "base/slice.h"

enum pb_wire { PB_VARINT = 0, PB_FIXED64 = 1, PB_LEN = 2, PB_FIXED32 = 5 };
// What stands before a value on the wire, as a varint: one byte for fields below 16.
#define PB_TAG(field, wire) ((field) << 3 | (wire))

struct pb {
    const uint8_t *start, *p, *end;
    const uint8_t *tag; // of the field that pb_next found
    struct pb *parent;
    struct error *err;
    uint32_t field;
    enum pb_wire wire;
    int depth;
    bool failed;
};

void pb_init(struct pb *r, struct slice bytes, struct error *err);
bool pb_next(struct pb *r);             // false at the end or on failure
bool pb_u64(struct pb *r, uint64_t *v); // varint
bool pb_i64(struct pb *r, int64_t *v);  // varint, two's complement
bool pb_u32(struct pb *r, uint32_t *v); // varint cut to 32 bits
bool pb_bool(struct pb *r, bool *v);
bool pb_fixed64(struct pb *r, uint64_t *v);
bool pb_fixed32(struct pb *r, uint32_t *v);
bool pb_double(struct pb *r, double *v);
bool pb_bytes(struct pb *r, struct slice *v);
bool pb_string(struct pb *r, struct slice *v);   // as pb_bytes; the caller checks or cleans UTF-8
bool pb_message(struct pb *r, struct pb *child); // depth + 1, MAX_PB_DEPTH
// The field from its tag on, tag and value, as raw bytes (for columns that keep encoded messages).
bool pb_raw_field(struct pb *r, struct slice *raw);
void pb_skip(struct pb *r);

// ---- writer: appends to a struct buf. Messages with unknown length: pb_w_begin … pb_w_end back-patches. -------------
void pb_w_varint(struct buf *b, uint64_t v);
void pb_w_u64(struct buf *b, uint32_t field, uint64_t v);
void pb_w_i64(struct buf *b, uint32_t field, int64_t v);
void pb_w_bool(struct buf *b, uint32_t field, bool v);
void pb_w_fixed64(struct buf *b, uint32_t field, uint64_t v);
void pb_w_fixed32(struct buf *b, uint32_t field, uint32_t v);
void pb_w_double(struct buf *b, uint32_t field, double v);
void pb_w_bytes(struct buf *b, uint32_t field, struct slice v);
size_t pb_w_begin(struct buf *b, uint32_t field); // returns a mark
void pb_w_end(struct buf *b, size_t mark);        // may move the message's bytes to fit its length
