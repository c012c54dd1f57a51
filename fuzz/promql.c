// PromQL: any text either is refused with a place, or prints to a text that parses and prints the same; then it is evaluated over
// a few samples.
#include "base/limits.h"
#include "promql/engine.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void evaluate(const struct promql *p)
{
    struct batch *b = batch_new(SIGNAL_SAMPLE, MIB(1));
    for (uint32_t i = 0; i < 3; i++) {
        struct label l[] = {{SLICE("__name__"), SLICE("a")}, {SLICE("b"), slice_of("xyz" + i, 1)}};
        uint32_t r = batch_resource(b, l, 2, NULL, 0);
        for (int t = 0; t < 8; t++) {
            batch_row(b, (t * 15000ll + 1000) * 1000000, r);
            batch_field_f64(b, FIELD_VALUE, t * (i + 1) % 5);
        }
    }
    batch_seal(b);
    const struct batch *const all[] = {b};
    struct batch_list list = {all, 1};
    struct query_limits limits;
    struct prom_result out;
    struct query q;
    query_limits_default(&limits);
    limits.max_memory = MIB(64);
    limits.timeout_ns = 2000000000;
    if (query_init(&q, query_source_batches(&list), SLICE("t"), &limits, NULL) == ERR_OK) {
        struct prom_request r;
        prom_request_default(&r);
        r.max_samples = 100000;
        r.end = 120000, r.step = 30000;
        promql_eval(&q, p, &r, &out, NULL);
        r.start = r.end, r.instant = true;
        promql_eval(&q, p, &r, &out, NULL);
    }
    query_free(&q);
    batch_unref(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct promql *q = NULL, *again = NULL;
    struct error err = {0};
    struct buf one, two;
    if (size > 4096)
        return 0;
    buf_init(&one, MIB(1));
    buf_init(&two, MIB(1));
    if (promql_parse(&q, slice_of(data, size), &err) == ERR_OK) {
        promql_print(q->root, &one);
        if (promql_parse(&again, buf_slice(&one), NULL) != ERR_OK)
            abort();
        promql_print(again->root, &two);
        if (!slice_eq(buf_slice(&one), buf_slice(&two)))
            abort();
        buf_reset(&two);
        promql_print_pretty(q->root, &two);
        evaluate(q);
    }
    promql_free(q);
    promql_free(again);
    buf_free(&one);
    buf_free(&two);
    return 0;
}
