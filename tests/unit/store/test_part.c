// Parts as files: damage anywhere is an error or changes nothing, removal waits for readers, inspection.
#include "base/limits.h"
#include "util.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

// Reads all; ERR_OK only if everything could be read. *sum: of what was read.
static enum errc read_all(struct part *p, uint64_t *sum)
{
    struct part_cursor c;
    enum errc rc = part_resources(p, -1, NULL);
    *sum = 0;
    part_cursor_init(&c, MIB(64));
    for (uint32_t b = 0; b < p->info.n_blocks && rc == ERR_OK; b++) {
        bool may;
        rc = part_may_have_trace(p, -1, b, (struct id128){1, 2}, &may, NULL);
        if (rc == ERR_OK)
            rc = part_cursor_block(&c, p, -1, b, NULL);
        for (uint32_t i = 0; i < p->info.n_columns && rc == ERR_OK; i++)
            rc = part_cursor_column(&c, i, NULL);
        for (uint32_t r = 0; r < c.out.rows && rc == ERR_OK; r++) {
            *sum = hash_mix(*sum, (uint64_t)c.out.time[r]);
            *sum = hash_mix(*sum, batch_row_hash(&c.out, r));
        }
    }
    part_cursor_free(&c);
    return rc;
}

static enum errc try_bytes(const uint8_t *bytes, size_t n, uint64_t *sum)
{
    struct part *p;
    TRY(part_open_memory(slice_of(bytes, n), true, &p, NULL));
    enum errc rc = read_all(p, sum);
    part_unref(p);
    return rc;
}

static char *make_part(char *dir)
{
    struct store *s = open_store(dir);
    struct slice spans =
        SLICE("{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"traceId\":\"0102030405060708090a0b0c0d0e0f10\",\"spanId\":"
              "\"0102030405060708\",\"name\":\"root\",\"startTimeUnixNano\":\"1000\",\"endTimeUnixNano\":\"5000\",\"attributes\":"
              "[{\"key\":"
              "\"d\",\"value\":{\"doubleValue\":0.5}}]},{\"traceId\":\"0102030405060708090a0b0c0d0e0f10\",\"spanId\":"
              "\"0102030405060709\","
              "\"name\":\"child\",\"startTimeUnixNano\":\"1000\",\"endTimeUnixNano\":\"5000\"}]}]}]}");
    OK(append_raw(s, SLICE_NONE, WIRE_OTLP_TRACES_JSON, spans));
    OK(store_flush(s, NULL));
    store_close(s);
    return only_file(dir, ".part");
}

static void every_flipped_byte_is_noticed(void **state)
{
    (void)state;
    char *dir = temp_dir(), *path = make_part(dir);
    size_t n;
    uint64_t good, sum;
    uint8_t *bytes = read_whole(path, &n);
    assert_int_equal(try_bytes(bytes, n, &good), ERR_OK);
    size_t unnoticed = 0;
    for (size_t i = 0; i < n; i++)
        for (int bit = 0; bit < 8; bit++) {
            bytes[i] ^= (uint8_t)(1 << bit);
            enum errc rc = try_bytes(bytes, n, &sum);
            bytes[i] ^= (uint8_t)(1 << bit);
            if (rc == ERR_OK) {
                assert_true(sum == good); // a byte without meaning
                unnoticed++;
            } else if (rc != ERR_CORRUPT && rc != ERR_UNSUPPORTED) {
                fail_msg("byte %zu bit %d: %s", i, bit, errc_text(rc));
            }
        }
    assert_true(unnoticed <= 4 * 8); // the reserved word of the header
    for (size_t cut = 0; cut < n; cut++) {
        uint8_t *exact = malloc(cut + 1);
        memcpy(exact, bytes, cut);
        assert_int_not_equal(try_bytes(exact, cut, &sum), ERR_OK);
        free(exact);
    }
    free(bytes);
    free(path);
    temp_remove(dir);
}

