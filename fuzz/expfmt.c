// The text of metrics, as an engine or a file gives it. What is accepted comes out in a form that is accepted again and then
// comes out unchanged; its OpenMetrics form is made too.
#include "sdk/metric.h"
#include "sdk/metric_parse.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct expfmt one, two;
    struct buf first, second, om;
    struct error err = {0};
    arena_init(&a, MIB(64));
    buf_init(&first, MIB(16));
    buf_init(&second, MIB(16));
    buf_init(&om, MIB(64));
    if (expfmt_parse(&one, slice_of(data, size), &a, &err) == ERR_OK) {
        expfmt_write(&one, &first);
        for (uint32_t i = 0; i < one.n_families; i++)
            expfmt_write_family(&one, &one.families[i], true, &om);
        if (first.err != ERR_OK || expfmt_parse(&two, buf_slice(&first), &a, &err) != ERR_OK)
            abort();
        expfmt_write(&two, &second);
        if (!slice_eq(buf_slice(&first), buf_slice(&second)) || one.n_samples != two.n_samples)
            abort();
        if (expfmt_merge(&two, &a) != ERR_OK || two.n_samples > one.n_samples)
            abort();
        for (uint32_t i = 0; i < two.n_families; i++) {
            metric_proto_text(&two, &two.families[i], NULL, &om);
            for (uint32_t k = 0; k < i && k < 100; k++) // each name once
                if (slice_eq(two.families[i].name, two.families[k].name))
                    abort();
        }
        expfmt_own_created(&two);
        for (uint32_t i = 0; i < two.n_families; i++)
            if (!two.families[i].hidden)
                expfmt_write_family(&two, &two.families[i], true, &om);
    } else if (err.code == ERR_OK || !err.msg[0]) {
        abort();
    }
    buf_free(&first);
    buf_free(&second);
    buf_free(&om);
    arena_free(&a);
    return 0;
}
