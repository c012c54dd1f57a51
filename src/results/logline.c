#include "results/logline.h"
#include "base/utf8.h"
#include <ctype.h>

// ---- escape sequences -----------------------------------------------------------------------------------------------
// raw without ESC [ … m and the like.
static void strip_escapes(struct slice raw, struct buf *out)
{
    buf_reset(out);
    for (size_t i = 0; i < raw.n;) {
        const char *esc = memchr(raw.p + i, 0x1b, raw.n - i);
        size_t until = esc ? (size_t)(esc - raw.p) : raw.n;
        buf_put(out, raw.p + i, until - i);
        i = until;
        if (!esc)
            break;
        i++;
        if (i < raw.n && raw.p[i] == '[') {
            i++;
            while (i < raw.n && (unsigned char)raw.p[i] < 0x40)
                i++;
        }
        i++;
    }
}

// ---- levels ---------------------------------------------------------------------------------------------------------
static const struct {
    struct slice word;
    enum logline_level level;
} words[] = {
    {SLICE_INIT("ERROR"), LOGLINE_ERROR}, {SLICE_INIT("CRITICAL"), LOGLINE_ERROR}, {SLICE_INIT("FATAL"), LOGLINE_ERROR},
    {SLICE_INIT("ERR"), LOGLINE_ERROR},   {SLICE_INIT("WARNING"), LOGLINE_WARN},   {SLICE_INIT("WARN"), LOGLINE_WARN},
    {SLICE_INIT("INFO"), LOGLINE_INFO},   {SLICE_INIT("DEBUG"), LOGLINE_DEBUG},    {SLICE_INIT("TRACE"), LOGLINE_TRACE},
    {SLICE_INIT("PANIC"), LOGLINE_ERROR}, {SLICE_INIT("NOTICE"), LOGLINE_INFO},    {SLICE_INIT("EXCEPTION"), LOGLINE_ERROR},
};

static enum logline_level level_of(struct slice word)
{
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (slice_ieq(word, words[i].word))
            return words[i].level;
    return LOGLINE_NONE;
}

// A word in capitals, alone, near the beginning of the line.
static enum logline_level text_level(struct slice s, size_t *behind)
{
    s = slice_cut(s, LOGLINE_LEVEL_REACH);
    for (size_t i = 0; i < s.n;) {
        while (i < s.n && !(s.p[i] >= 'A' && s.p[i] <= 'Z'))
            i++;
        size_t from = i;
        while (i < s.n && s.p[i] >= 'A' && s.p[i] <= 'Z')
            i++;
        bool alone = (from == 0 || !isalnum((unsigned char)s.p[from - 1])) && (i == s.n || !isalnum((unsigned char)s.p[i])) &&
                     (i == s.n || s.p[i] != '_');
        enum logline_level level =
            i - from >= 3 && i - from <= 9 && alone ? level_of(slice_of(s.p + from, i - from)) : LOGLINE_NONE;
        if (level != LOGLINE_NONE) {
            *behind = i;
            return level;
        }
    }
    return LOGLINE_NONE;
}

// The value of "key": in a JSON line, without reading all of it; strings as written, without quotes.
static struct slice json_value(struct slice s, const char *key)
{
    size_t k = strlen(key);
    s = slice_cut(s, LOGLINE_JSON_REACH);
    for (const char *p = s.p, *end = s.p + s.n; (p = memchr(p, '"', (size_t)(end - p))) != NULL; p++) {
        if ((size_t)(end - p) < k + 3 || memcmp(p + 1, key, k) != 0 || p[k + 1] != '"')
            continue;
        const char *v = p + k + 2;
        while (v < end && (*v == ' ' || *v == '\t'))
            v++;
        if (v == end || *v++ != ':')
            continue;
        while (v < end && (*v == ' ' || *v == '\t'))
            v++;
        const char *from = v;
        if (v < end && *v == '"') {
            for (from = ++v; v < end && *v != '"'; v++)
                v += *v == '\\';
        } else {
            while (v < end && *v != ',' && *v != '}' && *v != ' ')
                v++;
        }
        return slice_of(from, (size_t)((v < end ? v : end) - from));
    }
    return SLICE_NONE;
}

