// TraceQL text to a tree, matched against one span.
#include "traceql/traceql.h"
#include "base/limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct traceql *q = NULL;
    struct error err = {0};
    arena_init(&a, MIB(16));
    if (traceql_parse(slice_of(data, size), &a, &q, &err) == ERR_OK) {
        struct batch *b = batch_new(SIGNAL_SPAN, MIB(1));
        struct label service = {SLICE("service_name"), SLICE("x")};
        batch_row(b, 1, batch_resource(b, &service, 1, NULL, 0));
        batch_field_str(b, FIELD_NAME, SLICE("a"));
        batch_set(b, COL_ATTR, SLICE("a"), (struct value){.kind = COL_I64, .i64 = 3});
        batch_seal(b);
        traceql_match(q, b, 0);
        batch_unref(b);
    }
    traceql_free(q);
    arena_free(&a);
    return 0;
}
