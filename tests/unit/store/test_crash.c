// What may go wrong below the store: SIGKILL at any moment, full disk, failing writes, torn and damaged logs.
#include "base/alloc.h"
#include "base/clock.h"
#include "base/limits.h"
#include "store/wal_format.h"
#include "util.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { KILLS = 25, LINES = 10, MAX_REQUESTS = 200000, IN_FLIGHT = 16 };

static unsigned *seen; // MAX_REQUESTS * LINES

// ---- SIGKILL --------------------------------------------------------------------------------------------------------
static int ack_pipe;
static atomic_int in_flight;

static void acknowledge(void *arg, enum errc rc)
{
    uint32_t request = (uint32_t)(uintptr_t)arg;
    if (rc != ERR_OK || write(ack_pipe, &request, sizeof request) != sizeof request)
        _exit(3);
    atomic_fetch_sub(&in_flight, 1);
}

static void send_request(struct store *s, uint32_t request)
{
    struct buf b;
    struct wire_options opt = {.received_ns = T0, .discover_service = true};
    struct wire_report report = {0};
    struct batch *batch;
    while (atomic_load(&in_flight) >= IN_FLIGHT)
        usleep(20);
    atomic_fetch_add(&in_flight, 1);
    buf_init(&b, MIB(1));
    push_text(&b, (int)(request % 3), request * LINES, LINES);
    if (wire_decode(WIRE_LOKI_JSON, buf_slice(&b), true, &opt, &batch, &report, NULL) != ERR_OK ||
        store_append(s, SLICE_NONE, WIRE_LOKI_JSON, buf_slice(&b), T0, batch, acknowledge, (void *)(uintptr_t)request, NULL) !=
            ERR_OK)
        _exit(4);
    buf_free(&b);
}

static void tiny(struct store_options *o)
{
    o->head_max_bytes = KIB(256); // flushes and trimming happen all the time
    o->head_max_log_bytes = KIB(96);
    o->wal_segment_bytes = o->wal_keep_bytes = KIB(128);
}

// The child: sends again what was not acknowledged before, then new requests until it is killed.
static void child(const char *dir, int fd, const bool *acked, uint32_t next)
{
    ack_pipe = fd;
    if (!freopen("/dev/null", "w", stderr))
        _exit(5);
    struct store *s = open_with(dir, tiny);
    for (uint32_t i = 0; i < next; i++)
        if (!acked[i])
            send_request(s, i);
    for (uint32_t i = next; i < MAX_REQUESTS; i++)
        send_request(s, i);
    _exit(0);
}

static void kill_9_loses_and_doubles_nothing(void **state)
{
    (void)state;
    char *dir = temp_dir();
    bool *acked = calloc(MAX_REQUESTS, 1);
    uint32_t next = 0, n_acked = 0;
    unsigned seed = (unsigned)clock_mono_ns();
    printf("seed %u\n", seed);
    srand(seed);
    for (int k = 0; k < KILLS; k++) {
        int fd[2];
        assert_int_equal(pipe(fd), 0);
        fflush(NULL);
        pid_t pid = fork();
        if (pid == 0) {
            close(fd[0]);
            child(dir, fd[1], acked, next);
        }
        close(fd[1]);
        // From a few to 150 ms after the first answer; sometimes before there is one.
        int64_t until = clock_mono_ns() + (5 + rand() % 150) * 1000000ll;
        fcntl(fd[0], F_SETFL, O_NONBLOCK);
        bool killed = false;
        for (;;) {
            uint32_t request;
            ssize_t n = read(fd[0], &request, sizeof request);
            if (n == 0)
                break;
            if (n == sizeof request) {
                n_acked += !acked[request];
                acked[request] = true;
                next = request >= next ? request + 1 : next;
            } else {
                usleep(100);
            }
            if (!killed && clock_mono_ns() > until) {
                kill(pid, SIGKILL);
                killed = true;
            }
        }
        int status;
        close(fd[0]);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    }
    struct store *s = open_with(dir, tiny);
    uint32_t lost = 0, twice = 0;
    count_lines(s, seen, MAX_REQUESTS * LINES);
    for (uint32_t i = 0; i < MAX_REQUESTS * LINES; i++) {
        lost += acked[i / LINES] && !seen[i];
        twice += seen[i] > 1;
    }
    printf("%d kills, %u requests acknowledged, %u lines lost, %u lines twice\n", KILLS, n_acked, lost, twice);
    assert_true(n_acked > KILLS);
    assert_int_equal(lost, 0);
    assert_int_equal(twice, 0);
    store_close(s);
    free(acked);
    temp_remove(dir);
}

