// Helpers of the store's tests: a temporary directory, requests of numbered lines, waiting for commits, counting rows.
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include "store/store_int.h"
#include <cmocka.h>

#define OK(call)                                       \
    do {                                               \
        struct error e_ = {0};                         \
        enum errc rc_ = (call);                        \
        (void)e_;                                      \
        if (rc_ != ERR_OK)                             \
            fail_msg("%s: %s", #call, errc_text(rc_)); \
    } while (0)

char *temp_dir(void);        // a fresh directory below TMPDIR; to be given to temp_remove
void temp_remove(char *dir); // with all in it, and frees
struct store *open_store(const char *dir);
struct store *open_with(const char *dir, void (*change)(struct store_options *o));

// A Loki push of n lines "line <first + i>" of stream {app="app<k>"}, one microsecond apart from T0.
#define T0        1700000000000000000ll
#define LINE_STEP 1000
void push_text(struct buf *out, int app, unsigned first, unsigned n);
// Appends a request and waits for its commit.
enum errc append_raw(struct store *s, struct slice tenant, enum wire_format f, struct slice raw);
enum errc append_raw_may_fail(struct store *s, struct slice tenant, enum wire_format f, struct slice raw); // also to decode
enum errc append_lines(struct store *s, int app, unsigned first, unsigned n);

// All rows of the default tenant's logs: how often each number of "line <n>" occurs, numbers below max.
// Returns the rows seen.
uint64_t count_lines(struct store *s, unsigned *seen, unsigned max);
// The rows of a request, each given to fn (may be null). Returns their number.
uint64_t scan_rows(struct store *s, const struct scan_request *q, void (*fn)(void *arg, const struct batch *b, uint32_t row),
                   void *arg);
struct scan_request all_logs(void);
char *only_file(const char *dir, const char *ending); // path of the first file below dir with that ending; to be freed
uint8_t *read_whole(const char *path, size_t *n);
void write_whole(const char *path, const uint8_t *p, size_t n);
