// Any bytes as a Loki push in JSON: the first byte chooses whether service names are discovered.
#include "event/wire.h"
#include <stdlib.h>

static void must(bool ok)
{
    if (!ok)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct wire_options opt = {.received_ns = 1, .discover_service = data[0] & 1};
    struct wire_report report;
    struct batch *b;
    struct error e = {0};
    if (wire_decode(WIRE_LOKI_JSON, slice_of(data + 1, size - 1), true, &opt, &b, &report, &e) != ERR_OK) {
        must(!b && e.code != ERR_OK && e.code != ERR_BUG);
        return 0;
    }
    must(b->sealed && report.accepted == b->rows && report.n_reasons <= 10);
    struct buf out;
    buf_init(&out, 64 << 20);
    for (uint32_t r = 0; r < b->rows; r++) {
        const struct resource *of = &b->resources[b->resource[r]];
        must(of->n_labels > 0 && (!opt.discover_service || resource_label(of, SLICE("service_name")).n));
        for (uint32_t k = 0; k < b->n_columns; k++) {
            struct value v;
            if (column_value(&b->columns[k], r, &v))
                value_text(&out, &v);
        }
    }
    struct batch *merged = batch_merge(&b, 1, 64 << 20);
    must(merged && merged->rows == b->rows);
    batch_unref(merged);
    batch_unref(b);
    buf_free(&out);
    return 0;
}