// Appends as append_lines does, where any part of it may fail.
static bool try_lines(struct store *s, unsigned first, unsigned n)
{
    struct buf b;
    bool ok = false;
    buf_init(&b, MIB(1));
    push_text(&b, 1, first, n);
    if (b.err == ERR_OK)
        ok = append_raw_may_fail(s, SLICE_NONE, WIRE_LOKI_JSON, buf_slice(&b)) == ERR_OK;
    buf_free(&b);
    return ok;
}

// ---- full disk ------------------------------------------------------------------------------------------------------
static void limit_files(rlim_t bytes)
{
    struct rlimit r;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &r), 0);
    r.rlim_cur = bytes < r.rlim_max ? bytes : r.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &r), 0);
}

static void a_full_disk_refuses_and_recovers(void **state)
{
    (void)state;
    char *dir = temp_dir();
    signal(SIGXFSZ, SIG_IGN);
    struct store *s = open_store(dir);
    bool stored[40] = {0};
    unsigned refused = 0;
    limit_files(20000); // a record takes about 4 KB
    for (unsigned i = 0; i < 20; i++) {
        enum errc rc = append_lines(s, 1, i * 100, 100);
        assert_true(rc == ERR_OK || rc == ERR_FULL);
        stored[i] = rc == ERR_OK;
        refused += rc == ERR_FULL;
    }
    assert_true(stored[0] && refused > 0 && !stored[19]);
    uint64_t rows = count_lines(s, seen, 4000);
    assert_int_equal(rows, (20 - refused) * 100); // refused rows are not visible
    limit_files(RLIM_INFINITY);
    for (unsigned i = 0; i < 20; i++) // a client tries again
        if (!stored[i])
            assert_int_equal(append_lines(s, 1, i * 100, 100), ERR_OK);
    assert_int_equal(count_lines(s, seen, 4000), 2000);
    struct store_stats st;
    store_stats(s, &st);
    assert_int_equal(st.commit_errors, refused);
    assert_int_equal(st.duplicate_rows, 0);
    // A part that does not fit: the rows stay, and the next try succeeds.
    limit_files(100);
    struct error err = {0};
    assert_int_equal(store_flush(s, &err), ERR_FULL);
    assert_int_equal(count_lines(s, seen, 4000), 2000);
    limit_files(RLIM_INFINITY);
    assert_null(only_file(dir, ".tmp"));
    assert_int_equal(append_lines(s, 1, 2000, 100), ERR_OK);
    OK(store_flush(s, NULL));
    assert_int_equal(count_lines(s, seen, 4000), 2100);
    store_close(s);
    s = open_store(dir);
    assert_int_equal(count_lines(s, seen, 4000), 2100);
    for (unsigned i = 0; i < 2100; i++)
        assert_int_equal(seen[i], 1);
    store_close(s);
    temp_remove(dir);
}

// The segment's descriptor leads elsewhere: writes fail (a pipe cannot be written at an offset) or only the sync does
// (/dev/null), and cutting fails too. The segment is given up for a new one.
static void a_failing_segment_is_left(void **state)
{
    (void)state;
    for (int sync = 0; sync < 2; sync++) {
        char *dir = temp_dir();
        struct store *s = open_store(dir);
        int fd[2];
        // Also when the segment has no good record yet, so that the next one takes its name.
        assert_int_equal(append_lines(s, 1, 0, 100), ERR_OK);
        for (unsigned round = 0; round < 2; round++) {
            assert_int_equal(pipe(fd), 0);
            if (sync) {
                close(fd[1]);
                fd[1] = open("/dev/null", O_WRONLY);
            }
            assert_true(dup2(fd[1], s->wal.fd) >= 0);
            assert_int_equal(append_lines(s, 1, 100 + round * 100, 100), ERR_IO);
            close(fd[0]);
            close(fd[1]);
            assert_int_equal(count_lines(s, seen, 1000), 100 + round * 100);
            assert_int_equal(append_lines(s, 1, 100 + round * 100, 100), ERR_OK);
        }
        struct store_stats st;
        store_stats(s, &st);
        assert_int_equal(st.wal_segments, 3);
        assert_int_equal(st.commit_errors, 2);
        assert_int_equal(count_lines(s, seen, 1000), 300);
        char *copy = temp_dir(), cmd[600];
        snprintf(cmd, sizeof cmd, "cp -r %s/. %s/", dir, copy);
        assert_int_equal(system(cmd), 0);
        store_close(s);
        s = open_store(copy); // as after SIGKILL
        assert_int_equal(count_lines(s, seen, 1000), 300);
        store_close(s);
        temp_remove(copy);
        temp_remove(dir);
    }
}

