// Values of small JSON files by a path of keys.
#include "base/json.h"
#include "results/results_int.h"

static bool into_object(struct json *j, struct slice want)
{
    struct slice key;
    json_object(j);
    while (json_next_key(j, &key)) {
        if (slice_eq(key, want))
            return true;
        json_skip(j, NULL);
    }
    return false;
}

static bool into_array(struct json *j, struct slice want)
{
    uint64_t index;
    if (!slice_to_u64(want, &index))
        return false;
    json_array(j);
    while (json_next_item(j)) {
        if (index-- == 0)
            return true;
        json_skip(j, NULL);
    }
    return false;
}

bool result_json(struct slice text, const char *path, struct arena *a, struct slice *raw, struct error *err)
{
    struct json j;
    struct slice rest = slice_str(path), part;
    json_init(&j, text, a, err);
    while (slice_split(&rest, '.', &part)) {
        enum json_type type = json_peek(&j);
        if (type == JSON_OBJECT ? !into_object(&j, part) : type != JSON_ARRAY || !into_array(&j, part))
            return false;
    }
    return json_skip(&j, raw);
}

static char json_kind(struct slice text)
{
    text = slice_trim(text);
    return text.n ? text.p[0] : 0;
}

bool result_json_whole(struct slice text, struct arena *a, struct error *err)
{
    struct json j;
    json_init(&j, text, a, err);
    return json_skip(&j, NULL) && json_finish(&j) && (json_kind(text) == '{' || ERR(err, INPUT, "no JSON object") == ERR_OK);
}

void result_json_lenient(struct slice text)
{
    static const struct slice words[] = {SLICE_INIT("NaN"), SLICE_INIT("-Infinity"), SLICE_INIT("Infinity")};
    bool quoted = false;
    for (size_t i = 0; i < text.n; i++) {
        char *p = (char *)text.p + i;
        if (*p == '"')
            quoted = !quoted;
        else if (*p == '\\' && quoted)
            i++;
        for (size_t k = 0; !quoted && k < 3; k++)
            if (slice_starts(slice_from(text, i), words[k])) {
                memset(p, ' ', words[k].n);
                memcpy(p, "\"\"", 2);
                i += words[k].n - 1;
                break;
            }
    }
}

double result_json_number(struct slice text, const char *path, struct arena *a)
{
    struct slice raw;
    struct json j;
    double v;
    if (!result_json(text, path, a, &raw, NULL))
        return NAN;
    json_init(&j, raw, a, NULL);
    enum json_type type = json_peek(&j);
    return (type == JSON_NUMBER || type == JSON_STRING) && json_f64(&j, &v) ? v : NAN;
}

struct slice result_json_text(struct slice text, const char *path, struct arena *a)
{
    struct slice raw, out;
    struct json j;
    if (!result_json(text, path, a, &raw, NULL))
        return SLICE("");
    json_init(&j, raw, a, NULL);
    return json_peek(&j) == JSON_STRING && json_string(&j, &out) ? out : raw;
}
