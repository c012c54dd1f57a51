// A table of texts, printed for a terminal (a grid), as Markdown, CSV or HTML.
#pragma once
#include "results/results_int.h"

enum { TABLE_COLUMNS = 16, TABLE_CELL = 400 };

struct table {
    struct arena *arena;
    const char *title; // may be null
    struct slice head[TABLE_COLUMNS];
    uint32_t columns;
    struct slice *cell; // rows × columns
    uint32_t rows, cap;
};

void table_start(struct table *t, struct arena *a, const char *title, const char *const *head, uint32_t columns);
struct slice *table_row(struct table *t); // columns empty cells to fill; without memory a row that nobody prints
void table_print(const struct table *t, enum results_format f, struct buf *out);
// 1.234, "N/A" for what is not known.
struct slice table_number(struct arena *a, double v, int digits, const char *unit);
struct slice table_count(struct arena *a, uint64_t n);
// As a cell shows it: one line of valid UTF-8 without control characters.
struct slice table_line(struct arena *a, struct slice s);
struct slice table_time(struct arena *a, int64_t ns); // "" for 0
void table_html(struct buf *out, struct slice s);     // escaped
