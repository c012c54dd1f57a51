// sonde/genai.h: names and attributes of spans of generative AI.
#include <sonde/genai.h>
#include <stdio.h>

enum { FIELDS_MAX = 32 };
struct fields {
    struct sonde_field at[FIELDS_MAX];
    size_t n;
};

static void add(struct fields *f, const char *key, enum sonde_type type, struct sonde_arg arg)
{
    if (f->n < FIELDS_MAX)
        f->at[f->n++] = (struct sonde_field){key, (unsigned char)type, arg};
}
static void text(struct fields *f, const char *key, const char *value)
{
    if (value)
        add(f, key, SONDE_TYPE_STR, sonde_arg_str(value));
}
static void number(struct fields *f, const char *key, int64_t value)
{
    if (value)
        add(f, key, SONDE_TYPE_INT, sonde_arg_int(value));
}
static void real(struct fields *f, const char *key, const double *value)
{
    if (value)
        add(f, key, SONDE_TYPE_F64, sonde_arg_f64(*value));
}
static void seconds(struct fields *f, const char *key, double value)
{
    if (value > 0)
        add(f, key, SONDE_TYPE_F64, sonde_arg_f64(value));
}
static void texts(struct fields *f, const char *key, const char *const *p, size_t n)
{
    if (n)
        add(f, key, SONDE_TYPE_STRS, sonde_arg_strs(p, n));
}

// ---- requests and responses -----------------------------------------------------------------------------------------
static void request_fields(struct fields *f, const struct sonde_genai_request *r)
{
    text(f, "gen_ai.operation.name", r->operation);
    text(f, "gen_ai.provider.name", r->provider);
    text(f, "gen_ai.request.model", r->model);
    text(f, "gen_ai.conversation.id", r->conversation_id);
    text(f, "gen_ai.output.type", r->output_type);
    text(f, "server.address", r->server_address);
    number(f, "server.port", r->server_port);
    number(f, "gen_ai.request.max_tokens", r->max_tokens);
    if (r->choice_count != 1) // to be set only where it is not one
        number(f, "gen_ai.request.choice.count", r->choice_count);
    number(f, "gen_ai.request.top_k", r->top_k);
    if (r->seed)
        add(f, "gen_ai.request.seed", SONDE_TYPE_INT, sonde_arg_int(*r->seed));
    real(f, "gen_ai.request.temperature", r->temperature);
    real(f, "gen_ai.request.top_p", r->top_p);
    real(f, "gen_ai.request.frequency_penalty", r->frequency_penalty);
    real(f, "gen_ai.request.presence_penalty", r->presence_penalty);
    texts(f, "gen_ai.request.stop_sequences", r->stop_sequences, r->n_stop_sequences);
    if (r->stream)
        add(f, "gen_ai.request.stream", SONDE_TYPE_BOOL, sonde_arg_bool(true));
}

struct sonde_span *sonde_genai_start(const struct sonde_genai_request *r)
{
    struct fields f = {.n = 0};
    char name[256];
    request_fields(&f, r);
    snprintf(name, sizeof name, "%s%s%s", r->operation ? r->operation : "", r->model ? " " : "", r->model ? r->model : "");
    return (sonde_span_start_with)(name, &(struct sonde_span_options){.kind = r->kind ? r->kind : SONDE_KIND_CLIENT,
                                                                      .parent = r->parent,
                                                                      .start_ns = r->start_ns,
                                                                      .attributes = f.at,
                                                                      .n_attributes = f.n});
}

void sonde_genai_request(struct sonde_span *s, const struct sonde_genai_request *r)
{
    struct fields f = {.n = 0};
    request_fields(&f, r);
    sonde_span_attributes(s, f.at, f.n);
}

void sonde_genai_response(struct sonde_span *s, const struct sonde_genai_response *r)
{
    struct fields f = {.n = 0};
    text(&f, "gen_ai.response.id", r->id);
    text(&f, "gen_ai.response.model", r->model);
    texts(&f, "gen_ai.response.finish_reasons", r->finish_reasons, r->n_finish_reasons);
    number(&f, "gen_ai.usage.input_tokens", r->input_tokens);
    number(&f, "gen_ai.usage.output_tokens", r->output_tokens);
    number(&f, "gen_ai.usage.cache_read.input_tokens", r->cache_read_tokens);
    number(&f, "gen_ai.usage.cache_creation.input_tokens", r->cache_creation_tokens);
    number(&f, "gen_ai.usage.reasoning.output_tokens", r->reasoning_tokens);
    seconds(&f, "gen_ai.response.time_to_first_chunk", r->time_to_first_chunk);
    seconds(&f, "gen_ai.server.time_to_first_token", r->time_to_first_token);
    seconds(&f, "gen_ai.server.time_per_output_token", r->time_per_output_token);
    text(&f, "error.type", r->error_type);
    sonde_span_attributes(s, f.at, f.n);
    if (r->error_type)
        sonde_span_status(s, SONDE_STATUS_ERROR, r->error_type);
}

