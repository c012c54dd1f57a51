#include "util.h"
#include "base/clock.h"
#include "base/limits.h"
#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

char *temp_dir(void)
{
    const char *base = getenv("TMPDIR");
    char *path;
    if (asprintf(&path, "%s/sonde-store-XXXXXX", base ? base : "/tmp") < 0 || !mkdtemp(path))
        fail_msg("cannot make a temporary directory");
    return path;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
    (void)st, (void)type, (void)f;
    return remove(path);
}

void temp_remove(char *dir)
{
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(dir);
}

struct store *open_with(const char *dir, void (*change)(struct store_options *o))
{
    struct store_options o;
    struct store *s;
    struct error err = {0};
    store_options_default(&o);
    o.dir = dir;
    if (change)
        change(&o);
    if (store_open(&s, &o, &err) != ERR_OK)
        fail_msg("store_open: %s", err.msg);
    return s;
}

struct store *open_store(const char *dir)
{
    return open_with(dir, NULL);
}

void push_text(struct buf *out, int app, unsigned first, unsigned n)
{
    buf_printf(out, "{\"streams\":[{\"stream\":{\"app\":\"app%d\"},\"values\":[", app);
    for (unsigned i = first; i < first + n; i++)
        buf_printf(out, "%s[\"%lld\",\"line %u\"]", i == first ? "" : ",", T0 + (long long)i * LINE_STEP, i);
    buf_str(out, "]}]}");
}

struct wait {
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool is_done;
    enum errc rc;
};

static void committed(void *arg, enum errc rc)
{
    struct wait *w = arg;
    pthread_mutex_lock(&w->lock);
    w->is_done = true;
    w->rc = rc;
    pthread_cond_signal(&w->done);
    pthread_mutex_unlock(&w->lock);
}

enum errc append_raw_may_fail(struct store *s, struct slice tenant, enum wire_format f, struct slice raw)
{
    struct wire_options opt = {.received_ns = T0, .discover_service = true};
    struct wire_report report = {0};
    struct error err = {0};
    struct batch *b;
    // The bytes die right after the call, as a receiver's buffer does.
    char *copy = malloc(raw.n + 1);
    memcpy(copy, raw.p, raw.n);
    raw.p = copy;
    enum errc rc = wire_decode(f, raw, true, &opt, &b, &report, &err);
    if (rc != ERR_OK) {
        free(copy);
        return rc;
    }
    struct wait w = {.is_done = false};
    pthread_mutex_init(&w.lock, NULL);
    pthread_cond_init(&w.done, NULL);
    rc = store_append(s, tenant, f, raw, T0, b, committed, &w, &err);
    memset(copy, 'X', raw.n);
    free(copy);
    if (rc == ERR_OK) {
        pthread_mutex_lock(&w.lock);
        while (!w.is_done)
            pthread_cond_wait(&w.done, &w.lock);
        rc = w.rc;
        pthread_mutex_unlock(&w.lock);
    }
    pthread_mutex_destroy(&w.lock);
    pthread_cond_destroy(&w.done);
    return rc;
}

enum errc append_raw(struct store *s, struct slice tenant, enum wire_format f, struct slice raw)
{
    enum errc rc = append_raw_may_fail(s, tenant, f, raw);
    if (rc == ERR_INPUT || rc == ERR_SYNTAX)
        fail_msg("the test's request cannot be decoded");
    return rc;
}

enum errc append_lines(struct store *s, int app, unsigned first, unsigned n)
{
    struct buf b;
    buf_init(&b, MIB(64));
    push_text(&b, app, first, n);
    enum errc rc = append_raw(s, SLICE_NONE, WIRE_LOKI_JSON, buf_slice(&b));
    buf_free(&b);
    return rc;
}

struct scan_request all_logs(void)
{
    return (struct scan_request){
        .signal = SIGNAL_LOG, .from = INT64_MIN, .to = INT64_MAX, .fields = UINT64_MAX, .all_attrs = true};
}

uint64_t scan_rows(struct store *s, const struct scan_request *q, void (*fn)(void *arg, const struct batch *b, uint32_t row),
                   void *arg)
{
    struct scan *scan;
    struct scan_batch sb;
    struct error err = {0};
    uint64_t rows = 0;
    int64_t bound = q->newest_first ? INT64_MAX : INT64_MIN;
    if (store_scan(s, q, &scan, &err) != ERR_OK)
        fail_msg("store_scan: %s", err.msg);
    for (;;) {
        if (scan_next(scan, &sb, &err) != ERR_OK)
            fail_msg("scan_next: %s", err.msg);
        if (!sb.batch)
            break;
        assert_true(sb.n_rows > 0);
        for (uint32_t i = 0; i < sb.n_rows; i++) {
            uint32_t r = sb.rows[i];
            assert_true(r < sb.batch->rows && (i == 0 || r > sb.rows[i - 1]));
            // What the batch before promised about all later rows.
            assert_true(q->newest_first ? sb.batch->time[r] <= bound : sb.batch->time[r] >= bound);
            if (fn)
                fn(arg, sb.batch, r);
        }
        bound = sb.bound;
        rows += sb.n_rows;
    }
    scan_close(scan);
    return rows;
}

struct count {
    unsigned *seen, max;
};

static void count_one(void *arg, const struct batch *b, uint32_t row)
{
    struct count *c = arg;
    struct slice body = column_str(b->field[FIELD_BODY], row);
    uint64_t n;
    assert_true(slice_starts(body, SLICE("line ")) && slice_to_u64(slice_from(body, 5), &n));
    assert_true(n < c->max);
    assert_int_equal(b->time[row], T0 + (int64_t)n * LINE_STEP);
    c->seen[n]++;
}

uint64_t count_lines(struct store *s, unsigned *seen, unsigned max)
{
    struct scan_request q = all_logs();
    struct count c = {seen, max};
    memset(seen, 0, max * sizeof *seen);
    return scan_rows(s, &q, count_one, &c);
}

static _Thread_local struct {
    const char *ending;
    char *path;
} find;

static int find_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
    (void)st, (void)f;
    size_t n = strlen(path), m = strlen(find.ending);
    if (type != FTW_F || n < m || strcmp(path + n - m, find.ending) != 0)
        return 0;
    find.path = strdup(path);
    return 1;
}

char *only_file(const char *dir, const char *ending)
{
    find.ending = ending;
    find.path = NULL;
    nftw(dir, find_one, 16, FTW_PHYS);
    return find.path;
}

uint8_t *read_whole(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    uint8_t *p = malloc(*n + 1);
    assert_int_equal(fread(p, 1, *n, f), *n);
    fclose(f);
    return p;
}

void write_whole(const char *path, const uint8_t *p, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    fclose(f);
}
