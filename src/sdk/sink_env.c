// Sinks by the environment; the variables stand in sonde/sink.h.
#include "base/limits.h"
#include "sdk/env.h"
#include "sdk/sdk.h"
#include "sdk/sink.h"
#include <stdlib.h>

bool sink_loss_word(struct slice word, struct sink_loss *out)
{
    uint64_t ms;
    unsigned level;
    if (slice_eq(word, SLICE("drop")))
        *out = (struct sink_loss){.how = SONDE_LOSS_DROP};
    else if (slice_starts(word, SLICE("block:")) && slice_to_u64(slice_from(word, 6), &ms) && ms > 0 && ms <= 60000)
        *out = (struct sink_loss){.how = SONDE_LOSS_BLOCK, .block_ms = (unsigned)ms};
    else if (slice_starts(word, SLICE("level:")) && filter_level_word(slice_from(word, 6), &level) && level > 0)
        *out = (struct sink_loss){.how = SONDE_LOSS_LEVEL, .drop_below = level};
    else
        return false;
    return true;
}

struct unit {
    const char *word;
    uint64_t factor;
};

// A whole number with a unit; the unit may be missing when the first row's is "".
static bool with_unit(struct slice word, const struct unit *units, size_t n, uint64_t max, uint64_t *out)
{
    size_t digits = 0;
    uint64_t value;
    while (digits < word.n && word.p[digits] >= '0' && word.p[digits] <= '9')
        digits++;
    if (!digits || !slice_to_u64(slice_cut(word, digits), &value) || value == 0)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (slice_eq(slice_from(word, digits), slice_str(units[i].word)) && value <= max / units[i].factor) {
            *out = value * units[i].factor;
            return true;
        }
    }
    return false;
}

bool sink_size_word(struct slice word, uint64_t *bytes)
{
    static const struct unit units[] = {{"", 1},        {"k", 1 << 10}, {"K", 1 << 10}, {"m", 1 << 20},
                                        {"M", 1 << 20}, {"g", 1 << 30}, {"G", 1 << 30}};
    return with_unit(word, units, sizeof units / sizeof *units, (uint64_t)1 << 50, bytes);
}

bool sink_time_word(struct slice word, unsigned *seconds)
{
    static const struct unit units[] = {{"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};
    uint64_t value = slice_eq(word, SLICE("hourly")) ? 3600 : slice_eq(word, SLICE("daily")) ? 86400 : 0;
    if (!value && !with_unit(word, units, sizeof units / sizeof *units, 366 * 86400, &value))
        return false;
    *seconds = (unsigned)value;
    return true;
}

static struct slice env(const char *name)
{
    const char *v = env_get(name);
    return slice_trim(slice_str(v ? v : ""));
}

static void wrong(struct buf *notes, const char *name, struct slice word, const char *why)
{
    buf_printf(notes, "sonde: %s: '%.*s' %s\n", name, (int)(word.n < 100 ? word.n : 100), word.p, why);
}

bool sink_env_file(struct sonde_sink_options *o, struct buf *notes)
{
    struct sink_loss loss = {.how = SONDE_LOSS_DROP};
    struct slice w;
    uint64_t keep;
    *o = (struct sonde_sink_options){.kind = SONDE_SINK_FILE, .path = env_get_path("SONDE_LOG_FILE")};
    if (!o->path || !*o->path)
        return false;
    w = env("SONDE_LOG_FILE_FORMAT");
    if (slice_ieq(w, SLICE("jsonl")))
        o->format = SONDE_FORMAT_JSONL;
    else if (slice_ieq(w, SLICE("text")))
        o->format = SONDE_FORMAT_TEXT;
    else if (w.n)
        wrong(notes, "SONDE_LOG_FILE_FORMAT", w, "is neither text nor jsonl; the file has stderr's");
    w = env("SONDE_LOG_FILE_ROTATE_SIZE");
    if (w.n && !sink_size_word(w, &o->rotate_size))
        wrong(notes, "SONDE_LOG_FILE_ROTATE_SIZE", w, "is no number of bytes such as 500k, 100M or 2G; size does not rotate");
    w = env("SONDE_LOG_FILE_ROTATE_TIME");
    if (w.n && !sink_time_word(w, &o->rotate_seconds))
        wrong(notes, "SONDE_LOG_FILE_ROTATE_TIME", w,
              "is neither hourly, daily nor a time such as 15m or 7d; time does not rotate");
    o->rotate_at_start = sdk_truthy("SONDE_LOG_FILE_ROTATE_AT_START");
    w = env("SONDE_LOG_FILE_KEEP");
    if (w.n && slice_to_u64(w, &keep) && keep > 0 && keep <= 10000)
        o->keep = (unsigned)keep;
    else if (w.n)
        wrong(notes, "SONDE_LOG_FILE_KEEP", w, "is not a number from 1 to 10000; 5 old files are kept");
    w = env("SONDE_LOG_FILE_LOSS");
    if (w.n && !sink_loss_word(w, &loss))
        wrong(notes, "SONDE_LOG_FILE_LOSS", w, "is neither drop, block:MS (1 to 60000) nor level:LEVEL; drop is used");
    o->loss = loss.how;
    o->block_ms = loss.block_ms;
    o->drop_below = (enum sonde_level)loss.drop_below;
    w = env("SONDE_LOG_FILE_FILTER");
    o->filter = w.n ? env_get("SONDE_LOG_FILE_FILTER") : NULL;
    return true;
}