// ---- phases ---------------------------------------------------------------------------------------------------------
const char *sonde_phase_name(enum sonde_phase p)
{
    static const char *const names[SONDE_PHASES] = {"queued",      "scheduled",         "prefill_start",
                                                    "prefill_end", "kv_transfer_start", "kv_transfer_end",
                                                    "first_token", "last_token",        "preempted"};
    return (unsigned)p < SONDE_PHASES ? names[p] : NULL;
}

void sonde_phase_at(struct sonde_span *s, enum sonde_phase p, int64_t time_ns)
{
    const char *name = sonde_phase_name(p);
    if (name)
        sonde_span_event_at(s, name, time_ns);
}

void sonde_phase(struct sonde_span *s, enum sonde_phase p)
{
    sonde_phase_at(s, p, 0);
}

// ---- Dynamo ---------------------------------------------------------------------------------------------------------
struct sonde_span *sonde_dynamo_start(enum sonde_dynamo_span which, const struct sonde_dynamo *d)
{
    static const struct {
        const char *name;
        enum sonde_kind kind;
    } spans[] = {
        [SONDE_DYNAMO_HTTP_REQUEST] = {"http-request", SONDE_KIND_INTERNAL},
        [SONDE_DYNAMO_ROUTE_REQUEST] = {"router.route_request", SONDE_KIND_CLIENT},
        [SONDE_DYNAMO_HANDLE_PAYLOAD] = {"handle_payload", SONDE_KIND_SERVER},
        [SONDE_DYNAMO_KV_ROUTE] = {"kv_router.route_request", SONDE_KIND_INTERNAL},
        [SONDE_DYNAMO_SELECT_WORKER] = {"kv_router.select_worker", SONDE_KIND_INTERNAL},
    };
    unsigned i = (unsigned)which < sizeof spans / sizeof *spans ? (unsigned)which : 0;
    struct fields f = {.n = 0};
    text(&f, "method", d->method);
    text(&f, "uri", d->uri);
    text(&f, "version", d->version);
    text(&f, "request_id", d->request_id);
    text(&f, "model", d->model);
    text(&f, "phase", d->phase);
    text(&f, "worker_id", d->worker_id);
    text(&f, "router_mode", d->router_mode);
    text(&f, "component", d->component);
    text(&f, "endpoint", d->endpoint);
    text(&f, "namespace", d->dynamo_namespace);
    text(&f, "instance_id", d->instance_id);
    if (d->attempt)
        add(&f, "request.attempt", SONDE_TYPE_INT, sonde_arg_int(*d->attempt));
    if (d->overlap_blocks)
        add(&f, "overlap_blocks", SONDE_TYPE_INT, sonde_arg_int(*d->overlap_blocks));
    return (sonde_span_start_with)(spans[i].name, &(struct sonde_span_options){.kind = spans[i].kind,
                                                                               .parent = d->parent,
                                                                               .start_ns = d->start_ns,
                                                                               .attributes = f.at,
                                                                               .n_attributes = f.n});
}

// As text, which is how Dynamo writes them.
void sonde_dynamo_outcome(struct sonde_span *s, const char *outcome, int64_t input_tokens, int64_t output_tokens, double ttft_ms,
                          double avg_itl_ms)
{
    struct fields f = {.n = 0};
    char in[24], out[24], ttft[32], itl[32];
    snprintf(in, sizeof in, "%lld", (long long)input_tokens);
    snprintf(out, sizeof out, "%lld", (long long)output_tokens);
    snprintf(ttft, sizeof ttft, "%.2f", ttft_ms);
    snprintf(itl, sizeof itl, "%.2f", avg_itl_ms);
    text(&f, "request.outcome", outcome);
    text(&f, "input_tokens", input_tokens < 0 ? NULL : in);
    text(&f, "output_tokens", output_tokens < 0 ? NULL : out);
    text(&f, "ttft_ms", ttft_ms < 0 ? NULL : ttft);
    text(&f, "avg_itl_ms", avg_itl_ms < 0 ? NULL : itl);
    sonde_span_attributes(s, f.at, f.n);
}
