#include "base/utf8.h"
#include "base/kernel.h"

// Length of the sequence at p: positive when valid, else minus the length of its maximal invalid part (Unicode 15 §3.9,
// table 3-7: what could not have begun any valid sequence is cut off after its first byte).
static int sequence(const uint8_t *p, size_t n)
{
    uint8_t c = p[0];
    if (c < 0x80)
        return 1;
    int more;
    uint8_t least = 0x80, most = 0xbf; // of the second byte
    if (c >= 0xc2 && c <= 0xdf) {
        more = 1;
    } else if (c >= 0xe0 && c <= 0xef) {
        more = 2;
        least = c == 0xe0 ? 0xa0 : 0x80; // overlong
        most = c == 0xed ? 0x9f : 0xbf;  // surrogates
    } else if (c >= 0xf0 && c <= 0xf4) {
        more = 3;
        least = c == 0xf0 ? 0x90 : 0x80; // overlong
        most = c == 0xf4 ? 0x8f : 0xbf;  // above U+10FFFF
    } else {
        return -1;
    }
    for (int i = 1; i <= more; i++) {
        if ((size_t)i >= n || p[i] < least || p[i] > most)
            return -i;
        least = 0x80;
        most = 0xbf;
    }
    return more + 1;
}

static const char *valid_until(const char *p, const char *end)
{
    const struct kernel *k = kernel();
    while (p < end) {
        if ((uint8_t)*p < 0x80) {
            p = k->non_ascii(p, end);
            continue;
        }
        int n = sequence((const uint8_t *)p, (size_t)(end - p));
        if (n < 0)
            break;
        p += n;
    }
    return p;
}

size_t utf8_valid_prefix(struct slice s)
{
    return s.n ? (size_t)(valid_until(s.p, s.p + s.n) - s.p) : 0;
}

size_t utf8_invalid_part(struct slice s)
{
    int n = sequence((const uint8_t *)s.p, s.n);
    return (size_t)(n < 0 ? -n : n);
}

void utf8_append_clean(struct buf *b, struct slice s)
{
    while (s.n) {
        size_t n = utf8_valid_prefix(s);
        buf_put(b, s.p, n);
        s = slice_from(s, n);
        if (s.n == 0)
            return;
        buf_put(b, "\xef\xbf\xbd", 3);
        s = slice_from(s, utf8_invalid_part(s));
    }
}

int utf8_encode(char *out, uint32_t cp)
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        out[0] = (char)(0xc0 | cp >> 6);
        out[1] = (char)(0x80 | (cp & 0x3f));
        return 2;
    }
    if (cp < 0x10000) {
        out[0] = (char)(0xe0 | cp >> 12);
        out[1] = (char)(0x80 | (cp >> 6 & 0x3f));
        out[2] = (char)(0x80 | (cp & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | cp >> 18);
    out[1] = (char)(0x80 | (cp >> 12 & 0x3f));
    out[2] = (char)(0x80 | (cp >> 6 & 0x3f));
    out[3] = (char)(0x80 | (cp & 0x3f));
    return 4;
}

uint32_t utf8_decode(struct slice s, int *len)
{
    const uint8_t *p = (const uint8_t *)s.p;
    int n = sequence(p, s.n);
    *len = n < 0 ? 1 : n;
    switch (n) {
    case 1:
        return p[0];
    case 2:
        return (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu);
    case 3:
        return (p[0] & 0x0fu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
    case 4:
        return (p[0] & 0x07u) << 18 | (p[1] & 0x3fu) << 12 | (p[2] & 0x3fu) << 6 | (p[3] & 0x3fu);
    default:
        return 0xfffd;
    }
}
