// Any bytes through the TOML parser: what it takes is printed, parsed again, and must be the same; what it refuses names a place.
#include "base/toml.h"
#include "base/limits.h"
#include <stdlib.h>

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void walk(const struct toml *t)
{
    struct buf path;
    buf_init(&path, MIB(1));
    must(t->line > 0 && t->column > 0);
    if (t->type == TOML_ARRAY || t->type == TOML_TABLE) {
        size_t n = 0;
        for (const struct toml *x = t->first; x; x = x->next, n++) {
            must(x->parent == t);
            if (n < 100) // paths of array items count their way
                toml_path(x, &path);
            walk(x);
        }
        must(n == t->n);
    }
    buf_free(&path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct buf once, twice;
    struct error err = {0};
    struct toml *root;
    arena_init(&a, MIB(256));
    buf_init(&once, MIB(64));
    buf_init(&twice, MIB(64));
    enum errc rc = toml_parse(slice_of(data, size), &a, &root, &err);
    must(rc == err.code && (rc == ERR_OK) == (root != NULL));
    if (rc == ERR_OK) {
        walk(root);
        buf_str(&once, "x = ");
        toml_print(root, &once);
        rc = toml_parse(buf_slice(&once), &a, &root, &err);
        must(rc == ERR_OK || rc == ERR_LIMIT); // one level deeper than before
        if (rc == ERR_OK) {
            buf_str(&twice, "x = ");
            toml_print(toml_get(root, "x"), &twice);
            must(slice_eq(buf_slice(&once), buf_slice(&twice)));
        }
    } else {
        must(slice_starts(slice_str(err.msg), SLICE("line ")));
    }
    arena_free(&a);
    buf_free(&once);
    buf_free(&twice);
    return 0;
}
