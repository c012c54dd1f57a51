// What toml-test (https://github.com/toml-lang/toml-test) asks of a decoder: TOML on stdin, tagged JSON on stdout; exit status 1
// and a sentence on stderr when the text is no TOML.
#include "base/json.h"
#include "base/limits.h"
#include "base/toml.h"

#include <stdio.h>
#include <unistd.h>

static void put(struct jw *w, const struct toml *t)
{
    static const char *const names[] = {"string",   "integer",        "float",      "bool",
                                        "datetime", "datetime-local", "date-local", "time-local"};
    if (t->type == TOML_ARRAY) {
        jw_arr(w);
        for (const struct toml *x = t->first; x; x = x->next)
            put(w, x);
        jw_arr_end(w);
        return;
    }
    jw_obj(w);
    if (t->type == TOML_TABLE) {
        for (const struct toml *x = t->first; x; x = x->next) {
            jw_key(w, x->key);
            put(w, x);
        }
    } else {
        struct buf text;
        buf_init(&text, MAX_TOML_TEXT);
        if (t->type == TOML_STRING)
            buf_add(&text, t->text);
        else
            toml_print(t, &text);
        JW_KEY(w, "type");
        jw_str(w, slice_str(names[t->type]));
        JW_KEY(w, "value");
        jw_str(w, buf_slice(&text));
        buf_free(&text);
    }
    jw_obj_end(w);
}

int main(void)
{
    struct arena arena;
    struct buf in, out;
    struct error err = {0};
    struct toml *root;
    ssize_t n = 1;
    arena_init(&arena, MIB(512));
    buf_init(&in, MAX_TOML_TEXT);
    buf_init(&out, MIB(512));
    while (n > 0 && buf_reserve(&in, KIB(64)) && (n = read(STDIN_FILENO, in.p + in.n, KIB(64))) > 0)
        in.n += (size_t)n;
    enum errc rc = toml_parse(buf_slice(&in), &arena, &root, &err);
    if (rc == ERR_OK) {
        struct jw w = jw_to(&out);
        put(&w, root);
        printf("%.*s\n", (int)out.n, out.p);
    } else {
        fprintf(stderr, "%s\n", err.msg);
    }
    arena_free(&arena);
    buf_free(&in);
    buf_free(&out);
    return rc != ERR_OK;
}