static struct slice json_first(struct slice s, const char *const *keys, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct slice v = json_value(s, keys[i]);
        if (v.p)
            return v;
    }
    return SLICE_NONE;
}
static const char *const time_keys[] = {"time", "timestamp", "ts", "@timestamp"};
static const char *const level_keys[] = {"level", "severity", "levelname"};
static const char *const message_keys[] = {"message", "msg", "event", "error"};
#define FIRST(s, keys) json_first((s), (keys), sizeof(keys) / sizeof *(keys))

static bool is_json(struct slice s)
{
    return s.n > 1 && s.p[0] == '{' && s.p[s.n - 1] == '}';
}

static uint32_t hex4(const char *p)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++)
        v = v * 16 + (uint32_t)(isdigit((unsigned char)p[i]) ? p[i] - '0' : (p[i] | 0x20) - 'a' + 10);
    return v;
}

static bool is_hex4(struct slice s, size_t at)
{
    for (size_t i = at; i < at + 4; i++)
        if (i >= s.n || !isxdigit((unsigned char)s.p[i]))
            return false;
    return true;
}

// A \uXXXX, or the two of a character beyond the first 65536, the first of them at s.p[at]. Returns the bytes that it takes.
static size_t unescape_unicode(struct slice s, size_t at, struct buf *out)
{
    char utf8[4];
    uint32_t c = hex4(s.p + at);
    size_t n = 4;
    if (c >= 0xd800 && c < 0xdc00 && at + 6 <= s.n && s.p[at + 4] == '\\' && s.p[at + 5] == 'u' && is_hex4(s, at + 6)) {
        uint32_t low = hex4(s.p + at + 6);
        if (low >= 0xdc00 && low < 0xe000) {
            c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
            n = 10;
        }
    }
    buf_put(out, utf8, (size_t)utf8_encode(utf8, c >= 0xd800 && c < 0xe000 ? 0xfffd : c));
    return n;
}

void logline_unescape(struct slice s, struct buf *out)
{
    static const char from[] = "nrtbf", to[] = "\n\r\t\b\f";
    buf_reset(out);
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != '\\') {
            buf_char(out, s.p[i]);
        } else if (++i < s.n && s.p[i] == 'u') {
            if (is_hex4(s, i + 1))
                i += unescape_unicode(s, i + 1, out);
        } else if (i < s.n) {
            const char *c = s.p[i] ? strchr(from, s.p[i]) : NULL;
            buf_char(out, c ? to[c - from] : s.p[i]);
        }
    }
}

bool logline_crash(struct slice s)
{
    static const struct slice marks[] = {
        SLICE_INIT("Traceback (most recent call last)"),
        SLICE_INIT("panicked at"),
        SLICE_INIT("egmentation fault"),
        SLICE_INIT("CUDA out of memory"),
        SLICE_INIT("terminate called"),
        SLICE_INIT("core dumped"),
        SLICE_INIT("Out of memory: Killed"),
        SLICE_INIT("AddressSanitizer"),
    };
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (slice_find(s, marks[i]) >= 0)
            return true;
    return false;
}

enum logline_level logline_level(struct slice raw, bool *crash)
{
    size_t behind;
    *crash = false;
    if (raw.n > 1 && raw.p[0] == '{') {
        struct slice v = FIRST(slice_cut(raw, 512), level_keys);
        return v.p ? level_of(v) : LOGLINE_NONE;
    }
    enum logline_level level = text_level(raw, &behind);
    if (level == LOGLINE_NONE)
        *crash = logline_crash(slice_cut(raw, LOGLINE_MESSAGE));
    return level;
}

