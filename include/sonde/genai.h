// Spans of generative AI: the attributes of OpenTelemetry's conventions (gen_ai.*, status Development in 2026), and the phases of
// a request in an inference engine as marks on a span, which `sonde` shows as lanes. Not included by sonde.h.
//
//   struct sonde_span *s = sonde_genai_start(&(struct sonde_genai_request){.operation = "chat", .provider = "dynamo",
//                                                                          .model = "m", .max_tokens = 256, .stream = true});
//   sonde_phase(s, SONDE_PHASE_QUEUED);  …  sonde_phase(s, SONDE_PHASE_FIRST_TOKEN);
//   sonde_genai_response(s, &(struct sonde_genai_response){.input_tokens = 12, .output_tokens = 34, …});
//   sonde_span_end(s);
//
// Numbers that are zero, and texts that are null, are not known and left out; where zero means something the member is a pointer
// or says otherwise. Thread rule, costs and lifetimes: as for every span (sonde/trace.h).
#pragma once
#include <sonde/sonde.h>

#ifdef __cplusplus
extern "C" {
#endif

struct sonde_genai_request {
    const char *operation; // chat, text_completion, generate_content, embeddings, execute_tool, invoke_agent … required
    const char *provider;  // gen_ai.provider.name: dynamo, vllm, openai … required
    const char *model;
    enum sonde_kind kind; // 0: client. SONDE_KIND_INTERNAL inside a process, SONDE_KIND_SERVER where it arrives
    const struct sonde_context *parent;
    int64_t start_ns; // 0: now
    const char *conversation_id, *output_type, *server_address;
    int64_t server_port, max_tokens, choice_count, top_k;
    const int64_t *seed;
    const double *temperature, *top_p, *frequency_penalty, *presence_penalty;
    const char *const *stop_sequences;
    size_t n_stop_sequences;
    bool stream;
};
// A span named "{operation} {model}" with the attributes of the request.
SONDE_API struct sonde_span *sonde_genai_start(const struct sonde_genai_request *r);
// The same attributes on a span that exists.
SONDE_API void sonde_genai_request(struct sonde_span *s, const struct sonde_genai_request *r);

struct sonde_genai_response {
    const char *id, *model;
    const char *const *finish_reasons; // stop, length, …
    size_t n_finish_reasons;
    int64_t input_tokens, output_tokens, cache_read_tokens, cache_creation_tokens, reasoning_tokens;
    double time_to_first_chunk;   // s; of the client
    double time_to_first_token;   // s; of the server: gen_ai.server.time_to_first_token
    double time_per_output_token; // s; of the server
    const char *error_type;       // also makes the span's status an error
};
SONDE_API void sonde_genai_response(struct sonde_span *s, const struct sonde_genai_response *r);

// ---- phases ---------------------------------------------------------------------------------------------------------
// Span events of these names; a lane shows queued (or preempted) to scheduled as "queue", prefill, kv_transfer, and first to last
// token as "decode". A span that only has token marks tells no phases.
enum sonde_phase {
    SONDE_PHASE_QUEUED,
    SONDE_PHASE_SCHEDULED,
    SONDE_PHASE_PREFILL_START,
    SONDE_PHASE_PREFILL_END,
    SONDE_PHASE_KV_TRANSFER_START,
    SONDE_PHASE_KV_TRANSFER_END,
    SONDE_PHASE_FIRST_TOKEN,
    SONDE_PHASE_LAST_TOKEN,
    SONDE_PHASE_PREEMPTED,
    SONDE_PHASES,
};
SONDE_API const char *sonde_phase_name(enum sonde_phase p); // "queued" …; null: no phase
SONDE_API void sonde_phase(struct sonde_span *s, enum sonde_phase p);
SONDE_API void sonde_phase_at(struct sonde_span *s, enum sonde_phase p, int64_t time_ns); // 0: now

// ---- the spans of Dynamo 1.6 ----------------------------------------------------------------------------------------
// With the names and kinds that its own tools, dashboards and `sonde` know. Null and zero members are left out.
enum sonde_dynamo_span {
    SONDE_DYNAMO_HTTP_REQUEST,   // "http-request", internal: the frontend's, around all
    SONDE_DYNAMO_ROUTE_REQUEST,  // "router.route_request", client: one for prefill, one for decode
    SONDE_DYNAMO_HANDLE_PAYLOAD, // "handle_payload", server: a worker's
    SONDE_DYNAMO_KV_ROUTE,       // "kv_router.route_request", internal
    SONDE_DYNAMO_SELECT_WORKER,  // "kv_router.select_worker", internal
};
struct sonde_dynamo {
    const struct sonde_context *parent;
    int64_t start_ns;
    const char *request_id, *model;                                    // where known
    const char *method, *uri, *version;                                // http-request
    const char *phase, *worker_id, *router_mode;                       // the routers'; phase: prefill, decode
    const char *component, *endpoint, *dynamo_namespace, *instance_id; // handle_payload
    const int64_t *attempt, *overlap_blocks;                           // from 0
};
SONDE_API struct sonde_span *sonde_dynamo_start(enum sonde_dynamo_span which, const struct sonde_dynamo *d);
// What http-request learns at its end: tokens (below 0: unknown), ms (below 0: unknown) and the outcome (success, error,
// cancelled …).
SONDE_API void sonde_dynamo_outcome(struct sonde_span *s, const char *outcome, int64_t input_tokens, int64_t output_tokens,
                                    double ttft_ms, double avg_itl_ms);

#ifdef __cplusplus
}
#endif
