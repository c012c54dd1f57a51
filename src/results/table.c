#include "results/table.h"
#include "base/clock.h"
#include "base/utf8.h"

void table_start(struct table *t, struct arena *a, const char *title, const char *const *head, uint32_t columns)
{
    *t = (struct table){.arena = a, .title = title, .columns = columns};
    for (uint32_t i = 0; i < columns; i++)
        t->head[i] = slice_str(head[i]);
}

struct slice *table_row(struct table *t)
{
    static struct slice nowhere[TABLE_COLUMNS];
    if (t->rows == t->cap) {
        uint32_t more = t->cap ? t->cap * 2 : 16;
        size_t row = t->columns * sizeof *t->cell;
        struct slice *p = arena_grow(t->arena, t->cell, t->cap * row, more * row);
        if (!p)
            return nowhere;
        t->cell = p;
        t->cap = more;
    }
    struct slice *row = &t->cell[t->rows++ * t->columns];
    for (uint32_t i = 0; i < t->columns; i++)
        row[i] = SLICE("");
    return row;
}

struct slice table_number(struct arena *a, double v, int digits, const char *unit)
{
    return isnan(v) ? SLICE("N/A") : arena_printf(a, "%.*f%s%s", digits, v, *unit ? " " : "", unit);
}

struct slice table_count(struct arena *a, uint64_t n)
{
    return arena_printf(a, "%llu", (unsigned long long)n);
}

struct slice table_time(struct arena *a, int64_t ns)
{
    char text[40];
    if (ns == 0)
        return SLICE("");
    return arena_dup(a, slice_of(text, (size_t)time_format(text, ns, 3, false)));
}

// Columns of a terminal: East Asian wide characters and emoji take two, combining marks none.
static size_t width(struct slice s)
{
    static const struct {
        uint32_t from, to;
        uint8_t columns;
    } special[] = {{0x300, 0x36f, 0},     {0x1100, 0x115f, 2},   {0x200b, 0x200f, 0},   {0x20d0, 0x20ff, 0},
                   {0x2e80, 0x303e, 2},   {0x3041, 0xa4cf, 2},   {0xac00, 0xd7a3, 2},   {0xf900, 0xfaff, 2},
                   {0xfe00, 0xfe0f, 0},   {0xfe30, 0xfe6f, 2},   {0xff00, 0xff60, 2},   {0xffe0, 0xffe6, 2},
                   {0x1f300, 0x1f64f, 2}, {0x1f680, 0x1f6ff, 2}, {0x1f900, 0x1f9ff, 2}, {0x20000, 0x3fffd, 2}};
    size_t n = 0;
    for (int len; s.n; s = slice_from(s, (size_t)len)) {
        uint32_t c = utf8_decode(s, &len), columns = 1;
        for (size_t i = 0; c >= 0x300 && i < sizeof special / sizeof *special; i++)
            if (c >= special[i].from && c <= special[i].to)
                columns = special[i].columns;
        n += columns;
    }
    return n;
}

struct slice table_line(struct arena *a, struct slice s)
{
    struct buf b;
    size_t n = s.n < TABLE_CELL ? s.n : TABLE_CELL;
    while (n < s.n && n > 0 && ((unsigned char)s.p[n] & 0xc0) == 0x80)
        n--;
    buf_init(&b, TABLE_CELL * 3);
    utf8_append_clean(&b, slice_cut(s, n));
    for (size_t i = 0; i < b.n; i++)
        if ((unsigned char)b.p[i] < 0x20 || b.p[i] == 0x7f)
            b.p[i] = ' ';
    struct slice copy = arena_dup(a, buf_slice(&b));
    buf_free(&b);
    return copy.p ? copy : SLICE("");
}

static bool numeric(struct slice s)
{
    return s.n && (s.p[0] == '-' || (s.p[0] >= '0' && s.p[0] <= '9') || slice_eq(s, SLICE("N/A")));
}

// ---- a grid ---------------------------------------------------------------------------------------------------------
static void pad(struct buf *out, struct slice s, size_t to, bool right)
{
    size_t blanks = to > width(s) ? to - width(s) : 0;
    if (!right)
        buf_add(out, s);
    for (size_t i = 0; i < blanks; i++)
        buf_char(out, ' ');
    if (right)
        buf_add(out, s);
}

static void rule(struct buf *out, const size_t *w, uint32_t n, char c)
{
    for (uint32_t i = 0; i < n; i++) {
        buf_char(out, '+');
        for (size_t k = 0; k < w[i] + 2; k++)
            buf_char(out, c);
    }
    buf_str(out, "+\n");
}

static void grid_row(struct buf *out, const struct slice *cell, const size_t *w, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        buf_str(out, "| ");
        pad(out, cell[i], w[i], n > 2 && numeric(cell[i]));
        buf_char(out, ' ');
    }
    buf_str(out, "|\n");
}

