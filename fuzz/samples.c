// Any bytes as a request of metrics: the first byte chooses OTLP in protobuf or JSON, a version of remote write, or text. What is
// accepted is sound, and gives the same rows again when a server writes it to its log.
#include "event/sample.h"
#include "event/wire.h"
#include <stdlib.h>

static void must(bool ok)
{
    if (!ok)
        abort();
}

static uint64_t check_rows(const struct batch *b)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < b->n_resources; i++) {
        const struct resource *r = &b->resources[i];
        must(r->n_attrs == 0);
        for (uint32_t k = 0; k < r->n_labels; k++)
            must(r->labels[k].value.n && (!k || slice_cmp(r->labels[k - 1].name, r->labels[k].name) < 0));
        must(!r->n_labels || resource_label(r, SLICE("__name__")).n);
    }
    for (uint32_t row = 0; row < b->rows; row++) {
        struct slice h = column_str(b->field[FIELD_HISTOGRAM], row), e = column_str(b->field[FIELD_EXEMPLARS], row);
        struct histogram_sample sample;
        struct exemplar exemplar;
        struct arena a;
        arena_init(&a, 64 << 20);
        must(!h.n || histogram_decode(h, &a, &sample) == ERR_OK);
        while (exemplar_next(&e, &exemplar))
            ;
        must(!e.n);
        must(b->time[row] % 1000000 == 0);
        sum += batch_row_hash(b, row);
        arena_free(&a);
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum wire_format formats[] = {WIRE_OTLP_METRICS_PB, WIRE_OTLP_METRICS_JSON, WIRE_WRITE1, WIRE_WRITE2,
                                               WIRE_METRICS_TEXT};
    struct wire_options opt = {.received_ns = 1700000000123456789};
    struct wire_report report;
    struct batch *b, *again;
    struct error e = {0};
    struct buf out;
    if (!size)
        return 0;
    if (wire_decode(formats[data[0] % 5], slice_of(data + 1, size - 1), true, &opt, &b, &report, &e) != ERR_OK) {
        must(!b && e.code != ERR_OK && e.code != ERR_BUG);
        return 0;
    }
    uint64_t sum = check_rows(b);
    buf_init(&out, 256 << 20);
    if (!b->field[FIELD_FLAGS]) {
        must(write2_encode(b, &out) == ERR_OK);
        must(wire_decode(WIRE_WRITE2, buf_slice(&out), true, &opt, &again, &report, NULL) == ERR_OK);
        must(again->rows == b->rows && report.rejected == 0);
        must(check_rows(again) == sum);
        batch_unref(again);
    }
    buf_free(&out);
    batch_unref(b);
    return 0;
}
