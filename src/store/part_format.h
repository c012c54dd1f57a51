// The bytes of a part. All fixed numbers little-endian; "varint" is unsigned LEB128, "text" a varint length and bytes.
//
//   0     header, 16 bytes: magic "SONDEPRT", u32 version, u32 0
//   16    pieces: for each block its columns, its bloom filter, its directory; then the resources; then the footer
//   -64   trailer, 64 bytes
//
//   trailer   0 u64 footer's offset   8 u32 stored   12 u32 raw   16 u32 zstd (0, 1)   20 u32 version
//            24 u64 footer's check   32 u64 file size   40 u64 0   48 u64 xxh3-64 of bytes 0 … 47
//            56 magic "SONDEEND"
//
// A piece is stored as it is or as one zstd frame, whichever is shorter; its check is xxh3-64 of the stored bytes.
// Where a piece is named:  varint zstd (0, 1), varint offset, varint stored, varint raw, u64 check
//
//   footer     varint signal, text tenant, varint first, varint last, varint rows, i64 min, i64 max time, i64 max end,
//              piece resources, varint number of resources,
//              varint number of columns: { u8 scope, u8 kind, varint field, text name }
//              varint number of blocks:  { varint rows, i64 min, i64 max time, i64 max end, varint min, varint max
//                                          resource, piece directory, piece bloom }
//   resources  each: 16 bytes hash, 16 bytes labels' hash (big-endian), i64 min, i64 max time of its rows,
//              varint labels: { text name, text value }, varint attributes: { text key, u8 kind, value }
//              of samples each: varint min time - the part's, varint max - min time, varint labels: { as above }
//              value: i64, f64 and id64 8 bytes; bool 1; id128 16 (big-endian); text kinds a text
//   directory  varint chunks: { varint column, u8 encoding, varint n, piece }
//   bloom      a power of two of bytes; bit positions: see part_bloom_bit
//
// A chunk holds the n values of one column in one block (rows sorted by stream, then time):
//   if n < rows: n varints, the distance of each value's row from the row before (the first from row -1), minus 1
//   PART_DELTA   varints of the zigzag distance from the value before (first: from 0). Times, integers
//   PART_RUNS    pairs of varints: distance from the value before, length of the run. The resource column
//   PART_STEPS   times of samples: varint unit, then varints of the zigzag difference between a distance and the one before, in
//   units PART_NUMBERS f64: for each group of 128 (the last may be shorter) a byte, then the groups' values. 0 … 9: whole numbers
//   over 10
//                to that power, varints of zigzag distances, the first from 0; with 64: of the difference between a distance and
//                the one before (the second: its distance). 255: no varints, but behind all groups the 8 bytes of the values,
//                each XOR the value before in its group, in 8 planes: all lowest bytes, … all highest
//   PART_PLAIN   fixed widths as they are (f64 of older parts, bool, ids); texts: n varint lengths, then all bytes
//   PART_DICT    texts: varint d ≤ 255, d texts, n bytes that choose
#pragma once
#include "base/hash.h"
#include "store/part.h"
#include <endian.h>

enum {
    PART_VERSION = 1,
    PART_HEADER_BYTES = 16,
    PART_TRAILER_BYTES = 64,
    PART_TIME = 0,
    PART_RESOURCE = 1,
    PART_FIRST_COLUMN = 2,
    PART_BLOOM_HASHES = 6,
    PART_DICT_MAX = 255,
};
enum part_encoding { PART_PLAIN, PART_DELTA, PART_RUNS, PART_DICT, PART_STEPS, PART_NUMBERS };
#define PART_MAGIC     "SONDEPRT"
#define PART_END_MAGIC "SONDEEND"

struct part_trailer {
    uint64_t offset;
    uint32_t stored, raw, zstd, version;
    uint64_t check, size, zero;
    uint64_t own_check;
    char magic[8];
};
_Static_assert(sizeof(struct part_trailer) == PART_TRAILER_BYTES && offsetof(struct part_trailer, size) == 32 &&
                   offsetof(struct part_trailer, own_check) == 48 && offsetof(struct part_trailer, magic) == 56,
               "trailer layout");
_Static_assert(__BYTE_ORDER == __LITTLE_ENDIAN, "the formats are read and written as they lie in memory");

// The i-th bit of an id in a filter of `bits` (a power of two) bits.
static inline uint64_t part_bloom_bit(struct id128 id, unsigned i, uint64_t bits)
{
    uint64_t a = hash_mix(id.hi, id.lo), b = hash_mix(id.lo, a) | 1;
    return (a + i * b) & (bits - 1);
}
// Bits of a filter for so many ids.
static inline uint64_t part_bloom_bits(uint32_t ids)
{
    uint64_t bits = 64;
    while (bits < (uint64_t)ids * 10)
        bits *= 2;
    return bits;
}
static inline void part_bloom_add(uint8_t *p, uint64_t bits, struct id128 id)
{
    for (unsigned k = 0; k < PART_BLOOM_HASHES; k++) {
        uint64_t bit = part_bloom_bit(id, k, bits);
        p[bit / 8] = (uint8_t)(p[bit / 8] | 1 << (bit & 7));
    }
}
static inline bool part_bloom_has(const uint8_t *p, uint64_t bits, struct id128 id)
{
    bool yes = true;
    for (unsigned k = 0; k < PART_BLOOM_HASHES && yes; k++) {
        uint64_t bit = part_bloom_bit(id, k, bits);
        yes = p[bit / 8] >> (bit & 7) & 1;
    }
    return yes;
}