// A commit whose sync failed, but whose bytes reached the disk all the same: the next segment's number voids them.
static void a_failed_commit_stays_failed(void **state)
{
    (void)state;
    char *dir = temp_dir(), path[600];
    struct store *s = open_store(dir);
    assert_int_equal(append_lines(s, 1, 0, 100), ERR_OK);
    assert_int_equal(append_lines(s, 1, 100, 100), ERR_OK); // sequence 2, to be the failed one
    snprintf(path, sizeof path, "%s/wal/00000000000000000001.wal", dir);
    size_t n;
    uint8_t *bytes = read_whole(path, &n);
    store_close(s);
    temp_remove(dir);
    dir = temp_dir();
    s = open_store(dir);
    store_close(s);
    snprintf(path, sizeof path, "%s/wal/00000000000000000001.wal", dir);
    write_whole(path, bytes, n);
    struct wal_header h[2] = {{.version = WAL_VERSION, .size = WAL_START, .first = 2}};
    memcpy(h[0].magic, WAL_MAGIC, 8);
    h[0].check = hash64(&h[0], offsetof(struct wal_header, check));
    h[1] = h[0];
    snprintf(path, sizeof path, "%s/wal/00000000000000000002.wal", dir);
    write_whole(path, (const uint8_t *)h, sizeof h);
    s = open_store(dir);
    assert_int_equal(count_lines(s, seen, 1000), 100);
    assert_true(seen[0] && !seen[100]);
    assert_int_equal(append_lines(s, 1, 100, 100), ERR_OK); // the client's next try
    assert_int_equal(count_lines(s, seen, 1000), 200);
    store_close(s);
    free(bytes);
    temp_remove(dir);
}

// ---- every allocation, every write ----------------------------------------------------------------------------------
// Opens, appends thrice, flushes, scans and closes, while something fails; then opens again: what was acknowledged is
// there once, nothing is there twice, what the store said it did not take is not there.
static void use_while_failing(long n, void (*arm)(long n), bool (*disarm)(void), bool *hit)
{
    char *dir = temp_dir();
    struct store_options o;
    struct store *s;
    bool acked[3] = {false, false, false};
    store_options_default(&o);
    o.dir = dir;
    arm(n);
    if (store_open(&s, &o, NULL) == ERR_OK) {
        for (unsigned i = 0; i < 3; i++) {
            acked[i] = try_lines(s, i * 100, 100);
            if (i == 1)
                store_flush(s, NULL);
        }
        struct scan_request q = all_logs();
        struct scan *scan;
        struct scan_batch sb;
        if (store_scan(s, &q, &scan, NULL) == ERR_OK) {
            while (scan_next(scan, &sb, NULL) == ERR_OK && sb.batch)
                ;
            scan_close(scan);
        }
        store_close(s);
    }
    *hit = disarm();
    s = open_store(dir);
    count_lines(s, seen, 1000);
    for (unsigned i = 0; i < 300; i++)
        if (seen[i] > 1 || (acked[i / 100] && !seen[i]))
            fail_msg("failure %ld: line %u is there %u times, %sacknowledged", n, i, seen[i], acked[i / 100] ? "" : "not ");
    store_close(s);
    temp_remove(dir);
}

static void quietly(void (*fn)(void))
{
    int saved = dup(2), null = open("/dev/null", O_WRONLY);
    fflush(NULL);
    dup2(null, 2);
    fn();
    dup2(saved, 2);
    close(saved);
    close(null);
}

static bool no_memory_over(void)
{
    bool hit = mem_fail_hit();
    mem_fail_after(0);
    return hit;
}

static void fail_allocations(void)
{
    bool hit = true;
    long n = 1;
    for (; hit && n < 5000; n++)
        use_while_failing(n, mem_fail_after, no_memory_over, &hit);
    printf("%ld allocations failed in turn\n", n);
    assert_true(n > 50 && !hit);
}
static void every_allocation_may_fail(void **state)
{
    (void)state;
    quietly(fail_allocations);
}

static void limit_to(long n)
{
    limit_files((rlim_t)n);
}
static bool limit_over(void)
{
    limit_files(RLIM_INFINITY);
    return true;
}

// No file may grow beyond n bytes: with n every write of the log and of the part fails once, at its begin and inside.
static void fail_writes(void)
{
    bool hit;
    signal(SIGXFSZ, SIG_IGN);
    for (long n = 0; n < 12000; n += n < 600 ? 37 : 391)
        use_while_failing(n, limit_to, limit_over, &hit);
}
static void every_write_may_fail(void **state)
{
    (void)state;
    quietly(fail_writes);
}

