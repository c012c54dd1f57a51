#include "chat_params.h"
#include "service.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

enum { TOKENS_PER_MESSAGE = 4, TOKENS_OF_TEMPLATE = 3 };

int64_t chat_tokens(struct slice text)
{
    return text.n ? (int64_t)(text.n + 3) / 4 : 0;
}

__attribute__((format(printf, 4, 5))) static bool refuse(struct chat_refusal *no, const char *param, const char *code,
                                                         const char *fmt, ...)
{
    if (no->status)
        return false; // the first reason stays
    *no = (struct chat_refusal){.status = 400, .param = param, .code = code};
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(no->message, sizeof no->message, fmt, ap);
    va_end(ap);
    return false;
}

// content: a string, null, or an array of parts of which those with type text count.
static bool read_content(struct json *j, int64_t *tokens, struct chat_refusal *no)
{
    struct slice text, key;
    switch (json_peek(j)) {
    case JSON_STRING:
        if (json_string(j, &text))
            *tokens += chat_tokens(text);
        return true;
    case JSON_NULL:
        return json_null(j);
    case JSON_ARRAY:
        json_array(j);
        while (!j->failed && json_next_item(j)) {
            if (json_peek(j) != JSON_OBJECT)
                return refuse(no, "messages", NULL, "each part of a message's content is an object with type and text");
            json_object(j);
            while (!j->failed && json_next_key(j, &key)) {
                if (slice_eq(key, SLICE("text")) && json_peek(j) == JSON_STRING) {
                    json_string(j, &text);
                    *tokens += chat_tokens(text);
                } else {
                    json_skip(j, NULL);
                }
            }
        }
        return true;
    default:
        return refuse(no, "messages", NULL, "a message's content is a string or an array of parts");
    }
}

static bool read_message(struct json *j, struct chat_params *p, struct chat_refusal *no)
{
    static const char *const roles[] = {"system", "developer", "user", "assistant", "tool", "function"};
    struct slice key, role = SLICE_NONE;
    bool known = false;
    if (json_peek(j) != JSON_OBJECT)
        return refuse(no, "messages", NULL, "each message is an object with role and content");
    json_object(j);
    while (!j->failed && json_next_key(j, &key)) {
        if (slice_eq(key, SLICE("role")) && json_peek(j) == JSON_STRING)
            json_string(j, &role);
        else if (!slice_eq(key, SLICE("content")))
            json_skip(j, NULL);
        else if (!read_content(j, &p->prompt_tokens, no))
            return false;
    }
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        known |= slice_eq(role, slice_str(roles[i]));
    if (!known && !j->failed)
        return refuse(no, "messages", NULL, "\"%.*s\" is no role; use system, developer, user, assistant or tool",
                      (int)slice_cut(role, 40).n, role.p ? role.p : "");
    p->messages++;
    p->prompt_tokens += TOKENS_PER_MESSAGE;
    return true;
}

static bool read_messages(struct json *j, struct chat_params *p, struct chat_refusal *no)
{
    if (json_peek(j) != JSON_ARRAY)
        return refuse(no, "messages", NULL, "messages is an array of objects with role and content");
    json_array(j);
    while (!j->failed && json_next_item(j))
        if (!read_message(j, p, no))
            return false;
    return true;
}

static bool read_int(struct json *j, const char *name, int64_t min, int64_t max, int64_t *out, struct chat_refusal *no)
{
    if (json_peek(j) == JSON_NULL)
        return json_null(j);
    struct slice text;
    if (json_peek(j) != JSON_NUMBER || !json_number_text(j, &text) || !slice_to_i64(text, out) || *out < min || *out > max)
        return refuse(no, name, NULL, "%s: a whole number from %" PRId64 " to %" PRId64 " is wanted", name, min, max);
    return true;
}

static bool read_f64(struct json *j, const char *name, double max, double *out, bool *has, struct chat_refusal *no)
{
    if (json_peek(j) == JSON_NULL)
        return json_null(j);
    if (json_peek(j) != JSON_NUMBER || !json_f64(j, out) || !(*out >= 0 && *out <= max))
        return refuse(no, name, NULL, "%s: a number from 0 to %g is wanted", name, max);
    *has = true;
    return true;
}

