// A part: the rows of one table and a range of log sequences, on disk, immutable. Byte layout: part_format.h.
// Thread rule: any thread; a part_cursor belongs to one.
#pragma once
#include "event/batch.h"
#include <pthread.h>

// A checksummed, maybe compressed stretch of the file.
struct part_piece {
    uint64_t offset;
    uint32_t stored, raw; // bytes in the file, bytes once decompressed
    uint64_t check;
    bool zstd;
};

struct part_info {
    enum signal signal;
    struct slice tenant;
    uint64_t first, last; // log sequences it covers for its table
    uint64_t rows, bytes;
    int64_t min_time, max_time, max_end;
    uint32_t n_resources, n_columns, n_blocks;
};
struct part_block {
    uint32_t rows;
    int64_t min_time, max_time, max_end;
    uint32_t min_resource, max_resource;
    struct part_piece directory, bloom; // bloom.raw == 0: no trace ids in it
};
struct part_column {
    enum col_scope scope;
    enum col_kind kind;
    enum field field;
    struct slice name;
};

struct part {
    char *path;
    struct slice memory; // instead of a file, for tests
    bool verify;
    struct part_info info;
    struct part_block *blocks;
    struct part_column *columns;
    struct part_piece resource_piece;
    struct arena arena; // of the above
    pthread_mutex_t lock;
    struct resource *resources; // read at the first part_resources
    int64_t *resource_min, *resource_max;
    struct arena resource_arena;
    int refs;     // atomic
    bool removed; // atomic: the file goes with the last reference
    bool damaged; // a merge could not read it: it is not tried again. Under the store's flush_lock
};

struct part_meta {
    struct slice tenant;
    uint64_t first, last;
};
// Writes a sealed batch of batch_merge's order as a new part: temporary name, sync, rename, sync of the folder.
// On failure nothing is left behind. ERR_FULL, ERR_IO, ERR_NOMEM.
enum errc part_write(const char *path, const struct batch *b, const struct part_meta *meta, struct error *err);
// Reads and checks the footer. ERR_CORRUPT, ERR_IO.
enum errc part_open(const char *path, struct part **out, struct error *err);
// The same over bytes that outlive the part. verify false: checksums are not compared (fuzzing).
enum errc part_open_memory(struct slice bytes, bool verify, struct part **out, struct error *err);
struct part *part_ref(struct part *p);
void part_unref(struct part *p);  // null is fine
void part_remove(struct part *p); // the file goes when nobody reads it any more
// The table of resources, n_resources; loads it once. fd: the open file, or -1.
enum errc part_resources(struct part *p, int fd, struct error *err);
size_t part_resource_memory(const struct part *p); // of the table, once loaded
// Gives the table back if nobody but the caller refers to the part; false if somebody does. Nobody may take a reference
// meanwhile.
bool part_forget_resources(struct part *p);
int part_file(const struct part *p, struct error *err); // opens for reading; -1 and an error, or -1 for one in memory

// Reading one block, column by column, into `out`, a batch that belongs to the cursor.
struct part_chunk {
    uint32_t column; // PART_TIME, PART_RESOURCE, or 2 + number of a part_column
    uint32_t n;
    uint8_t encoding;
    struct part_piece piece;
};
struct part_cursor {
    struct part *part; // not referenced
    int fd;
    uint32_t block;
    struct part_chunk *chunks;
    uint32_t n_chunks;
    uint64_t bytes_read; // uncompressed, since the last block
    struct batch out;
};
void part_cursor_init(struct part_cursor *c, size_t max_memory);
void part_cursor_free(struct part_cursor *c);
// Begins a block: reads its directory, time and resource columns. `out` has no other column yet.
enum errc part_cursor_block(struct part_cursor *c, struct part *p, int fd, uint32_t block, struct error *err);
// Adds a column (number in part.columns) to out, if the block has it and out does not yet.
enum errc part_cursor_column(struct part_cursor *c, uint32_t column, struct error *err);
// Whether a block may hold rows of the trace.
enum errc part_may_have_trace(struct part *p, int fd, uint32_t block, struct id128 trace, bool *may, struct error *err);
