// The write-ahead log: requests as they came, in order, on disk before they are acknowledged.
// Byte layout: wal_format.h. One thread writes (commit.c); trimming and statistics may come from others.
#pragma once
#include "event/wire.h"
#include <pthread.h>

struct wal_record {
    uint64_t sequence; // set by wal_write
    int64_t received_ns;
    enum wire_format format;
    bool discover;       // wire_options.discover_service when it was received
    uint32_t rows;       // that the decoder gave
    uint32_t n_dropped;  // rows that were already stored
    const void *dropped; // n_dropped uint32, ascending, little-endian, maybe not aligned
    struct slice tenant, payload;
    uint64_t payload_hash; // hash64(payload)
};

struct wal_segment {
    uint64_t first; // sequence of its first record
    uint64_t end;   // one more than its last record's
    uint64_t bytes;
    bool covered; // parts have all its rows: opening does not read it, its name says so (wal_format.h)
};

struct wal {
    char *dir;
    size_t segment_bytes, keep_bytes;
    pthread_mutex_t lock; // the list; innermost lock
    struct wal_segment *segment;
    size_t n_segments, cap_segments;
    // The segment being written, the list's last, when fd >= 0. Writer only.
    int fd;
    uint64_t offset, salt, current; // current: its first sequence
    uint64_t next_sequence;
    bool parent_synced;
    uint64_t torn_bytes;
};

// Called by wal_replay for each whole record, in order, then with null when a segment ends: the records are valid until
// that call returns.
typedef enum errc wal_record_fn(void *arg, const struct wal_record *r, struct error *err);

// Finds the segments of `dir` (made if missing). next: the lowest sequence that may be given to a new record.
// keep_bytes: see wal_trim.
enum errc wal_open(struct wal *w, const char *dir, size_t segment_bytes, size_t keep_bytes, uint64_t next, struct error *err);
// Covered segments become ordinary ones again, lastingly: a part was lost, and what they hold of it is wanted back.
enum errc wal_uncover(struct wal *w, struct error *err);
// repair (at opening, before the first write): reads the segments that are not covered, cuts torn tails off and reports
// damage on stderr. Else: reads all.
enum errc wal_replay(struct wal *w, bool repair, wal_record_fn *fn, void *arg, struct error *err);
// Writes the records and makes them durable together. On failure none of them is in the log, and it stays usable.
// ERR_FULL: no space. ERR_IO: anything else.
enum errc wal_write(struct wal *w, struct wal_record *r, size_t n, struct error *err);
// The first sequence of the segment being written: the requests below it are all in heads, or in parts since.
uint64_t wal_settled(struct wal *w);
// Segments with no record >= uncovered are covered: the newest of them are kept, up to keep_bytes, for the filter of
// repeated requests to be rebuilt from; the others are deleted. The segment being written stays as it is. uncovered: at
// most what wal_settled gave before the heads were looked at, since commits go on meanwhile.
void wal_trim(struct wal *w, uint64_t uncovered);
void wal_size(struct wal *w, uint64_t *bytes, uint64_t *segments);
void wal_close(struct wal *w);

// The segment's file.
void wal_segment_path(const struct wal *w, const struct wal_segment *s, char *out, size_t room);

// Walks the bytes of a segment. verify false: checksums are not compared (fuzzing). Damage is told to `damage`
// (may be null): [from, to) could not be read, `tail` when nothing readable follows. Returns the end of the last
// good record; 0 when the header cannot be read.
typedef void wal_damage_fn(void *arg, uint64_t from, uint64_t to, bool tail);
uint64_t wal_walk(struct slice file, bool verify, bool (*fn)(void *arg, const struct wal_record *r, uint64_t offset),
                  wal_damage_fn *damage, void *arg);
