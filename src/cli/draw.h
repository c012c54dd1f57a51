// Drawing in a terminal: bars over a time axis, colours, lengths.
#pragma once
#include "cli/cli.h"

struct painter {
    struct buf *out;
    bool color;
    int width; // columns of the terminal
};

void draw_style(const struct painter *p, const char *sgr); // "" resets; nothing without colour
// Text cut or padded to exactly `columns` display columns (UTF-8; wide characters count as one).
void draw_cell(const struct painter *p, struct slice text, int columns);
// "153.2 ms", "1.26 s", "85 µs"
void draw_ms(struct buf *out, double ms);
// One line of `columns`: block from…to of [0, total] in the given glyph; at least one cell.
struct bar {
    double from, to;
    const char *glyph; // UTF-8, one column
    const char *sgr;
};
void draw_bars(const struct painter *p, const struct bar *bars, int n, double total, int columns);
const char *phase_sgr(struct slice name);
const char *phase_glyph(struct slice kind);
const char *level_sgr(struct slice level);
// Local time of day with milliseconds of a time given as text of nanoseconds.
void draw_time(struct buf *out, int64_t ns);
