#include "base/limits.h"
#include "base/pb.h"
#include "check.h"
#include <stdlib.h>

// ---- reading: each row is the bytes, how to read them, and the error ------------------------------------------------
static const struct {
    const char *bytes;
    size_t n;
    const char *error; // null: reads to the end
} skip_rows[] = {
#define ROW(bytes, error)              \
    {                                  \
        bytes, sizeof bytes - 1, error \
    }
    ROW("", NULL),
    ROW("\x08\x00", NULL),
    ROW("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", NULL),
    ROW("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", "number of more than 64 bits at byte 1"),
    ROW("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81\x00", "number of more than 64 bits at byte 1"),
    ROW("\x08\x80\x00", NULL), // not minimal, but a number
    ROW("\x08", "number cut off at byte 1"),
    ROW("\x08\x80", "number cut off at byte 1"),
    ROW("\x80", "number cut off at byte 0"),
    ROW("\x00\x00", "field number out of range at byte 0"),
    ROW("\x08\x01\x02\x00", "field number out of range at byte 2"),
    ROW("\xf8\xff\xff\xff\x0f\x01", NULL), // field 2^29 - 1
    ROW("\x80\x80\x80\x80\x10\x01", "field number out of range at byte 0"),
    ROW("\x09\x01\x02\x03\x04\x05\x06\x07\x08", NULL),
    ROW("\x09\x01\x02\x03\x04\x05\x06\x07", "fixed-size value cut off at byte 1"),
    ROW("\x0d\x01\x02\x03\x04", NULL),
    ROW("\x0d\x01\x02\x03", "fixed-size value cut off at byte 1"),
    ROW("\x0a\x00", NULL),
    ROW("\x0a\x03"
        "abc",
        NULL),
    ROW("\x0a\x04"
        "abc",
        "length reaches beyond the end at byte 1"),
    ROW("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "length reaches beyond the end at byte 1"),
    ROW("\x0a", "number cut off at byte 1"),
    ROW("\x0b\x0c", "a group, which is not supported, at byte 0"),
    ROW("\x0c", "a group, which is not supported, at byte 0"),
    ROW("\x08\x01\x0e\x00", "unknown wire type at byte 2"),
    ROW("\x0f", "unknown wire type at byte 0"),
#undef ROW
};

static void check_error(const struct error *e, const char *want)
{
    char text[200] = "";
    if (want)
        snprintf(text, sizeof text, "protobuf: %s", want);
    CHECK_STR(slice_str(e->msg), text);
}

static void skipping(void **state)
{
    for (size_t i = 0; i < CHECK_ROWS(skip_rows); i++) {
        struct error e = {0};
        struct pb r;
        // A block of its own, so that a sanitizer sees a read beyond it.
        char *copy = malloc(skip_rows[i].n + 1);
        memcpy(copy + 1, skip_rows[i].bytes, skip_rows[i].n);
        check_row("%zu", i);
        pb_init(&r, slice_of(copy + 1, skip_rows[i].n), &e);
        while (pb_next(&r))
            pb_skip(&r);
        CHECK(r.failed == (skip_rows[i].error != NULL));
        check_error(&e, skip_rows[i].error);
        pb_init(&r, slice_of(copy + 1, skip_rows[i].n), NULL); // and without an error to fill
        while (pb_next(&r))
            pb_skip(&r);
        CHECK(r.failed == (skip_rows[i].error != NULL));
        free(copy);
    }
    check_done();
}

static void wrong_wire_types(void **state)
{
    static const char *const bytes[4] = {"\x08\x01", "\x09zzzzzzzz", "\x0a\x01z", "\x0dzzzz"};
    static const size_t n[4] = {2, 9, 3, 5};
    static const char *const error[4] = {"field is not a varint at byte 0", "field is not a 64-bit value at byte 0",
                                         "field is not a string, bytes or message at byte 0",
                                         "field is not a 32-bit value at byte 0"};
    for (int have = 0; have < 4; have++)
        for (int read = 0; read < 4; read++) {
            struct error e = {0};
            struct pb r;
            uint64_t v;
            uint32_t w;
            struct slice s;
            pb_init(&r, slice_of(bytes[have], n[have]), &e);
            CHECK(pb_next(&r));
            check_row("wire %d read as %d", have, read);
            bool ok = read == 0   ? pb_u64(&r, &v)
                      : read == 1 ? pb_fixed64(&r, &v)
                      : read == 2 ? pb_bytes(&r, &s)
                                  : pb_fixed32(&r, &w);
            CHECK(ok == (have == read));
            CHECK(r.failed == !ok);
            check_error(&e, ok ? NULL : error[read]);
            CHECK(!ok || !pb_next(&r));
        }
    check_done();
}

static void a_child_fails_its_parents(void **state)
{
    struct error e = {0};
    struct pb a, b, c;
    pb_init(&a, slice_of("\x0a\x04\x0a\x02\x08\x80", 6), &e);
    CHECK(pb_next(&a) && pb_message(&a, &b) && pb_next(&b) && pb_message(&b, &c) && pb_next(&c));
    pb_skip(&c);
    CHECK(a.failed && b.failed && c.failed);
    check_error(&e, "number cut off at byte 5"); // counted from the outermost
    CHECK(!pb_next(&a) && !pb_next(&b));
    // The message itself cannot be read: the child is unusable, not uninitialised.
    pb_init(&a, slice_of("\x0a\x05xx", 4), NULL);
    CHECK(pb_next(&a) && !pb_message(&a, &b) && b.failed && !pb_next(&b));
    check_done();
}

static void depth_is_limited(void **state)
{
    struct buf b;
    buf_init(&b, 1 << 16);
    size_t marks[200];
    for (int deep = MAX_PB_DEPTH - 1; deep <= MAX_PB_DEPTH; deep++) {
        buf_reset(&b);
        for (int i = 0; i < deep; i++)
            marks[i] = pb_w_begin(&b, 1);
        for (int i = deep; i-- > 0;)
            pb_w_end(&b, marks[i]);
        struct pb r[200];
        struct error e = {0};
        pb_init(&r[0], buf_slice(&b), &e);
        int at = 0;
        while (pb_next(&r[at]) && pb_message(&r[at], &r[at + 1]))
            at++;
        check_row("%d deep", deep);
        CHECK_INT(at, MAX_PB_DEPTH - 1);
        CHECK_INT(e.code, deep < MAX_PB_DEPTH ? ERR_OK : ERR_LIMIT);
    }
    buf_free(&b);
    check_done();
}

static void writing(void **state)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    pb_w_u64(&b, 1, 300);
    pb_w_i64(&b, 2, -1);
    pb_w_bool(&b, 3, true);
    pb_w_fixed64(&b, 4, 0x0807060504030201ull);
    pb_w_fixed32(&b, 5, 0x04030201u);
    pb_w_bytes(&b, 16, SLICE("hi"));
    pb_w_double(&b, 7, 1.0);
    static const char want[] = "\x08\xac\x02"
                               "\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"
                               "\x18\x01"
                               "\x21\x01\x02\x03\x04\x05\x06\x07\x08"
                               "\x2d\x01\x02\x03\x04"
                               "\x82\x01\x02hi"
                               "\x39\0\0\0\0\0\0\xf0\x3f";
    CHECK(slice_eq(buf_slice(&b), slice_of(want, sizeof want - 1)));
    struct pb r;
    uint64_t u = 0, f = 0;
    uint32_t w = 0;
    int64_t i = 0;
    bool t = false;
    double d = 0;
    struct slice s = {0}, raw = {0};
    pb_init(&r, buf_slice(&b), NULL);
    while (pb_next(&r))
        switch (r.field) {
        case 1:
            pb_u64(&r, &u);
            break;
        case 2:
            pb_i64(&r, &i);
            break;
        case 3:
            pb_bool(&r, &t);
            break;
        case 4:
            pb_fixed64(&r, &f);
            break;
        case 5:
            pb_fixed32(&r, &w);
            break;
        case 7:
            pb_double(&r, &d);
            break;
        case 16:
            CHECK(pb_raw_field(&r, &raw));
            break;
        }
    CHECK(!r.failed && u == 300 && i == -1 && t && f == 0x0807060504030201ull && w == 0x04030201u && d == 1.0);
    CHECK_SLICE(raw, SLICE("\x82\x01\x02hi"));
    pb_init(&r, raw, NULL);
    CHECK(pb_next(&r) && pb_string(&r, &s) && !pb_next(&r));
    CHECK_STR(s, "hi");
    pb_init(&r, SLICE("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), NULL);
    CHECK(pb_next(&r) && pb_u32(&r, &w) && w == UINT32_MAX);
    buf_free(&b);
    check_done();
}

static void lengths_are_minimal(void **state)
{
    static const size_t sizes[] = {0, 1, 127, 128, 129, 16383, 16384, 2097151, 2097152};
    struct buf b;
    buf_init(&b, 8 << 20);
    for (size_t i = 0; i < CHECK_ROWS(sizes); i++) {
        size_t n = sizes[i], length = n < 128 ? 1 : n < 16384 ? 2 : n < 2097152 ? 3 : 4;
        check_row("%zu", n);
        buf_reset(&b);
        buf_str(&b, "front");
        size_t mark = pb_w_begin(&b, 1);
        char *to = buf_reserve(&b, n + 1);
        memset(to, 'x', n);
        b.n += n;
        pb_w_end(&b, mark);
        buf_char(&b, 0x10); // the next field
        buf_char(&b, 5);
        CHECK_INT(b.n, 5 + 1 + length + n + 2);
        struct pb r;
        struct slice s;
        uint64_t v;
        pb_init(&r, slice_from(buf_slice(&b), 5), NULL);
        CHECK(pb_next(&r) && pb_bytes(&r, &s) && s.n == n && (n == 0 || (s.p[0] == 'x' && s.p[n - 1] == 'x')));
        CHECK(pb_next(&r) && r.field == 2 && pb_u64(&r, &v) && v == 5 && !pb_next(&r) && !r.failed);
    }
    buf_free(&b);
    buf_init(&b, 131); // the message fits, its longer length does not
    size_t mark = pb_w_begin(&b, 1);
    for (int i = 0; i < 129; i++)
        buf_char(&b, 'x');
    pb_w_end(&b, mark);
    CHECK_INT(b.err, ERR_LIMIT);
    pb_w_end(&b, pb_w_begin(&b, 1)); // ignored, as all after a failure
    CHECK_INT(b.n, 131);
    buf_free(&b);
    check_done();
}

static void varints_round_trip(void **state)
{
    struct buf b;
    buf_init(&b, 100);
    for (int bits = 0; bits < 64; bits++)
        for (int less = 0; less < 2; less++) {
            uint64_t v = (1ull << bits) - (uint64_t)less, back = 0;
            buf_reset(&b);
            pb_w_u64(&b, 1, v);
            struct pb r;
            pb_init(&r, buf_slice(&b), NULL);
            check_row("%llx", (unsigned long long)v);
            CHECK(pb_next(&r) && pb_u64(&r, &back) && back == v && r.p == r.end);
            for (size_t n = 1; n < b.n; n++) { // and every cut of it is refused
                pb_init(&r, slice_of(b.p, n), NULL);
                CHECK(pb_next(&r) && !pb_u64(&r, &back) && r.failed);
            }
        }
    buf_free(&b);
    check_done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(skipping),           cmocka_unit_test(wrong_wire_types), cmocka_unit_test(a_child_fails_its_parents),
        cmocka_unit_test(depth_is_limited),   cmocka_unit_test(writing),          cmocka_unit_test(lengths_are_minimal),
        cmocka_unit_test(varints_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
