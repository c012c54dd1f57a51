// Any bytes as an OTLP request in JSON: the first byte chooses logs or traces. What is accepted can be encoded and gives the same
// rows again.
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
    enum wire_format f = data[0] & 1 ? WIRE_OTLP_TRACES_JSON : WIRE_OTLP_LOGS_JSON;
    struct wire_options opt = {.received_ns = 1};
    struct wire_report report;
    struct batch *b, *again;
    struct error e = {0};
    if (wire_decode(f, slice_of(data + 1, size - 1), true, &opt, &b, &report, &e) != ERR_OK) {
        must(!b && e.code != ERR_OK && e.code != ERR_BUG);
        return 0;
    }
    struct buf out;
    buf_init(&out, 64 << 20);
    must(otlp_encode_json(b, NULL, 0, &out) == ERR_OK);
    must(wire_decode(f, buf_slice(&out), true, &opt, &again, &report, NULL) == ERR_OK);
    must(again->rows == b->rows && report.rejected == 0);
    // A merge changes the order of rows only.
    struct batch *merged = batch_merge(&b, 1, 64 << 20);
    must(merged && merged->rows == b->rows);
    uint64_t sums[2] = {0};
    for (uint32_t r = 0; r < b->rows; r++) {
        sums[0] += batch_row_hash(b, r);
        sums[1] += batch_row_hash(merged, r);
    }
    must(sums[0] == sums[1]);
    batch_unref(merged);
    batch_unref(again);
    batch_unref(b);
    buf_free(&out);
    return 0;
}