// ---- a line ---------------------------------------------------------------------------------------------------------
static struct slice writer(struct slice *line)
{
    struct slice s = *line;
    const char *close = s.n > 2 && s.p[0] == '[' ? memchr(s.p, ']', s.n < 80 ? s.n : 80) : NULL;
    if (!close || close + 1 >= s.p + s.n || close[1] != ' ')
        return SLICE("");
    struct slice who = slice_of(s.p + 1, (size_t)(close - s.p) - 1);
    struct stamp t;
    if (stamp_read(who, &t) || level_of(who) != LOGLINE_NONE)
        return SLICE("");
    *line = slice_from(s, (size_t)(close - s.p) + 2);
    return who;
}

void logline_read(struct slice raw, struct buf *plain, struct logline *out)
{
    *out = (struct logline){.who = SLICE("")};
    if (memchr(raw.p, 0x1b, raw.n)) {
        strip_escapes(raw, plain);
        raw = buf_slice(plain);
    }
    raw = slice_trim(raw);
    out->who = writer(&raw);
    if (is_json(raw)) {
        out->json = true;
        out->timed = stamp_value(FIRST(raw, time_keys), &out->time);
        out->level = level_of(FIRST(raw, level_keys));
        out->message = slice_cut(FIRST(raw, message_keys), LOGLINE_MESSAGE);
        return;
    }
    size_t behind = 0;
    out->timed = stamp_find(slice_cut(raw, LOGLINE_LEVEL_REACH), &out->time);
    out->level = text_level(raw, &behind);
    if (out->level == LOGLINE_NONE && logline_crash(raw))
        out->level = LOGLINE_ERROR;
    struct slice rest = slice_from(raw, behind);
    while (rest.n && (rest.p[0] == ' ' || rest.p[0] == ':' || rest.p[0] == ']' || rest.p[0] == '-' || rest.p[0] == '\t'))
        rest = slice_from(rest, 1);
    out->message = slice_cut(rest, LOGLINE_MESSAGE);
}

// ---- shape ----------------------------------------------------------------------------------------------------------
static bool wordish(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '-' || c == '.';
}

static struct slice mask_of(struct slice word)
{
    size_t digits = 0, hex = 0, letters = 0;
    for (size_t i = 0; i < word.n; i++) {
        char c = word.p[i];
        digits += c >= '0' && c <= '9';
        hex += isxdigit((unsigned char)c) != 0;
        letters += isalpha((unsigned char)c) != 0;
    }
    if (digits == 0)
        return SLICE_NONE;
    if (word.n >= 8 && hex + (size_t)(word.n > 30 ? 4 : 0) >= word.n && letters)
        return SLICE("<id>"); // UUIDs too, with their four dashes
    if (letters <= 2 || (word.n > 2 && word.p[0] == '0' && word.p[1] == 'x'))
        return SLICE("<n>"); // 12, 3.5ms, 0x7f
    return word.n >= 12 && digits * 4 >= word.n ? SLICE("<id>") : SLICE_NONE;
}

// Digits within a word that stays: worker-17 and worker-18 are of one shape.
static void put_word(struct slice w, struct buf *out)
{
    struct slice mask = mask_of(w);
    if (mask.n) {
        buf_add(out, mask);
        return;
    }
    for (size_t i = 0; i < w.n;) {
        if (!isdigit((unsigned char)w.p[i])) {
            buf_char(out, w.p[i++]);
            continue;
        }
        buf_str(out, "<n>");
        while (i < w.n && isdigit((unsigned char)w.p[i]))
            i++;
    }
}

void logline_shape(struct slice message, struct buf *out)
{
    buf_reset(out);
    message = slice_cut(message, LOGLINE_MESSAGE);
    for (size_t i = 0; i < message.n;) {
        size_t from = i;
        while (i < message.n && wordish(message.p[i]))
            i++;
        if (i > from)
            put_word(slice_of(message.p + from, i - from), out);
        else
            buf_char(out, message.p[i++]);
    }
}
