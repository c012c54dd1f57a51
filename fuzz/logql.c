// Any text: it is refused with an error, or what is printed of it parses again and prints the same. Plans are made too,
// so that paths, templates and regular expressions are fed.
#include "logql/logql.h"
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct logql *a, *b;
    struct error err = {0};
    struct slice text = slice_of(data, size);
    if (size > 4096)
        return 0;
    if (logql_parse(&a, text, &err) != ERR_OK) {
        if (!err.msg[0] || logql_error_at(text, &err) > (long)size)
            abort();
        return 0;
    }
    struct buf one, two;
    buf_init(&one, 1 << 20);
    buf_init(&two, 1 << 20);
    logql_print(a, &one);
    err = (struct error){0};
    if (logql_parse(&b, buf_slice(&one), &err) != ERR_OK) {
        fprintf(stderr, "printed text does not parse: %.*s\n%s\n", (int)one.n, one.p, err.msg);
        abort();
    }
    logql_print(b, &two);
    if (!slice_eq(buf_slice(&one), buf_slice(&two))) {
        fprintf(stderr, "printed twice, two texts:\n%.*s\n%.*s\n", (int)one.n, one.p, (int)two.n, two.p);
        abort();
    }
    struct logql_plan *plan;
    err = (struct error){0};
    if (logql_plan(&plan, a, 0, &err) == ERR_OK)
        logql_plan_free(plan);
    else if (!err.msg[0])
        abort();
    buf_free(&one);
    buf_free(&two);
    logql_free(a);
    logql_free(b);
    return 0;
}
