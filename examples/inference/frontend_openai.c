#include "frontend.h"

static void head(struct jw *w, const struct chat *c, struct slice object)
{
    char id[64];
    int n = snprintf(id, sizeof id, "chatcmpl-%s", c->request_id);
    jw_obj(w);
    JW_KEY(w, "id");
    jw_str(w, slice_of(id, (size_t)n));
    JW_KEY(w, "object");
    jw_str(w, object);
    JW_KEY(w, "created");
    jw_i64(w, c->created);
    JW_KEY(w, "model");
    jw_str(w, slice_str(c->model));
}

static void usage(struct jw *w, const struct chat *c)
{
    JW_KEY(w, "usage");
    jw_obj(w);
    JW_KEY(w, "prompt_tokens");
    jw_i64(w, c->p.prompt_tokens);
    JW_KEY(w, "completion_tokens");
    jw_i64(w, c->tokens);
    JW_KEY(w, "total_tokens");
    jw_i64(w, c->p.prompt_tokens + c->tokens);
    jw_obj_end(w);
}

static void finish_reason(struct jw *w, const char *finish)
{
    JW_KEY(w, "finish_reason");
    if (finish)
        jw_str(w, slice_str(finish));
    else
        jw_null(w);
}

void openai_completion(const struct chat *c, struct buf *out)
{
    struct jw w = jw_to(out);
    head(&w, c, SLICE("chat.completion"));
    JW_KEY(&w, "choices");
    jw_arr(&w);
    jw_obj(&w);
    JW_KEY(&w, "index");
    jw_i64(&w, 0);
    JW_KEY(&w, "message");
    jw_obj(&w);
    JW_KEY(&w, "role");
    jw_str(&w, SLICE("assistant"));
    JW_KEY(&w, "content");
    jw_str(&w, buf_slice(&c->text));
    jw_obj_end(&w);
    JW_KEY(&w, "logprobs");
    jw_null(&w);
    finish_reason(&w, c->finish);
    jw_obj_end(&w);
    jw_arr_end(&w);
    usage(&w, c);
    jw_obj_end(&w);
}

void openai_delta(const struct chat *c, const char *role, struct slice content, const char *finish, struct buf *out)
{
    buf_str(out, "data: ");
    struct jw w = jw_to(out);
    head(&w, c, SLICE("chat.completion.chunk"));
    JW_KEY(&w, "choices");
    jw_arr(&w);
    jw_obj(&w);
    JW_KEY(&w, "index");
    jw_i64(&w, 0);
    JW_KEY(&w, "delta");
    jw_obj(&w);
    if (role) {
        JW_KEY(&w, "role");
        jw_str(&w, slice_str(role));
    }
    if (!finish) {
        JW_KEY(&w, "content");
        jw_str(&w, content);
    }
    jw_obj_end(&w);
    finish_reason(&w, finish);
    jw_obj_end(&w);
    jw_arr_end(&w);
    jw_obj_end(&w);
    buf_str(out, "\n\n");
}

void openai_usage(const struct chat *c, struct buf *out)
{
    buf_str(out, "data: ");
    struct jw w = jw_to(out);
    head(&w, c, SLICE("chat.completion.chunk"));
    JW_KEY(&w, "choices");
    jw_arr(&w);
    jw_arr_end(&w);
    usage(&w, c);
    jw_obj_end(&w);
    buf_str(out, "\n\n");
}

void openai_model(struct jw *w)
{
    jw_obj(w);
    JW_KEY(w, "id");
    jw_str(w, slice_str(front.set.model));
    JW_KEY(w, "object");
    jw_str(w, SLICE("model"));
    JW_KEY(w, "created");
    jw_i64(w, front.started);
    JW_KEY(w, "owned_by");
    jw_str(w, SLICE("sonde"));
    jw_obj_end(w);
}

void openai_models(struct buf *out)
{
    struct jw w = jw_to(out);
    jw_obj(&w);
    JW_KEY(&w, "object");
    jw_str(&w, SLICE("list"));
    JW_KEY(&w, "data");
    jw_arr(&w);
    openai_model(&w);
    jw_arr_end(&w);
    jw_obj_end(&w);
}