static void grid(const struct table *t, const struct slice *cell, const size_t *w, struct buf *out)
{
    rule(out, w, t->columns, '-');
    grid_row(out, t->head, w, t->columns);
    rule(out, w, t->columns, '=');
    for (uint32_t i = 0; i < t->rows; i++) {
        grid_row(out, cell + i * t->columns, w, t->columns);
        rule(out, w, t->columns, '-');
    }
}

// ---- Markdown, CSV, HTML --------------------------------------------------------------------------------------------
static void markdown_cell(struct buf *out, struct slice s, size_t to)
{
    size_t extra = 0;
    buf_str(out, "| ");
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '|' || s.p[i] == '<') {
            buf_char(out, '\\');
            extra++;
        }
        buf_char(out, s.p[i]);
    }
    for (size_t n = width(s) + extra; n < to; n++)
        buf_char(out, ' ');
    buf_char(out, ' ');
}

static void markdown(const struct table *t, const struct slice *cell, const size_t *w, struct buf *out)
{
    for (uint32_t i = 0; i < t->columns; i++)
        markdown_cell(out, t->head[i], w[i]);
    buf_str(out, "|\n");
    for (uint32_t i = 0; i < t->columns; i++) {
        buf_str(out, "|-");
        for (size_t k = 0; k < w[i]; k++)
            buf_char(out, '-');
        buf_char(out, '-');
    }
    buf_str(out, "|\n");
    for (uint32_t i = 0; i < t->rows; i++) {
        for (uint32_t k = 0; k < t->columns; k++)
            markdown_cell(out, cell[i * t->columns + k], w[k]);
        buf_str(out, "|\n");
    }
}

// RFC 4180. A cell that a spreadsheet would take for a formula gets an apostrophe.
static void csv_row(const struct slice *cell, uint32_t n, struct buf *out)
{
    for (uint32_t i = 0; i < n; i++) {
        struct slice s = cell[i];
        bool formula = s.n && strchr("=+@", s.p[0]);
        bool quote = formula || memchr(s.p, ',', s.n) || memchr(s.p, '"', s.n) || memchr(s.p, '\n', s.n);
        if (i)
            buf_char(out, ',');
        if (quote)
            buf_char(out, '"');
        if (formula)
            buf_char(out, '\'');
        for (size_t k = 0; k < s.n; k++) {
            if (s.p[k] == '"')
                buf_char(out, '"');
            buf_char(out, s.p[k]);
        }
        if (quote)
            buf_char(out, '"');
    }
    buf_str(out, "\r\n");
}

void table_html(struct buf *out, struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '<')
            buf_str(out, "&lt;");
        else if (c == '>')
            buf_str(out, "&gt;");
        else if (c == '&')
            buf_str(out, "&amp;");
        else if (c == '"')
            buf_str(out, "&quot;");
        else
            buf_char(out, c);
    }
}

static void html_row(const struct slice *cell, uint32_t n, const char *tag, struct buf *out)
{
    buf_str(out, "<tr>");
    for (uint32_t i = 0; i < n; i++) {
        buf_printf(out, "<%s%s>", tag, n > 2 && numeric(cell[i]) ? " class=\"n\"" : "");
        table_html(out, cell[i]);
        buf_printf(out, "</%s>", tag);
    }
    buf_str(out, "</tr>\n");
}

void table_print(const struct table *t, enum results_format f, struct buf *out)
{
    size_t w[TABLE_COLUMNS], n = (size_t)t->rows * t->columns;
    struct slice *cell = ARENA_ARRAY(t->arena, struct slice, n + 1);
    if (!cell)
        return;
    for (uint32_t k = 0; k < t->columns; k++)
        w[k] = width(t->head[k]);
    for (size_t i = 0; i < n; i++) {
        cell[i] = table_line(t->arena, t->cell[i]);
        size_t wide = width(cell[i]);
        w[i % t->columns] = wide > w[i % t->columns] ? wide : w[i % t->columns];
    }
    if (t->title && f == RESULTS_FANCY)
        buf_printf(out, "\n%s\n", t->title);
    else if (t->title && f == RESULTS_MARKDOWN)
        buf_printf(out, "\n## %s\n\n", t->title);
    else if (t->title && f == RESULTS_HTML)
        buf_printf(out, "<h2>%s</h2>\n", t->title);
    if (f == RESULTS_HTML) {
        buf_str(out, "<div class=\"t\"><table>\n");
        html_row(t->head, t->columns, "th", out);
        for (uint32_t i = 0; i < t->rows; i++)
            html_row(cell + i * t->columns, t->columns, "td", out);
        buf_str(out, "</table></div>\n");
    } else if (f == RESULTS_CSV) {
        csv_row(t->head, t->columns, out);
        for (uint32_t i = 0; i < t->rows; i++)
            csv_row(cell + i * t->columns, t->columns, out);
    } else if (f == RESULTS_MARKDOWN) {
        markdown(t, cell, w, out);
    } else {
        grid(t, cell, w, out);
    }
}
