// A part of arbitrary bytes: read wholly, with and without its checksums compared.
#include "store/part.h"
#include "base/limits.h"

static void read_all(struct slice bytes, bool verify)
{
    struct part *p;
    struct part_cursor c;
    uint64_t sum = 0;
    if (part_open_memory(bytes, verify, &p, NULL) != ERR_OK)
        return;
    part_cursor_init(&c, MIB(64));
    part_resources(p, -1, NULL);
    for (uint32_t b = 0; b < p->info.n_blocks; b++) {
        bool may;
        part_may_have_trace(p, -1, b, (struct id128){1, 2}, &may, NULL);
        if (part_cursor_block(&c, p, -1, b, NULL) != ERR_OK)
            continue;
        for (uint32_t i = 0; i < p->info.n_columns; i++)
            part_cursor_column(&c, i, NULL);
        for (uint32_t i = 0; i < c.out.n_columns; i++) {
            const struct column *k = &c.out.columns[i];
            for (uint32_t v = 0; v < k->n; v++) {
                sum += k->row ? c.out.time[k->row[v]] : c.out.resource[v];
                if (column_is_text(k->kind) && k->s[v].n)
                    sum += (unsigned char)k->s[v].p[0] + (unsigned char)k->s[v].p[k->s[v].n - 1];
            }
        }
        for (uint32_t r = 0; r < c.out.rows; r++)
            sum += c.out.resources[c.out.resource[r]].n_labels;
    }
    part_cursor_free(&c);
    part_unref(p);
    static volatile uint64_t keep;
    keep = sum;
    (void)keep;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_all(slice_of(data, size), true);
    read_all(slice_of(data, size), false);
    return 0;
}
