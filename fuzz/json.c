// Any bytes through the JSON reader: skipping and walking must agree, and what was read is written and read again.
#include "base/json.h"
#include <stdlib.h>

static struct jw out;

static bool number(struct json *j)
{
    struct json again = *j;
    struct slice text;
    int64_t i;
    uint64_t u;
    double d;
    again.err = NULL;
    json_i64(&again, &i);
    again = *j;
    again.err = NULL;
    json_u64(&again, &u);
    again = *j;
    if (!json_f64(&again, &d) || !json_number_text(j, &text))
        return false;
    jw_f64(&out, d);
    return true;
}

static bool walk(struct json *j)
{
    struct slice s;
    bool b;
    switch (json_peek(j)) {
    case JSON_OBJECT:
        jw_obj(&out);
        for (json_object(j); json_next_key(j, &s);) {
            jw_key(&out, s);
            if (!walk(j))
                return false;
        }
        jw_obj_end(&out);
        return !j->failed;
    case JSON_ARRAY:
        jw_arr(&out);
        for (json_array(j); json_next_item(j);)
            if (!walk(j))
                return false;
        jw_arr_end(&out);
        return !j->failed;
    case JSON_STRING:
        if (!json_string(j, &s))
            return false;
        jw_str(&out, s);
        return true;
    case JSON_NUMBER:
        return number(j);
    case JSON_BOOL:
        if (!json_bool(j, &b))
            return false;
        jw_bool(&out, b);
        return true;
    case JSON_NULL:
        jw_null(&out);
        return json_null(j);
    default:
        return json_skip(j, NULL);
    }
}

static void must(bool ok)
{
    if (!ok)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct buf b;
    struct json j;
    struct error e1 = {0}, e2 = {0}, e3 = {0};
    struct slice text = slice_of(data, size), raw;
    arena_init(&a, 64 << 20);
    buf_init(&b, 256 << 20);
    out = jw_to(&b);
    json_init(&j, text, &a, &e1);
    bool skipped = json_skip(&j, &raw) && json_finish(&j);
    json_init(&j, text, &a, &e2);
    bool walked = walk(&j) && json_finish(&j);
    must(skipped == walked && skipped == (e1.code == ERR_OK) && strcmp(e1.msg, e2.msg) == 0);
    if (walked) {
        json_init(&j, buf_slice(&b), &a, &e3);
        must(json_skip(&j, NULL) && json_finish(&j));
    }
    struct slice bytes;
    if (base64_decode(&a, text, &bytes))
        must(bytes.n <= size);
    arena_free(&a);
    buf_free(&b);
    return 0;
}
