// Sanitising of names, and bounds of buckets.
#define SONDE_TARGET "sonde::metrics"
#include "sdk/env.h"
#include "sdk/metric.h"
#include "sdk/sdk.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static bool letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static enum errc clean(char out[METRIC_NAME_MAX + 2], const char *raw, bool label)
{
    size_t n = raw ? strnlen(raw, METRIC_NAME_MAX) : 0, from = 0;
    char *p = out + 1; // room for an underscore in front
    if (n == 0 || raw[n])
        return ERR_INPUT;
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        char c = raw[i];
        if (((unsigned char)c & 0xc0) == 0x80 && i > 0 && (unsigned char)raw[i - 1] >= 0x80)
            continue; // one underscore a character, not a byte
        p[len++] = letter(c) || (c >= '0' && c <= '9') || c == '_' || (c == ':' && !label) ? c : '_';
    }
    while (label && p[from] == '_' && from + 1 < len && p[from + 1] == '_')
        from += 2;
    if (label && from && from < len && p[from] == '_')
        from++; // an odd number of them: what would be prepended is there already
    bool front = from ? from < len && !letter(p[from]) : !letter(p[0]) && p[0] != '_';
    p += from;
    len -= from;
    if (front) {
        *--p = '_';
        len++;
    }
    size_t underscores = 0;
    while (underscores < len && p[underscores] == '_')
        underscores++;
    if (underscores == len)
        return ERR_INPUT;
    memmove(out, p, len);
    out[len] = 0;
    return ERR_OK;
}

enum errc metric_name_clean(char out[METRIC_NAME_MAX + 2], const char *raw)
{
    return clean(out, raw, false);
}
enum errc metric_label_clean(char out[METRIC_NAME_MAX + 2], const char *raw)
{
    return clean(out, raw, true);
}

// ---- bucket generator -----------------------------------------------------------------------------------------------
static bool usable(double min, double max, double count)
{
    return isfinite(min) && isfinite(max) && min > 0 && min < max && count >= 0 && count <= SONDE_BUCKETS_MAX;
}

static void two_digits(double *v)
{
    char text[32];
    snprintf(text, sizeof text, "%.1e", *v);
    struct slice s = slice_str(text);
    slice_to_f64(s, v); // correctly rounded, so that it prints as two digits
}

size_t sonde_buckets(double min, double max, size_t count, double *out)
{
    if (count == 0 || !out)
        return 0;
    if (!usable(min, max, (double)count)) {
        SONDE_WARN("histogram bucket parameters are invalid: min must be above 0 and below max, the count at most 512",
                   SONDE_F64("min", min), SONDE_F64("max", max), SONDE_UINT("count", count));
        return 0;
    }
    size_t n = 0, dropped = 0;
    out[n++] = 0;
    for (size_t i = 1; i < count; i++) {
        double v = exp(log(min) + (log(max) - log(min)) * (double)i / (double)(count - 1));
        two_digits(&v);
        if (v > out[n - 1])
            out[n++] = v;
        else
            dropped++;
    }
    if (dropped * 10 > count)
        SONDE_WARN("histogram buckets coincide after rounding to two digits: ask for fewer", SONDE_UINT("count", count),
                   SONDE_UINT("dropped", dropped));
    return n;
}

static bool env_number(const char *prefix, const char *suffix, double *v)
{
    char name[160];
    snprintf(name, sizeof name, "%s%s", prefix, suffix);
    const char *text = env_get(name);
    if (!text || !*text)
        return true;
    return slice_to_f64(slice_trim(slice_str(text)), v);
}

size_t sonde_buckets_env(const char *env_prefix, double min, double max, size_t count, double *out)
{
    double lo = min, hi = max, n = (double)count;
    bool ok = !env_prefix || (env_number(env_prefix, "_MIN", &lo) && env_number(env_prefix, "_MAX", &hi) &&
                              env_number(env_prefix, "_COUNT", &n));
    // in the environment a count of 0 is a mistake
    if (ok && n >= 1 && n == floor(n) && usable(lo, hi, n))
        return sonde_buckets(lo, hi, (size_t)n, out);
    SONDE_WARN("histogram bucket parameters in the environment are invalid, the defaults are used",
               SONDE_STR("prefix", env_prefix), SONDE_F64("min", lo), SONDE_F64("max", hi), SONDE_F64("count", n));
    return sonde_buckets(min, max, count, out);
}

// ---- bounds ---------------------------------------------------------------------------------------------------------
enum { INDEX_MAX = 512 };

static uint32_t search(const struct metric_bounds *b, double v)
{
    uint32_t lo = 0, hi = b->n;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (v <= b->bound[mid])
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

uint32_t metric_bounds_far(const struct metric_bounds *b, double v)
{
    return isfinite(v) ? search(b, v) : METRIC_NO_BUCKET;
}

// Positive doubles sort as their bits do: the index cuts their range into steps of equal bit patterns (fractions of an octave).
static bool index_make(struct arena *a, struct metric_bounds *b)
{
    uint32_t low = 0;
    while (low < b->n && b->bound[low] <= 0)
        low++;
    if (low == b->n)
        return true;
    int64_t from = (int64_t)metric_bits(b->bound[low]), to = (int64_t)metric_bits(b->bound[b->n - 1]);
    b->shift = 48;
    while ((to >> b->shift) - (from >> b->shift) + 2 > INDEX_MAX)
        b->shift++;
    b->first = (from >> b->shift) - 1; // from just below the lowest bound
    b->n_index = (uint32_t)((to >> b->shift) - b->first + 1);
    b->index = ARENA_ARRAY(a, uint16_t, b->n_index);
    if (!b->index)
        return false;
    for (uint32_t i = 0; i < b->n_index; i++) // all values of step i are >= its start
        b->index[i] = (uint16_t)search(b, metric_double((uint64_t)(b->first + i) << b->shift));
    return true;
}

static bool texts_make(struct arena *a, struct metric_bounds *b)
{
    b->le = ARENA_ARRAY(a, struct slice, b->n + 1);
    b->le_om = ARENA_ARRAY(a, struct slice, b->n + 1);
    if (!b->le || !b->le_om)
        return false;
    struct buf text;
    buf_init(&text, 256);
    bool ok = true;
    for (uint32_t i = 0; ok && i <= b->n; i++) {
        buf_reset(&text);
        buf_f64(&text, b->bound[i]);
        b->le[i] = arena_dup(a, buf_slice(&text));
        ok = text.err == ERR_OK;
        buf_reset(&text);
        metric_text_f64_om(&text, b->bound[i]);
        b->le_om[i] = arena_dup(a, buf_slice(&text));
        ok = ok && text.err == ERR_OK && b->le[i].p && b->le_om[i].p;
    }
    buf_free(&text);
    return ok;
}

struct metric_bounds *metric_bounds_new(struct arena *a, const double *bound, size_t n)
{
    struct metric_bounds *b = ARENA_NEW(a, struct metric_bounds);
    if (!b || !(b->bound = ARENA_ARRAY(a, double, n + 1)))
        return NULL;
    b->n = (uint32_t)n;
    if (n)
        memcpy(b->bound, bound, n * sizeof *bound);
    b->bound[n] = INFINITY;
    return index_make(a, b) && texts_make(a, b) ? b : NULL;
}
