// Prints a part: what it covers, its columns, blocks and resources; what is damaged is said and passed over.
#include "base/clock.h"
#include "base/limits.h"
#include "store/part_format.h"
#include "store/store.h"
#include <unistd.h>

static void print_time(struct buf *out, int64_t t)
{
    char text[40];
    int n = time_format(text, t, 9, false);
    buf_put(out, text, (size_t)n);
}

static void print_columns(const struct part *p, struct buf *out)
{
    static const char *const scope[] = {"field", "attr", "scope"};
    static const char *const kind[] = {"i64", "f64", "bool", "str", "bytes", "any", "id64", "id128"};
    for (uint32_t i = 0; i < p->info.n_columns; i++) {
        const struct part_column *c = &p->columns[i];
        struct slice name = c->scope == COL_FIELD ? slice_str(field_text(c->field)) : c->name;
        buf_printf(out, "  column %-4u %-6s %-6s ", i, scope[c->scope], kind[c->kind]);
        buf_add(out, name);
        buf_char(out, '\n');
    }
}

static void print_resources(struct part *p, int fd, struct buf *out)
{
    struct error err = {0};
    if (part_resources(p, fd, &err) != ERR_OK) {
        buf_printf(out, "  resources: %s\n", err.msg);
        return;
    }
    for (uint32_t i = 0; i < p->info.n_resources; i++) {
        const struct resource *r = &p->resources[i];
        buf_printf(out, "  resource %-4u {", i);
        for (uint32_t k = 0; k < r->n_labels; k++) {
            buf_str(out, k ? ", " : "");
            buf_add(out, r->labels[k].name);
            buf_str(out, "=\"");
            buf_add(out, r->labels[k].value);
            buf_char(out, '"');
        }
        buf_printf(out, "} %u attributes\n", r->n_attrs);
    }
}

// Reads every column of the block, so that every checksum is compared.
static void print_block(struct part *p, int fd, struct part_cursor *c, uint32_t i, bool verbose, struct buf *out)
{
    static const char *const encoding[] = {"plain", "delta", "runs", "dict", "steps", "numbers"};
    const struct part_block *b = &p->blocks[i];
    buf_printf(out, "  block %-4u %5u rows  ", i, b->rows);
    print_time(out, b->min_time);
    buf_str(out, " … ");
    print_time(out, b->max_time);
    buf_printf(out, "  resources %u…%u  filter %u bytes\n", b->min_resource, b->max_resource, b->bloom.raw);
    struct error err = {0};
    enum errc rc = part_cursor_block(c, p, fd, i, &err);
    if (rc != ERR_OK) {
        buf_printf(out, "    DAMAGED %s\n", err.msg);
        return;
    }
    for (uint32_t k = 0; k < c->n_chunks; k++) {
        const struct part_chunk *h = &c->chunks[k];
        if (verbose)
            buf_printf(out, "    column %-4d %5u values  %-5s %8u bytes of %u at %llu\n", (int)h->column - PART_FIRST_COLUMN,
                       h->n, h->encoding <= PART_NUMBERS ? encoding[h->encoding] : "?", h->piece.stored, h->piece.raw,
                       (unsigned long long)h->piece.offset);
        if (h->column < PART_FIRST_COLUMN)
            continue;
        struct error e = {0};
        if (part_cursor_column(c, h->column - PART_FIRST_COLUMN, &e) != ERR_OK)
            buf_printf(out, "    DAMAGED %s\n", e.msg);
    }
}

enum errc part_inspect(const char *path, bool verbose, struct buf *out, struct error *err)
{
    struct part *p;
    TRY(part_open(path, &p, err));
    int fd = part_file(p, err);
    if (fd < 0) {
        part_unref(p);
        return ERR_IO;
    }
    const struct part_info *f = &p->info;
    buf_printf(out, "part of %s, tenant \"%.*s\", sequences %llu … %llu, %llu rows, %llu bytes\n  ",
               f->signal == SIGNAL_LOG    ? "logs"
               : f->signal == SIGNAL_SPAN ? "spans"
                                          : "samples",
               (int)f->tenant.n, f->tenant.n ? f->tenant.p : "", (unsigned long long)f->first, (unsigned long long)f->last,
               (unsigned long long)f->rows, (unsigned long long)f->bytes);
    print_time(out, f->min_time);
    buf_str(out, " … ");
    print_time(out, f->max_time);
    buf_printf(out, "  %u resources, %u columns, %u blocks\n", f->n_resources, f->n_columns, f->n_blocks);
    print_columns(p, out);
    print_resources(p, fd, out);
    struct part_cursor c;
    part_cursor_init(&c, MAX_QUERY_MEMORY);
    for (uint32_t i = 0; i < f->n_blocks; i++)
        print_block(p, fd, &c, i, verbose, out);
    part_cursor_free(&c);
    close(fd);
    part_unref(p);
    return out->err;
}
