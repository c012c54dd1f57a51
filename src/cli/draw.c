#include "cli/draw.h"
#include "base/clock.h"

#include <math.h>
#include <string.h>

enum { BAR_MAX = 400 };

void draw_style(const struct painter *p, const char *sgr)
{
    if (p->color)
        buf_printf(p->out, "\033[%sm", *sgr ? sgr : "0");
}

void draw_cell(const struct painter *p, struct slice text, int columns)
{
    int used = 0;
    size_t at = 0;
    int total = 0;
    for (size_t i = 0; i < text.n; i++)
        total += ((unsigned char)text.p[i] & 0xc0) != 0x80;
    int room = total > columns ? columns - 1 : columns;
    while (at < text.n && used < room) {
        size_t from = at++;
        while (at < text.n && ((unsigned char)text.p[at] & 0xc0) == 0x80)
            at++;
        bool control = at - from == 1 && ((unsigned char)text.p[from] < 0x20 || text.p[from] == 0x7f);
        buf_put(p->out, control ? " " : text.p + from, at - from);
        used++;
    }
    if (total > columns && columns > 0) {
        buf_str(p->out, "…");
        used++;
    }
    for (; used < columns; used++)
        buf_char(p->out, ' ');
}

void draw_ms(struct buf *out, double ms)
{
    if (ms < 0)
        buf_str(out, "?");
    else if (ms < 1)
        buf_printf(out, "%.0f µs", ms * 1000);
    else if (ms < 1000)
        buf_printf(out, "%.1f ms", ms);
    else
        buf_printf(out, "%.2f s", ms / 1000);
}

void draw_bars(const struct painter *p, const struct bar *bars, int n, double total, int columns)
{
    int cell[BAR_MAX];
    if (columns > BAR_MAX)
        columns = BAR_MAX;
    for (int i = 0; i < columns; i++)
        cell[i] = -1;
    for (int k = 0; k < n; k++) {
        int from = total > 0 ? (int)floor(bars[k].from / total * columns) : 0,
            to = total > 0 ? (int)ceil(bars[k].to / total * columns) : 1;
        from = from < 0 ? 0 : from >= columns ? columns - 1 : from;
        to = to <= from ? from + 1 : to > columns ? columns : to;
        for (int i = from; i < to; i++)
            cell[i] = k;
    }
    int style = -1;
    for (int i = 0; i < columns; i++) {
        if (cell[i] != style) {
            style = cell[i];
            draw_style(p, style >= 0 ? bars[style].sgr : "");
        }
        buf_str(p->out, cell[i] >= 0 ? bars[cell[i]].glyph : " ");
    }
    draw_style(p, "");
}

const char *phase_sgr(struct slice name)
{
    static const struct {
        const char *name, *sgr;
    } rows[] = {{"queue", "33"},       {"waiting", "90"}, {"routing", "36"}, {"prefill", "34"},    {"handover", "35"},
                {"kv_transfer", "35"}, {"decode", "32"},  {"retry", "31"},   {"unaccounted", "90"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (slice_eq(name, slice_str(rows[i].name)))
            return rows[i].sgr;
    return "37";
}

const char *phase_glyph(struct slice kind)
{
    if (slice_eq(kind, SLICE("wait")))
        return "▒";
    if (slice_eq(kind, SLICE("transfer")))
        return "▓";
    return slice_eq(kind, SLICE("unaccounted")) ? "░" : "█";
}

const char *level_sgr(struct slice level)
{
    if (slice_eq(level, SLICE("ERROR")))
        return "31";
    if (slice_eq(level, SLICE("WARN")))
        return "33";
    return slice_eq(level, SLICE("INFO")) ? "32" : "90";
}

void draw_time(struct buf *out, int64_t ns)
{
    char text[48];
    int n = time_format(text, ns, 3, false);
    buf_put(out, text, (size_t)n);
}
