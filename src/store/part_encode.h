// Numbers, texts, values and columns as the bytes of a part (part_format.h), appended to a buffer.
#pragma once
#include "base/buf.h"
#include "store/part_format.h"

void part_put_varint(struct buf *b, uint64_t v);
void part_put_fixed(struct buf *b, int64_t v); // 8 bytes
void part_put_text(struct buf *b, struct slice s);
void part_put_id128(struct buf *b, struct id128 id);
void part_put_piece(struct buf *b, const struct part_piece *p);
void part_put_value(struct buf *b, const struct value *v); // with its kind
void part_encode_delta(struct buf *b, const int64_t *v, uint32_t n);
// For the times and values of samples (part_numbers.c).
void part_encode_steps(struct buf *b, const int64_t *v, uint32_t n);
void part_encode_numbers(struct buf *b, const double *v, uint32_t n); // at most MAX_PART_BLOCK_ROWS
void part_encode_runs(struct buf *b, const uint32_t *v, uint32_t n);
// The values from … from + n - 1 of the column (n > 0, at most MAX_PART_BLOCK_ROWS), encoded as suits them.
enum part_encoding part_encode_values(struct buf *b, const struct column *c, uint32_t from, uint32_t n);
// How many of the ids differ, nearly: what a filter needs to know. The same id may stand anywhere, often interleaved with others.
uint32_t part_count_ids(const struct id128 *v, uint32_t n);