static bool read_bool(struct json *j, const char *name, bool *out, struct chat_refusal *no)
{
    if (json_peek(j) == JSON_NULL)
        return json_null(j);
    if (json_peek(j) != JSON_BOOL || !json_bool(j, out))
        return refuse(no, name, NULL, "%s: true or false is wanted", name);
    return true;
}

static bool read_stream_options(struct json *j, struct chat_params *p, struct chat_refusal *no)
{
    struct slice key;
    if (json_peek(j) == JSON_NULL)
        return json_null(j);
    if (json_peek(j) != JSON_OBJECT)
        return refuse(no, "stream_options", NULL, "stream_options: an object is wanted");
    json_object(j);
    while (!j->failed && json_next_key(j, &key)) {
        if (!slice_eq(key, SLICE("include_usage")))
            json_skip(j, NULL);
        else if (!read_bool(j, "stream_options.include_usage", &p->include_usage, no))
            return false;
    }
    return true;
}

static bool read_key(struct json *j, struct slice key, struct chat_params *p, struct chat_refusal *no)
{
    int64_t one = 1;
    if (slice_eq(key, SLICE("model"))) {
        if (json_peek(j) != JSON_STRING)
            return refuse(no, "model", NULL, "model: the name of a model is wanted");
        return json_string(j, &p->model);
    }
    if (slice_eq(key, SLICE("messages")))
        return read_messages(j, p, no);
    if (slice_eq(key, SLICE("stream")))
        return read_bool(j, "stream", &p->stream, no);
    if (slice_eq(key, SLICE("stream_options")))
        return read_stream_options(j, p, no);
    if (slice_eq(key, SLICE("max_tokens")))
        return read_int(j, "max_tokens", 1, 1000000, &p->max_tokens, no);
    if (slice_eq(key, SLICE("max_completion_tokens")))
        return read_int(j, "max_completion_tokens", 1, 1000000, &p->max_tokens, no);
    if (slice_eq(key, SLICE("n")))
        return read_int(j, "n", 1, 1, &one, no);
    if (slice_eq(key, SLICE("temperature")))
        return read_f64(j, "temperature", 2, &p->temperature, &p->has_temperature, no);
    if (slice_eq(key, SLICE("top_p")))
        return read_f64(j, "top_p", 1, &p->top_p, &p->has_top_p, no);
    return json_skip(j, NULL);
}

static bool check(const struct chat_limits *limits, struct chat_params *p, struct chat_refusal *no)
{
    if (p->model.n == 0)
        return refuse(no, "model", NULL, "you must provide a model parameter");
    if (!slice_eq(p->model, slice_str(limits->model))) {
        refuse(no, "model", "model_not_found", "The model `%.*s` does not exist; GET /v1/models lists what is served",
               (int)slice_cut(p->model, 80).n, p->model.p);
        no->status = 404;
        return false;
    }
    if (p->messages == 0)
        return refuse(no, "messages", NULL, "messages: at least one message is wanted");
    p->prompt_tokens += TOKENS_OF_TEMPLATE;
    if (p->max_tokens == 0) {
        p->max_tokens = chance_between(16, 96);
        p->drawn = true;
    }
    if (p->prompt_tokens + p->max_tokens > limits->context)
        return refuse(no, "messages", "context_length_exceeded",
                      "This model's maximum context length is %" PRId64 " tokens. However, you requested %" PRId64
                      " tokens (%" PRId64 " in the messages, %" PRId64 " in the completion).",
                      limits->context, p->prompt_tokens + p->max_tokens, p->prompt_tokens, p->max_tokens);
    return true;
}

bool chat_params_read(struct slice body, const struct chat_limits *limits, struct arena *a, struct chat_params *out,
                      struct chat_refusal *no)
{
    *out = (struct chat_params){0};
    *no = (struct chat_refusal){0};
    struct error err = {0};
    struct json j;
    struct slice key;
    json_init(&j, body, a, &err);
    bool object = json_peek(&j) == JSON_OBJECT && json_object(&j);
    if (object)
        while (!j.failed && json_next_key(&j, &key))
            if (!read_key(&j, key, out, no) && !j.failed)
                return false;
    if (no->status)
        return false;
    if (!object || j.failed || !json_finish(&j))
        return refuse(no, NULL, NULL, "the body is not a JSON object: %s", err.msg[0] ? err.msg : "an object is wanted");
    return check(limits, out, no);
}
