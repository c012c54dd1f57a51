// The write-ahead log's bytes. All numbers little-endian. A file holds one segment, WAL/<first sequence, 20 digits>.wal;
// when all its rows are in parts it is renamed to <first>-<end>.wal (end: one more than its last sequence).
//
//   0   header, 48 bytes
//   48  the same header again (one damaged copy does not lose the segment)
//   96  record, record, … to the end of the file
//
//   header   0 magic "SONDEWAL"   8 u32 version   12 u32 size of both headers (96)   16 u64 first sequence
//           24 u64 salt, random   32 u64 0        40 u64 xxh3-64 of bytes 0 … 39
//
//   record   0 u32 mark (wal_mark)   4 u32 length of what follows the record's 48 bytes
//            8 u64 checksum: xxh3-64 of bytes 16 … 47, of the tenant, of dropped, the result of each being the next one's
//                  seed; the first seed is salt ^ xxh3-64(payload)
//           16 u64 sequence      24 i64 received, ns since 1970
//           32 u8 format (enum wire_format)   33 u8 tenant's length   34 u8 flags (1: discover_service)   35 u8 0
//           36 u32 rows          40 u32 number of dropped rows        44 u32 payload's length
//           48 tenant, dropped (u32 each, ascending), payload (the request's body after decompression)
//
// Rules
//   - a record with sequence >= the next segment's first is void: it belongs to a commit that failed
//   - mark and checksums depend on the salt, so that bytes a client sent are never taken for a record when reading
//     resumes after damage, and cost nothing to pass over
#pragma once
#include "base/hash.h"
#include <endian.h>

enum {
    WAL_VERSION = 1,
    WAL_HEADER_BYTES = 48,
    WAL_START = 96,
    WAL_RECORD_BYTES = 48,
    WAL_FLAG_DISCOVER = 1,
};
#define WAL_MAGIC "SONDEWAL"

struct wal_header {
    char magic[8];
    uint32_t version, size;
    uint64_t first, salt, zero, check;
};
struct wal_record_header {
    uint32_t mark, length;
    uint64_t check, sequence;
    int64_t received_ns;
    uint8_t format, tenant_n, flags, zero;
    uint32_t rows, n_dropped, payload_n;
};
_Static_assert(sizeof(struct wal_header) == WAL_HEADER_BYTES && offsetof(struct wal_header, check) == 40, "header layout");
_Static_assert(2 * WAL_HEADER_BYTES == WAL_START, "two headers");
_Static_assert(sizeof(struct wal_record_header) == WAL_RECORD_BYTES, "record layout");
_Static_assert(offsetof(struct wal_record_header, sequence) == 16 && offsetof(struct wal_record_header, format) == 32 &&
                   offsetof(struct wal_record_header, payload_n) == 44,
               "record layout");
_Static_assert(__BYTE_ORDER == __LITTLE_ENDIAN, "the formats are read and written as they lie in memory");

static inline uint32_t wal_mark(uint64_t salt)
{
    return (uint32_t)hash64(&salt, sizeof salt);
}
