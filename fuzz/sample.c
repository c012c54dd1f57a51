// Any bytes as a stored native histogram, and as stored exemplars: read or refused, and what is read can be written again.
#include "event/sample.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice bytes = slice_of(data, size);
    struct histogram_sample h, again;
    struct exemplar e;
    struct arena a;
    struct buf out;
    arena_init(&a, 64 << 20);
    buf_init(&out, 64 << 20);
    if (histogram_decode(bytes, &a, &h) == ERR_OK) {
        histogram_encode(&h, &out);
        if (histogram_decode(buf_slice(&out), &a, &again) != ERR_OK || again.positive.n != h.positive.n ||
            again.schema != h.schema)
            abort();
    }
    buf_reset(&out);
    while (exemplar_next(&bytes, &e))
        exemplar_encode(&e, &out);
    buf_free(&out);
    arena_free(&a);
    return 0;
}