// In a store: a scan over a damaged block is an error that names the file; a part with a damaged footer is set aside.
static void damage_in_a_store(void **state)
{
    (void)state;
    char *dir = temp_dir();
    struct store *s = open_store(dir);
    for (unsigned i = 0; i < 10; i++)
        OK(append_lines(s, (int)i, i * 2000, 2000));
    OK(store_flush(s, NULL));
    store_close(s);
    char *path = only_file(dir, ".part");
    size_t n;
    uint8_t *bytes = read_whole(path, &n);
    bytes[20] ^= 1;
    write_whole(path, bytes, n);
    s = open_store(dir);
    struct scan_request q = all_logs();
    struct scan *scan;
    struct scan_batch sb;
    struct error err = {0};
    enum errc rc;
    OK(store_scan(s, &q, &scan, NULL));
    uint64_t rows = 0;
    do {
        rc = scan_next(scan, &sb, &err);
        rows += sb.n_rows;
    } while (rc == ERR_OK && sb.batch);
    assert_int_equal(rc, ERR_CORRUPT);
    assert_non_null(strstr(err.msg, path));
    assert_non_null(strstr(err.msg, "block 0"));
    assert_non_null(strstr(err.msg, "column"));
    // The scan goes on behind the damaged block
    for (;;) {
        OK(scan_next(scan, &sb, NULL));
        if (!sb.batch)
            break;
        rows += sb.n_rows;
    }
    assert_int_equal(rows, 20000 - 8192);
    scan_close(scan);
    store_close(s);
    bytes[20] ^= 1;
    bytes[n - 70] ^= 1; // in the footer
    write_whole(path, bytes, n);
    s = open_store(dir); // the log still has all its rows
    static unsigned seen[20000];
    assert_int_equal(count_lines(s, seen, 20000), 20000);
    store_close(s);
    char *aside = only_file(dir, ".damaged");
    assert_non_null(aside);
    free(aside);
    free(bytes);
    free(path);
    temp_remove(dir);
}

static void unfinished_parts_are_removed(void **state)
{
    (void)state;
    char *dir = temp_dir(), *path = make_part(dir), tmp[600];
    snprintf(tmp, sizeof tmp, "%s.tmp", path);
    write_whole(tmp, (const uint8_t *)"SONDEPRT", 8);
    struct store *s = open_store(dir);
    assert_int_not_equal(access(tmp, F_OK), 0);
    assert_int_equal(access(path, F_OK), 0);
    store_close(s);
    free(path);
    temp_remove(dir);
}

static void a_running_scan_keeps_its_parts(void **state)
{
    (void)state;
    char *dir = temp_dir();
    struct store *s = open_store(dir);
    for (unsigned i = 0; i < 10; i++)
        OK(append_lines(s, (int)i, i * 2000, 2000));
    store_close(s);
    s = open_with(dir, NULL);
    struct scan_request q = all_logs();
    struct scan *scan;
    struct scan_batch sb;
    uint64_t rows = 0;
    OK(store_scan(s, &q, &scan, NULL));
    s->opt.retention_ns = 1;
    OK(store_flush(s, NULL));
    struct store_stats st;
    store_stats(s, &st);
    assert_int_equal(st.parts, 0);
    for (;;) {
        OK(scan_next(scan, &sb, NULL));
        if (!sb.batch)
            break;
        rows += sb.n_rows;
    }
    assert_int_equal(rows, 20000);
    char *path = only_file(dir, ".part");
    assert_non_null(path);
    free(path);
    scan_close(scan);
    assert_null(only_file(dir, ".part"));
    store_close(s);

    temp_remove(dir);
}

static void inspects_good_and_damaged_files(void **state)
{
    (void)state;
    char *dir = temp_dir(), *part = make_part(dir), *wal = only_file(dir, ".wal");
    struct buf out;
    buf_init(&out, MIB(1));
    OK(part_inspect(part, true, &out, NULL));
    buf_char(&out, 0);
    assert_non_null(strstr(out.p, "part of spans"));
    assert_non_null(strstr(out.p, "trace_id"));
    assert_null(strstr(out.p, "DAMAGED"));
    buf_reset(&out);
    OK(wal_inspect(wal, true, &out, NULL));
    buf_char(&out, 0);
    assert_non_null(strstr(out.p, "1 records, 2 rows"));
    size_t n;
    uint8_t *bytes = read_whole(part, &n);
    bytes[20 + 40] ^= 1;
    write_whole(part, bytes, n);
    free(bytes);
    buf_reset(&out);
    OK(part_inspect(part, false, &out, NULL));
    buf_char(&out, 0);
    assert_non_null(strstr(out.p, "DAMAGED"));
    bytes = read_whole(wal, &n);
    bytes[n - 1] ^= 1;
    write_whole(wal, bytes, n);
    free(bytes);
    buf_reset(&out);
    OK(wal_inspect(wal, false, &out, NULL));
    buf_char(&out, 0);
    assert_non_null(strstr(out.p, "torn tail"));
    assert_int_equal(wal_inspect("/nowhere", false, &out, NULL), ERR_NOTFOUND);
    buf_free(&out);
    free(part);
    free(wal);
    temp_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_flipped_byte_is_noticed),   cmocka_unit_test(damage_in_a_store),
        cmocka_unit_test(unfinished_parts_are_removed),    cmocka_unit_test(a_running_scan_keeps_its_parts),
        cmocka_unit_test(inspects_good_and_damaged_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
