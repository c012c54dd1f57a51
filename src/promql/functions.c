#include "promql/functions.h"

#define S PROM_SCALAR
#define V PROM_VECTOR
#define M PROM_MATRIX
#define T PROM_STRING
static const struct prom_function table[FN_COUNT] = {
#define X(id, result, variadic, n, ...) {#id, FN_##id, result, variadic, n, {__VA_ARGS__}},
    PROM_FUNCTION_LIST(X)
#undef X
};

const struct prom_function *prom_function_find(struct slice name)
{
    size_t low = 0, high = FN_COUNT;
    while (low < high) {
        size_t mid = (low + high) / 2;
        int c = slice_cmp(name, slice_str(table[mid].name));
        if (c == 0)
            return &table[mid];
        if (c < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

const struct prom_function *prom_function_at(size_t i)
{
    return i < FN_COUNT ? &table[i] : NULL;
}

const char *prom_type_text(enum prom_type t)
{
    static const char *const text[] = {"none", "scalar", "instant vector", "range vector", "string"};
    return text[t];
}
