// gzip by the host's zlib, as libsonde has it, against libdeflate, both ways, and against damage.
#include "base/alloc.h"
#include "base/limits.h"
#include "check.h"
#include "net/codec.h"
#include <libdeflate.h>
#include <stdlib.h>

static uint32_t seed = 1;
static uint32_t next(void)
{
    seed = seed * 1664525u + 1013904223u;
    return seed >> 8;
}

// kind 0: random; 1: few letters; 2: repeated lines; 3: one byte
static void fill(char *p, size_t n, int kind)
{
    static const char line[] = "{\"level\":\"INFO\",\"target\":\"decode::worker\",\"message\":\"kv transfer done\",\"tokens\":";
    for (size_t i = 0; i < n; i++)
        p[i] = (char)(kind == 0   ? (int)next()
                      : kind == 1 ? 'a' + (int)(next() % 4)
                      : kind == 2 ? line[i % (sizeof line - 1)]
                                  : 'x');
    for (size_t i = 0; kind == 2 && i + 90 < n; i += 83)
        p[i + 80] = (char)('0' + next() % 10);
}

static void pack_other(struct slice in, struct buf *out)
{
    struct libdeflate_compressor *z = libdeflate_alloc_compressor(6);
    size_t bound = libdeflate_gzip_compress_bound(z, in.n);
    out->n += libdeflate_gzip_compress(z, in.p, in.n, buf_reserve(out, bound), bound);
    libdeflate_free_compressor(z);
}

static void unpack_other(struct slice in, struct buf *out)
{
    struct libdeflate_decompressor *z = libdeflate_alloc_decompressor();
    CHECK_INT(libdeflate_gzip_decompress(z, in.p, in.n, buf_reserve(out, MIB(1)), MIB(1), &out->n), LIBDEFLATE_SUCCESS);
    libdeflate_free_decompressor(z);
}

static void both_ways(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 3, 4, 5, 258, 259, 1000, 32767, 32768, 32769, 100000, 700001};
    for (size_t i = 0; i < CHECK_ROWS(sizes); i++) {
        for (int kind = 0; kind < 4; kind++) {
            char *p = malloc(sizes[i] + 1);
            struct slice in = slice_of(p, sizes[i]);
            struct buf small, large, out;
            fill(p, sizes[i], kind);
            buf_init(&small, MIB(8));
            buf_init(&large, MIB(8));
            buf_init(&out, MIB(8));
            check_row("%zu bytes of kind %d", sizes[i], kind);
            CHECK_INT(codec_gzip(in, &small), ERR_OK);
            pack_other(in, &large);
            unpack_other(buf_slice(&small), &out);
            CHECK(slice_eq(buf_slice(&out), in));
            buf_reset(&out);
            CHECK_INT(codec_gunzip(buf_slice(&large), MIB(1), &out, NULL), ERR_OK);
            CHECK(slice_eq(buf_slice(&out), in));
            buf_add(&small, buf_slice(&large)); // two members, exactly the limit
            buf_reset(&out);
            CHECK_INT(codec_gunzip(buf_slice(&small), 2 * sizes[i], &out, NULL), ERR_OK);
            CHECK_INT(out.n, 2 * sizes[i]);
            buf_reset(&out);
            if (sizes[i])
                CHECK_INT(codec_gunzip(buf_slice(&small), 2 * sizes[i] - 1, &out, NULL), ERR_LIMIT);
            CHECK(kind < 2 || sizes[i] < 1000 || large.n < sizes[i] / 2);
            buf_free(&small);
            buf_free(&large);
            buf_free(&out);
            free(p);
        }
    }
    check_done();
}

static void heads_and_damage(void **state)
{
    (void)state;
    // Stored block, with extra field, name and comment.
    static const char stored[] = "\x1f\x8b\x08\x1c\0\0\0\0\0\xff\x02\0ab"
                                 "name\0comment\0\x01\x02\0\xfd\xffhi\xac\x2a\x93\xd8\x02\0\0\0";
    struct slice whole = slice_of(stored, sizeof stored - 1);
    struct buf out;
    struct error err = {0};
    buf_init(&out, MIB(1));
    CHECK_INT(codec_gunzip(whole, 100, &out, &err), ERR_OK);
    CHECK_STR(buf_slice(&out), "hi");
    CHECK_INT(codec_gunzip(SLICE(""), 100, &out, &err), ERR_CORRUPT);
    for (size_t cut = 1; cut < whole.n; cut++) {
        buf_reset(&out);
        check_row("cut at %zu", cut);
        CHECK_INT(codec_gunzip(slice_cut(whole, cut), 100, &out, &err), ERR_CORRUPT);
    }
    // Flipped bits anywhere: never success with other bytes, nothing outside is touched (sanitizer).
    struct buf packed;
    char text[3000];
    buf_init(&packed, MIB(1));
    fill(text, sizeof text, 2);
    codec_gzip(slice_of(text, sizeof text), &packed);
    for (size_t bit = 0; bit < packed.n * 8; bit++) {
        char *copy = malloc(packed.n);
        memcpy(copy, packed.p, packed.n);
        copy[bit / 8] ^= (char)(1 << bit % 8);
        buf_reset(&out);
        check_row("bit %zu", bit);
        if (codec_gunzip(slice_of(copy, packed.n), 100000, &out, &err) == ERR_OK)
            CHECK(slice_eq(buf_slice(&out), slice_of(text, sizeof text)));
        free(copy);
    }
    buf_free(&packed);
    buf_free(&out);
    check_done();
}

static void names(void **state)
{
    (void)state;
    enum codec c;
    struct buf out;
    buf_init(&out, MIB(1));
    CHECK(codec_has_gzip());
    CHECK(codec_from_name(SLICE(""), &c) && c == CODEC_NONE);
    CHECK(codec_from_name(SLICE("Identity"), &c) && c == CODEC_NONE);
    CHECK(codec_from_name(SLICE("GZIP"), &c) && c == CODEC_GZIP);
    CHECK(!codec_from_name(SLICE("zstd"), &c));
    CHECK_INT(codec_decode(CODEC_ZSTD, SLICE("x"), 10, &out, NULL), ERR_UNSUPPORTED);
    CHECK_INT(codec_decode(CODEC_NONE, SLICE("xyz"), 2, &out, NULL), ERR_LIMIT);
    CHECK_INT(codec_decode(CODEC_NONE, SLICE("xyz"), 3, &out, NULL), ERR_OK);
    CHECK_STR(buf_slice(&out), "xyz");
    buf_free(&out);
    check_done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(both_ways), cmocka_unit_test(heads_and_damage), cmocka_unit_test(names)};
    return cmocka_run_group_tests_name("codec_zlib", tests, NULL, NULL);
}
