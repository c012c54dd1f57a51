// UTF-8 checks (strict: no surrogates, no overlong forms, at most U+10FFFF). AVX2 fast path for ASCII runs.
#pragma once
#include "base/buf.h"
#include "base/slice.h"

// Length of the valid prefix; s.n when all is valid.
size_t utf8_valid_prefix(struct slice s);
static inline bool utf8_valid(struct slice s)
{
    return utf8_valid_prefix(s) == s.n;
}
// Length of the maximal invalid part at the start of s, which is not empty and begins invalid: what one U+FFFD replaces.
size_t utf8_invalid_part(struct slice s);
// Appends s with every maximal invalid part replaced by U+FFFD (the WHATWG rule).
void utf8_append_clean(struct buf *b, struct slice s);
// Encodes a code point (≤ 0x10FFFF) into out[4]; returns 1…4.
int utf8_encode(char *out, uint32_t cp);
// Decodes one code point at s.p (s.n > 0); *len gets 1…4. Invalid: returns 0xFFFD and *len = 1.
uint32_t utf8_decode(struct slice s, int *len);
