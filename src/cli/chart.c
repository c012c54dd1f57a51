#include "cli/chart.h"
#include "base/limits.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 14, AXIS = 11, MAX_SERIES = 12 };

struct point {
    double t, v;
    int series;
};
struct chart {
    struct painter p;
    double from, to, low, high;
    struct arena arena;
    struct slice names[MAX_SERIES];
    struct point *points;
    size_t n, cap;
    int n_series, left_out;
    int columns;
    uint8_t *dots;  // [row][column], as braille numbers them
    int8_t *colors; // the series that drew last
};

static const char *const colors[] = {"36", "33", "35", "32", "34", "31", "96", "93", "95", "92", "94", "91"};

struct chart *chart_new(const struct painter *p, double from, double to)
{
    struct chart *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->p = *p;
    c->from = from;
    c->to = to > from ? to : from + 1;
    c->columns = p->width - AXIS - 1;
    c->low = INFINITY;
    c->high = -INFINITY;
    arena_init(&c->arena, MAX_CLI_MEMORY);
    return c;
}

void chart_series(struct chart *c, struct slice name)
{
    if (!c)
        return;
    if (c->n_series == MAX_SERIES) {
        c->left_out++;
        return;
    }
    c->names[c->n_series++] = arena_dup(&c->arena, name);
}

void chart_point(struct chart *c, double time, double value)
{
    if (!c || c->left_out || !isfinite(value) || time < c->from || time > c->to)
        return;
    if (c->n == c->cap) {
        size_t cap = c->cap ? c->cap * 2 : 256;
        struct point *p = arena_grow(&c->arena, c->points, c->cap * sizeof *p, cap * sizeof *p);
        if (!p)
            return;
        c->points = p;
        c->cap = cap;
    }
    c->points[c->n++] = (struct point){time, value, c->n_series - 1};
    c->low = fmin(c->low, value);
    c->high = fmax(c->high, value);
}

static void dot(struct chart *c, int x, int y, int series)
{
    static const uint8_t bits[4][2] = {{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};
    if (x < 0 || y < 0 || x >= 2 * c->columns || y >= 4 * ROWS)
        return;
    size_t at = (size_t)(y / 4) * (size_t)c->columns + (size_t)(x / 2);
    c->dots[at] |= bits[y % 4][x % 2];
    c->colors[at] = (int8_t)series;
}

static int x_of(const struct chart *c, double t)
{
    return (int)((t - c->from) / (c->to - c->from) * (2 * c->columns - 1) + 0.5);
}
static int y_of(const struct chart *c, double v)
{
    return (int)((c->high - v) / (c->high - c->low) * (4 * ROWS - 1) + 0.5);
}

static void line(struct chart *c, const struct point *a, const struct point *b)
{
    int x0 = x_of(c, a->t), y0 = y_of(c, a->v), x1 = x_of(c, b->t), y1 = y_of(c, b->v);
    int steps = abs(x1 - x0) > abs(y1 - y0) ? abs(x1 - x0) : abs(y1 - y0);
    for (int i = 0; i <= steps; i++)
        dot(c, x0 + (x1 - x0) * i / (steps ? steps : 1), y0 + (y1 - y0) * i / (steps ? steps : 1), b->series);
}

// Longer than any usual distance of two points: a gap.
static double gap(const struct chart *c)
{
    double least = INFINITY;
    for (size_t i = 1; i < c->n; i++)
        if (c->points[i].series == c->points[i - 1].series)
            least = fmin(least, c->points[i].t - c->points[i - 1].t);
    return least * 1.5;
}

static void plot(struct chart *c)
{
    double longest = gap(c);
    for (size_t i = 0; i < c->n; i++) {
        const struct point *b = &c->points[i], *a = i ? b - 1 : b;
        line(c, a->series == b->series && b->t - a->t <= longest ? a : b, b);
    }
}

static void number(struct buf *out, double v)
{
    char text[32];
    snprintf(text, sizeof text, "%.4g", v);
    buf_printf(out, "%*s ", AXIS - 1, text);
}

static void put_row(struct chart *c, int row)
{
    struct buf *out = c->p.out;
    if (row % 4 == 0 || row == ROWS - 1)
        number(out, c->high - (c->high - c->low) * row / (ROWS - 1));
    else
        buf_printf(out, "%*s", AXIS, "");
    buf_str(out, "│");
    int color = -1;
    for (int x = 0; x < c->columns; x++) {
        size_t at = (size_t)row * (size_t)c->columns + (size_t)x;
        if (c->dots[at] && c->colors[at] != color)
            draw_style(&c->p, colors[color = c->colors[at]]);
        if (c->dots[at])
            buf_printf(out, "\xe2%c%c", 0xa0 | (c->dots[at] >> 6), 0x80 | (c->dots[at] & 63));
        else
            buf_char(out, ' ');
    }
    if (color >= 0)
        draw_style(&c->p, "");
    while (out->n && out->p[out->n - 1] == ' ')
        out->n--;
    buf_char(out, '\n');
}

void chart_draw(struct chart *c)
{
    if (!c || c->n == 0)
        return;
    struct buf *out = c->p.out;
    if (c->low == c->high) {
        c->low -= fabs(c->low) / 10 + 0.1;
        c->high += fabs(c->high) / 10 + 0.1;
    }
    c->dots = arena_zalloc(&c->arena, (size_t)c->columns * ROWS);
    c->colors = arena_zalloc(&c->arena, (size_t)c->columns * ROWS);
    if (!c->dots || !c->colors)
        return;
    plot(c);
    for (int row = 0; row < ROWS; row++)
        put_row(c, row);
    buf_printf(out, "%*s└", AXIS, "");
    for (int x = 0; x < c->columns; x++)
        buf_str(out, "─");
    buf_printf(out, "\n%*s", AXIS + 1, "");
    draw_time(out, (int64_t)(c->from * 1e9));
    buf_printf(out, "%*s", c->columns - 48 > 1 ? c->columns - 48 : 1, "");
    draw_time(out, (int64_t)(c->to * 1e9));
    buf_char(out, '\n');
    for (int i = 0; i < c->n_series; i++) {
        draw_style(&c->p, colors[i]);
        buf_str(out, "  ⣿ ");
        draw_style(&c->p, "");
        buf_printf(out, "%.*s\n", (int)c->names[i].n, c->names[i].p);
    }
    if (c->left_out)
        buf_printf(out, "  and %d series that are not drawn; aggregate by fewer labels, or take topk(%d, …)\n", c->left_out,
                   MAX_SERIES);
}

void chart_free(struct chart *c)
{
    if (!c)
        return;
    arena_free(&c->arena);
    free(c);
}