// ---- torn and damaged logs ------------------------------------------------------------------------------------------
// A directory as SIGKILL leaves it: n requests of 100 lines in the log, no part.
static char *killed_dir(unsigned n)
{
    char *dir = temp_dir();
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct store *s = open_store(dir);
        for (unsigned i = 0; i < n; i++)
            if (append_lines(s, 1, i * 100, 100) != ERR_OK)
                _exit(1);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    return dir;
}

static void a_torn_tail_is_cut(void **state)
{
    (void)state;
    // Bytes taken off the end, or added to it.
    static const int change[] = {-1, -17, -48, -2000, 1, 48, 5000};
    for (size_t i = 0; i < sizeof change / sizeof *change; i++) {
        char *dir = killed_dir(3), *wal = only_file(dir, ".wal");
        size_t n;
        uint8_t *bytes = read_whole(wal, &n);
        bytes = realloc(bytes, n + 5000);
        memset(bytes + n, 0, 5000);
        write_whole(wal, bytes, (size_t)((int)n + change[i]));
        struct store *s = open_store(dir);
        struct store_stats st;
        store_stats(s, &st);
        assert_true(st.torn_bytes > 0);
        assert_int_equal(count_lines(s, seen, 1000), change[i] < 0 ? 200 : 300);
        assert_int_equal(append_lines(s, 1, 500, 100), ERR_OK);
        assert_int_equal(count_lines(s, seen, 1000), change[i] < 0 ? 300 : 400);
        store_close(s);
        s = open_store(dir);
        store_stats(s, &st);
        assert_int_equal(st.torn_bytes, 0); // it was really cut
        assert_int_equal(count_lines(s, seen, 1000), change[i] < 0 ? 300 : 400);
        store_close(s);
        free(bytes);
        free(wal);
        temp_remove(dir);
    }
}

static bool count_record(void *arg, const struct wal_record *r, uint64_t offset)
{
    (void)r, (void)offset;
    ++*(int *)arg;
    return true;
}

static void flipped_bytes_of_a_log_cost_one_record_at_most(void **state)
{
    (void)state;
    char *dir = killed_dir(3), *wal = only_file(dir, ".wal");
    size_t n;
    uint8_t *bytes = read_whole(wal, &n);
    for (size_t i = 0; i < n; i++) {
        int records = 0;
        bytes[i] ^= 0x10;
        wal_walk(slice_of(bytes, n), true, count_record, NULL, &records);
        bytes[i] ^= 0x10;
        if (records != (i < WAL_START ? 3 : 2))
            fail_msg("byte %zu: %d records", i, records);
    }
    // Through the store: the middle record is damaged, the others are there, and it is said on stderr.
    char *text = only_file(dir, ".wal");
    bytes[n / 2] ^= 1;
    write_whole(wal, bytes, n);
    int saved = dup(2), to = open("/tmp", O_TMPFILE | O_RDWR, 0600);
    assert_true(to >= 0);
    dup2(to, 2);
    struct store *s = open_store(dir);
    dup2(saved, 2);
    char said[2000] = "";
    assert_true(pread(to, said, sizeof said - 1, 0) > 0);
    assert_non_null(strstr(said, text));
    assert_non_null(strstr(said, "damaged"));
    assert_int_equal(count_lines(s, seen, 1000), 200);
    assert_true(seen[0] && !seen[150] && seen[250]);
    store_close(s);
    close(saved);
    close(to);
    // Both headers gone: the segment is set aside, the store opens.
    bytes[3] ^= 1;
    bytes[WAL_HEADER_BYTES + 3] ^= 1;
    char *other = temp_dir(), path[600];
    s = open_store(other);
    store_close(s);
    snprintf(path, sizeof path, "%s/wal/00000000000000000001.wal", other);
    write_whole(path, bytes, n);
    s = open_store(other);
    assert_int_equal(count_lines(s, seen, 1000), 0);
    assert_int_equal(append_lines(s, 1, 0, 100), ERR_OK);
    store_close(s);
    free(text);
    free(bytes);
    free(wal);
    temp_remove(dir);
    temp_remove(other);
}

static int setup(void **state)
{
    (void)state;
    seen = calloc(MAX_REQUESTS * LINES, sizeof *seen);
    return seen == NULL;
}
static int teardown(void **state)
{
    (void)state;
    free(seen);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kill_9_loses_and_doubles_nothing),
        cmocka_unit_test(a_full_disk_refuses_and_recovers),
        cmocka_unit_test(a_failing_segment_is_left),
        cmocka_unit_test(a_failed_commit_stays_failed),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(every_write_may_fail),
        cmocka_unit_test(a_torn_tail_is_cut),
        cmocka_unit_test(flipped_bytes_of_a_log_cost_one_record_at_most),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
