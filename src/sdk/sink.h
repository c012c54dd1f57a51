// Sinks: the places lines go to. A finished record comes in (sinks_line), each sink that wants it gets its line; lines wait in
// the sink's buffer until they can be written without blocking, up to SINK_PENDING bytes. A sink that stands still delays the
// backend, and with it the others, once for SINK_PATIENCE_MS (a blocking one: for its own time), and then loses its newest.
// Thread rule: under sdk.drain; sinks_want also under sdk.life.
#pragma once
#include "sdk/filter.h"
#include "sdk/line.h"
#include <sonde/sink.h>
#include <sys/types.h>

enum {
    SINK_BATCH = 256 << 10, // lines are written when there are so many bytes
    SINK_PENDING = 8 << 20, // and wait up to here
    SINK_RESERVE = 1 << 20, // beyond that, for ERROR
    SINK_PATIENCE_MS = 100,
    SINK_PATH_MAX = 1024,
    SINK_CHECK_NS = 100000000,   // whether the file was moved
    SINK_RETRY_NS = 1000000000,  // a file that failed
    SINK_CALLBACK_NS = 5000000,  // while there are callbacks, the others' lines wait no longer than that for them
    SINK_EPISODE_NS = 250000000, // without a loss: the episode is over
    SINK_EPISODE_MAX = 10,       // seconds after which it is told even so
};

// ---- file (sink_file.c) ---------------------------------------------------------------------------------------------
struct sink_file {
    char path[SINK_PATH_MAX];
    uint64_t rotate_size;
    unsigned rotate_seconds, keep;
    bool rotate_at_start, started;
    int fd; // -1: to be opened
    dev_t dev;
    ino_t inode;
    uint64_t size;
    int64_t period;                                             // of rotate_seconds in which the file was begun
    bool regular;                                               // not a pipe or device, which is never renamed
    bool mid_line;                                              // the file ends within a line, which goes on there
    int error;                                                  // errno of the failure that lasts; 0: none
    int64_t failed_at, retry_at, checked_at, no_rotation_until; // monotonic
    uint64_t rotations, failures;
    bool tell_failed, tell_cleared;
};
// Writes lines; returns the bytes that are out. Never splits a line over two files. Less than n: error tells why.
size_t sink_file_write(struct sink_file *f, const char *p, size_t n);
// Opens it for the first time, or anew when it was moved or truncated.
void sink_file_check(struct sink_file *f);
void sink_file_close(struct sink_file *f);

// ---- all ------------------------------------------------------------------------------------------------------------
enum { SINK_HELD = 1, SINK_EVENT = 2, SINK_RETRO = 4 }; // below DYN_LOG's filter; a span event; held, now written after all

struct pipeline;
void sinks_configure(const struct line_style *style, struct buf *notes); // from the environment; under life
void sinks_line(const struct line *l, unsigned how);
// Writes out what can be written, tells of losses and failures. until: monotonic time up to which it may wait (flush); 0: not at
// all. True if nothing is left.
bool sinks_turn(struct pipeline *p, int64_t until);
void sinks_end(void);                                 // what is still there counts as lost
bool sinks_want(unsigned level, struct slice target); // whether a sink with a filter of its own may want such records
unsigned sinks_want_level(void);                      // up to which level at all; 0: no sink has its own filter
bool sinks_events(void);                              // whether one writes JSON
void sinks_after_fork(void);

// Words of the environment (sink_env.c). False: not understood.
struct sink_loss {
    enum sonde_loss how;
    unsigned block_ms, drop_below;
};
bool sink_loss_word(struct slice word, struct sink_loss *out);
bool sink_time_word(struct slice word, unsigned *seconds);
// The file sink of the environment; false: none is asked for, or it makes no sense (told in notes).
bool sink_env_file(struct sonde_sink_options *out, struct buf *notes);

// One number and two times: N records lost.
struct sink_episode {
    uint64_t n;
    int64_t first, last;    // wall
    int64_t changed, began; // monotonic
};
void sink_episode_add(struct sink_episode *e, uint64_t n, int64_t first, int64_t last);
bool sink_episode_over(const struct sink_episode *e, int64_t now);
int sink_episode_text(char *out, size_t n, const struct sink_episode *e, bool local); // "lost 3 records between … and …"
