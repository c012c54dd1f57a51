// What the tests of event/ share: batches as text, requests by hand.
#pragma once
// cmocka wants these four first.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/pb.h"
#include "event/wire.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

static inline int text_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

// Joins sorted parts; frees them.
static inline char *joined(char **parts, size_t n)
{
    struct buf b;
    buf_init(&b, (size_t)1 << 30);
    qsort(parts, n, sizeof *parts, text_order);
    for (size_t i = 0; i < n; i++) {
        buf_str(&b, parts[i]);
        buf_char(&b, '\n');
        free(parts[i]);
    }
    buf_char(&b, 0);
    return b.p;
}

static inline char *cell_text(const char *where, struct slice name, const struct value *v)
{
    struct buf b;
    buf_init(&b, (size_t)1 << 28);
    buf_printf(&b, "  %s %.*s %d=", where, (int)name.n, name.p, (int)v->kind);
    if (column_is_text(v->kind) && v->kind != COL_STR)
        buf_hex(&b, v->s.p, v->s.n);
    else
        value_text(&b, v);
    buf_char(&b, 0);
    return b.p;
}

// One row with all that belongs to it, independent of the order of columns and attributes.
static inline char *row_text(const struct batch *b, uint32_t row)
{
    const struct resource *r = &b->resources[b->resource[row]];
    char **parts = malloc((b->n_columns + r->n_labels + r->n_attrs + 1) * sizeof *parts);
    size_t n = 0;
    struct value v = {.kind = COL_I64, .i64 = b->time[row]};
    parts[n++] = cell_text("@time", SLICE(""), &v);
    for (uint32_t i = 0; i < r->n_labels; i++)
        parts[n++] = cell_text("label", r->labels[i].name, &(struct value){.kind = COL_STR, .s = r->labels[i].value});
    for (uint32_t i = 0; i < r->n_attrs; i++)
        parts[n++] = cell_text("resource", r->attrs[i].key, &r->attrs[i].value);
    for (uint32_t i = 0; i < b->n_columns; i++) {
        const struct column *c = &b->columns[i];
        static const char *const scope[] = {"field", "attr", "scope"};
        if (column_value(c, row, &v))
            parts[n++] = cell_text(scope[c->scope], c->scope == COL_FIELD ? slice_str(field_text(c->field)) : c->name, &v);
    }
    char *text = joined(parts, n);
    free(parts);
    return text;
}

// All rows, sorted.
static inline char *batch_text(const struct batch *b)
{
    char **rows = malloc((b->rows + 1) * sizeof *rows);
    for (uint32_t i = 0; i < b->rows; i++)
        rows[i] = row_text(b, i);
    char *text = joined(rows, b->rows);
    free(rows);
    return text;
}

static inline void assert_same_rows(const struct batch *a, const struct batch *b)
{
    char *x = batch_text(a), *y = batch_text(b);
    assert_string_equal(x, y);
    free(x);
    free(y);
}

// The invariants that every sealed batch promises.
static inline void assert_sound(const struct batch *b)
{
    assert_true(b->sealed);
    for (uint32_t i = 0; i < b->rows; i++) {
        assert_true(b->resource[i] < b->n_resources);
        assert_true(b->time[i] >= b->min_time && b->time[i] <= b->max_time);
    }
    for (uint32_t k = 0; k < b->n_columns; k++) {
        const struct column *c = &b->columns[k];
        assert_true(c->n > 0 && c->n <= b->rows);
        if (!c->row)
            assert_int_equal(c->n, b->rows);
        for (uint32_t i = 0; c->row && i < c->n; i++)
            assert_true(c->row[i] < b->rows && (!i || c->row[i] > c->row[i - 1]));
        if (c->scope == COL_FIELD)
            assert_ptr_equal(b->field[c->field], c);
    }
}

static const struct wire_options test_options = {.received_ns = 1700000000000000000};

// Decodes what must be readable.
static inline struct batch *decoded(enum wire_format f, struct slice bytes, struct wire_report *report)
{
    struct batch *b = NULL;
    struct error e = {0};
    struct wire_report own;
    enum errc rc = wire_decode(f, bytes, false, &test_options, &b, report ? report : &own, &e);
    if (rc != ERR_OK)
        fail_msg("%s: %s", wire_text(f), e.msg);
    assert_sound(b);
    return b;
}

static inline struct slice cell(const struct batch *b, enum field f, uint32_t row)
{
    return column_str(b->field[f], row);
}

#define assert_slice(s, text)                       \
    do {                                            \
        struct slice s_ = (s);                      \
        char *t_ = strndup(s_.n ? s_.p : "", s_.n); \
        assert_string_equal(t_, text);              \
        free(t_);                                   \
    } while (0)
