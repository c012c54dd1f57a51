// Times and values of samples as bytes (part_format.h: PART_STEPS, PART_NUMBERS): what is regular becomes small numbers or runs
// of equal bytes, which zstd then makes small.
#include "store/part_encode.h"
#include "store/part_rd.h"

static uint64_t zigzag(int64_t v)
{
    return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
}

// ---- times ----------------------------------------------------------------------------------------------------------

static const int64_t time_units[] = {1000000000, 1000000, 1000, 1};

void part_encode_steps(struct buf *b, const int64_t *v, uint32_t n)
{
    uint32_t u = 0;
    for (uint32_t i = 0; i < n; i++)
        while (v[i] % time_units[u])
            u++;
    int64_t before = 0, step = 0;
    part_put_varint(b, (uint64_t)time_units[u]);
    for (uint32_t i = 0; i < n; i++) {
        int64_t at = v[i] / time_units[u], d = (int64_t)((uint64_t)at - (uint64_t)before);
        part_put_varint(b, zigzag((int64_t)((uint64_t)d - (uint64_t)step)));
        before = at;
        step = d;
    }
}

void part_decode_steps(struct rd *r, int64_t *v, uint32_t n)
{
    uint64_t unit = rd_varint(r), at = 0, step = 0;
    for (uint32_t i = 0; i < n && !r->bad; i++) {
        step += (uint64_t)unzigzag(rd_varint(r));
        at += step;
        v[i] = (int64_t)(at * unit);
    }
}

// ---- values ---------------------------------------------------------------------------------------------------------

enum {
    GROUP = 128,       // values with one way of writing
    MAX_EXPONENT = 9,  // decimal digits behind the point
    MODE_STEPS = 0x40, // whole numbers: differences of differences
    MODE_BITS = 0xff,  // not whole: bits against those of the value before, in planes
};
static const double powers[MAX_EXPONENT + 1] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};

static uint64_t bits_of(double v)
{
    uint64_t u;
    memcpy(&u, &v, sizeof u);
    return u;
}

// Whether v is i / 10^e to the last bit.
static bool scaled(double v, uint32_t e, int64_t *i)
{
    double x = v * powers[e];
    if (!(x > -4503599627370496.0 && x < 4503599627370496.0)) // 2^52; not NaN
        return false;
    *i = (int64_t)(x < 0 ? x - 0.5 : x + 0.5);
    return bits_of((double)*i / powers[e]) == bits_of(v);
}

// The group as whole numbers, with the least exponent that does; false: there is none.
static bool whole_group(const double *v, uint32_t n, int64_t *out, uint32_t *exponent)
{
    uint32_t e = 0;
    for (uint32_t i = 0; i < n; i++)
        while (!scaled(v[i], e, &out[i]))
            if (++e > MAX_EXPONENT)
                return false;
    for (uint32_t i = 0; e && i < n; i++)
        if (!scaled(v[i], e, &out[i]))
            return false;
    *exponent = e;
    return true;
}

static uint32_t varint_size(uint64_t v)
{
    uint32_t n = 1;
    while (v >>= 7)
        n++;
    return n;
}

static void put_whole(struct buf *b, const int64_t *v, uint32_t n, uint8_t *mode)
{
    uint64_t plain = 0, steps = 0;
    for (uint32_t i = 2; i < n; i++) { // the first two cost the same
        plain += varint_size(zigzag(v[i] - v[i - 1]));
        steps += varint_size(zigzag(v[i] - 2 * v[i - 1] + v[i - 2]));
    }
    bool second = steps < plain;
    int64_t before = 0, step = 0;
    *mode |= second ? MODE_STEPS : 0;
    for (uint32_t i = 0; i < n; i++) {
        int64_t d = v[i] - before;
        part_put_varint(b, zigzag(second ? d - step : d));
        before = v[i];
        step = i ? d : 0;
    }
}

void part_encode_numbers(struct buf *b, const double *v, uint32_t n)
{
    uint8_t modes[MAX_PART_BLOCK_ROWS / GROUP + 1];
    uint32_t groups = (n + GROUP - 1) / GROUP, n_bits = 0;
    int64_t whole[GROUP];
    size_t at = b->n;
    if (!buf_reserve(b, groups))
        return;
    b->n += groups;
    for (uint32_t g = 0; g < groups; g++) {
        uint32_t from = g * GROUP, count = n - from < GROUP ? n - from : GROUP, e = 0;
        modes[g] = MODE_BITS;
        if (whole_group(v + from, count, whole, &e)) {
            modes[g] = (uint8_t)e;
            put_whole(b, whole, count, &modes[g]);
        } else {
            n_bits += count;
        }
    }
    char *planes = buf_reserve(b, 8 * (size_t)n_bits);
    if (b->err != ERR_OK || !planes)
        return;
    uint32_t k = 0;
    for (uint32_t g = 0; g < groups; g++) {
        uint64_t before = 0;
        for (uint32_t i = g * GROUP; modes[g] == MODE_BITS && i < n && i < (g + 1) * GROUP; i++, k++) {
            uint64_t u = bits_of(v[i]), x = u ^ before;
            before = u;
            for (uint32_t p = 0; p < 8; p++)
                planes[p * (size_t)n_bits + k] = (char)(x >> (8 * p));
        }
    }
    b->n += 8 * (size_t)n_bits;
    memcpy(b->p + at, modes, groups);
}

static void get_whole(struct rd *r, double *v, uint32_t n, uint8_t mode)
{
    uint64_t at = 0, step = 0;
    double power = powers[mode & ~MODE_STEPS];
    for (uint32_t i = 0; i < n && !r->bad; i++) {
        uint64_t d = (uint64_t)unzigzag(rd_varint(r));
        if (mode & MODE_STEPS) {
            step += d;
            at += step;
            step = i ? step : 0;
        } else {
            at += d;
        }
        v[i] = (double)(int64_t)at / power;
    }
}

void part_decode_numbers(struct rd *r, double *v, uint32_t n)
{
    uint32_t groups = (n + GROUP - 1) / GROUP, n_bits = 0;
    const uint8_t *modes = rd_bytes(r, groups);
    for (uint32_t g = 0; modes && g < groups && !r->bad; g++) {
        uint32_t from = g * GROUP, count = n - from < GROUP ? n - from : GROUP;
        if (modes[g] == MODE_BITS)
            n_bits += count;
        else if ((modes[g] & ~MODE_STEPS) > MAX_EXPONENT)
            r->bad = true;
        else
            get_whole(r, v + from, count, modes[g]);
    }
    const uint8_t *planes = rd_bytes(r, 8 * (uint64_t)n_bits);
    uint32_t k = 0;
    for (uint32_t g = 0; modes && planes && g < groups && !r->bad; g++) {
        uint64_t before = 0;
        for (uint32_t i = g * GROUP; modes[g] == MODE_BITS && i < n && i < (g + 1) * GROUP; i++, k++) {
            uint64_t x = 0;
            for (uint32_t p = 0; p < 8; p++)
                x |= (uint64_t)planes[p * (size_t)n_bits + k] << (8 * p);
            before ^= x;
            memcpy(&v[i], &before, sizeof before);
        }
    }
}
