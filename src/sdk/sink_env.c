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

bool sink_time_word(struct slice word, unsigned *seconds)
{
    static const struct {
        char unit;
        unsigned factor;
    } rows[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    enum { LONGEST = 366 * 86400 };
    uint64_t n = 0;
    if (slice_eq(word, SLICE("hourly")) || slice_eq(word, SLICE("daily")))
        n = word.p[0] == 'h' ? 3600 : 86400;
    for (size_t i = 0; !n && word.n && i < sizeof rows / sizeof *rows; i++)
        if (word.p[word.n - 1] == rows[i].unit && slice_to_u64(slice_cut(word, word.n - 1), &n))
            n = n <= LONGEST / rows[i].factor ? n * rows[i].factor : 0;
    *seconds = (unsigned)n;
    return n > 0;
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
    *o = (struct sonde_sink_options){.kind = SONDE_SINK_FILE, .path = env_get_path("SONDE_LOG_FILE")};
    if (!o->path || !*o->path)
        return false;
    int format = env_choice("SONDE_LOG_FILE_FORMAT");
    if (format >= 0)
        o->format = format ? SONDE_FORMAT_JSONL : SONDE_FORMAT_TEXT;
    int64_t size = env_int("SONDE_LOG_FILE_ROTATE_SIZE");
    o->rotate_size = size > 0 ? (uint64_t)size : 0;
    w = env("SONDE_LOG_FILE_ROTATE_TIME");
    if (w.n && !sink_time_word(w, &o->rotate_seconds))
        wrong(notes, "SONDE_LOG_FILE_ROTATE_TIME", w,
              "is neither hourly, daily nor a time such as 15m or 7d; time does not rotate");
    o->rotate_at_start = env_on("SONDE_LOG_FILE_ROTATE_AT_START");
    o->keep = (unsigned)env_int("SONDE_LOG_FILE_KEEP");
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
