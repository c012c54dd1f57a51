#include "query/row.h"
#include "base/utf8.h"
#include <stdlib.h>

#define EXTRACTED SLICE("_extracted")

static struct row_label *find(const struct row *r, struct slice name)
{
    for (uint32_t i = 0; i < r->n; i++)
        if (r->l[i].name.n == name.n && memcmp(r->l[i].name.p, name.p, name.n) == 0)
            return &r->l[i];
    return NULL;
}

struct slice row_get(const struct row *r, struct slice name, bool *found)
{
    struct slice special = {0};
    if (name.n > 4 && name.p[0] == '_' && name.p[1] == '_') {
        if (slice_eq(name, LABEL_ERROR))
            special = r->error;
        else if (slice_eq(name, LABEL_ERROR_DETAILS))
            special = r->error_details;
    }
    struct row_label *l = special.n ? NULL : find(r, name);
    if (found)
        *found = l || special.n;
    return l ? l->value : special.n ? special : slice_of("", 0);
}

void row_set(struct row *r, struct slice name, struct slice value, enum label_from from)
{
    if (slice_eq(name, LABEL_ERROR)) {
        r->error = value;
        return;
    }
    if (slice_eq(name, LABEL_ERROR_DETAILS)) {
        r->error_details = value;
        return;
    }
    struct row_label *l = find(r, name);
    if (!l && r->n < MAX_ROW_LABELS)
        l = &r->l[r->n++];
    if (l)
        *l = (struct row_label){name, value, from};
}

bool label_wanted(const struct slice *names, uint32_t n, struct slice name)
{
    if (!names)
        return true;
    for (uint32_t i = 0; i < n; i++)
        if (slice_starts(names[i], name) && (names[i].n == name.n || slice_eq(slice_from(names[i], name.n), EXTRACTED)))
            return true;
    return false;
}

bool row_wants(const struct row *r, struct slice name)
{
    return label_wanted(r->wanted, r->n_wanted, name);
}

bool row_extract(struct row *r, struct slice name, struct slice value, bool first_wins)
{
    if (!row_wants(r, name))
        return false;
    struct row_label *l = find(r, name);
    if (l && l->from != FROM_PARSED) {
        char *p = arena_alloc(r->scratch, name.n + EXTRACTED.n);
        if (!p)
            return false;
        memcpy(p, name.p, name.n);
        memcpy(p + name.n, EXTRACTED.p, EXTRACTED.n);
        name = slice_of(p, name.n + EXTRACTED.n);
        l = find(r, name);
        if (l && l->from != FROM_PARSED) { // the parsed one wins here
            *l = (struct row_label){name, value, FROM_PARSED};
            return true;
        }
    }
    if (l && first_wins)
        return false;
    if (!l && r->n < MAX_ROW_LABELS)
        l = &r->l[r->n++];
    if (l)
        *l = (struct row_label){name, value, FROM_PARSED};
    return l != NULL;
}

void row_drop(struct row *r, struct slice name)
{
    if (slice_eq(name, LABEL_ERROR)) { // takes its details along
        r->error = r->error_details = SLICE_NONE;
        return;
    }
    if (slice_eq(name, LABEL_ERROR_DETAILS)) {
        r->error_details = SLICE_NONE;
        return;
    }
    struct row_label *l = find(r, name);
    if (l)
        *l = r->l[--r->n];
}

void row_fail(struct row *r, struct slice error, struct slice details)
{
    if (r->error.n)
        return;
    r->error = error;
    r->error_details = details;
}

static bool word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

struct slice row_name(struct arena *a, struct slice text, struct slice digit_prefix)
{
    bool digit = text.n && text.p[0] >= '0' && text.p[0] <= '9';
    size_t i = 0;
    while (i < text.n && word(text.p[i]))
        i++;
    if (i == text.n && !digit)
        return text;
    char *out = arena_alloc(a, text.n + digit_prefix.n), *p = out;
    if (!out)
        return slice_of("", 0);
    if (digit) {
        memcpy(p, digit_prefix.p, digit_prefix.n);
        p += digit_prefix.n;
    }
    for (size_t k = 0; k < text.n;) {
        int len = 1;
        if (word(text.p[k])) {
            *p++ = text.p[k];
        } else {
            utf8_decode(slice_from(text, k), &len);
            *p++ = '_';
        }
        k += (size_t)len;
    }
    return slice_of(out, (size_t)(p - out));
}

bool label_name_valid(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!word(s.p[i]) || (i == 0 && s.p[i] >= '0' && s.p[i] <= '9'))
            return false;
    return s.n > 0;
}

static int by_name(const void *a, const void *b)
{
    return slice_cmp(((const struct row_label *)a)->name, ((const struct row_label *)b)->name);
}

struct row_label *row_labels(const struct row *r, struct arena *a, uint32_t *n)
{
    struct row_label *out = arena_alloc(a, sizeof *out * (r->n + 2u));
    if (!out)
        return NULL;
    uint32_t k = 0;
    for (uint32_t i = 0; i < r->n; i++)
        if (r->l[i].value.n || r->l[i].from == FROM_PARSED)
            out[k++] = r->l[i];
    if (r->error.n)
        out[k++] = (struct row_label){LABEL_ERROR, r->error, FROM_PARSED};
    if (r->error_details.n)
        out[k++] = (struct row_label){LABEL_ERROR_DETAILS, r->error_details, FROM_PARSED};
    bool sorted = true;
    for (uint32_t i = 1; i < k && sorted; i++)
        sorted = slice_cmp(out[i - 1].name, out[i].name) < 0;
    if (!sorted)
        qsort(out, k, sizeof *out, by_name);
    *n = k;
    return out;
}

uint64_t label_hash(struct slice name, struct slice value)
{
    return hash64_seed(value.p, value.n, hash64(name.p, name.n));
}
