// The helpers for spans of generative AI.
#include "check.h"
#include "seen.h"
#include <sonde/genai.h>

static int chat(void *arg)
{
    (void)arg;
    seen_start();
    const char *stop[] = {"\n", "END"}, *why[] = {"stop"};
    const double zero = 0, top = 0.9;
    const int64_t seed = 0;
    struct sonde_span *s = sonde_genai_start(&(struct sonde_genai_request){.operation = "chat",
                                                                           .provider = "dynamo",
                                                                           .model = "m-7b",
                                                                           .max_tokens = 256,
                                                                           .choice_count = 1,
                                                                           .seed = &seed,
                                                                           .temperature = &zero,
                                                                           .top_p = &top,
                                                                           .stop_sequences = stop,
                                                                           .n_stop_sequences = 2,
                                                                           .stream = true});
    sonde_genai_response(s, &(struct sonde_genai_response){.id = "r1",
                                                           .model = "m-7b-0",
                                                           .finish_reasons = why,
                                                           .n_finish_reasons = 1,
                                                           .input_tokens = 12,
                                                           .output_tokens = 34,
                                                           .cache_read_tokens = 8,
                                                           .time_to_first_token = 0.25});
    sonde_span_end(s);
    EXPECT_STR(seen_all(),
               "chat m-7b kind=3 a{gen_ai.operation.name='chat',gen_ai.provider.name='dynamo',gen_ai.request.model='m-7b',"
               "gen_ai.request.max_tokens=256,gen_ai.request.seed=0,gen_ai.request.temperature=0f,gen_ai.request.top_p=0.9f,"
               "gen_ai.request.stop_sequences=[\"\\n\",\"END\"],gen_ai.request.stream=true,gen_ai.response.id='r1',"
               "gen_ai.response.model='m-7b-0',gen_ai.response.finish_reasons=[\"stop\"],gen_ai.usage.input_tokens=12,"
               "gen_ai.usage.output_tokens=34,gen_ai.usage.cache_read.input_tokens=8,gen_ai.server.time_to_first_token=0.25f}\n");
    s = sonde_genai_start(
        &(struct sonde_genai_request){.operation = "embeddings", .provider = "vllm", .kind = SONDE_KIND_INTERNAL});
    sonde_genai_response(s, &(struct sonde_genai_response){.error_type = "timeout"});
    sonde_span_end(s);
    EXPECT_STR(seen_all(), "embeddings status=2'timeout' a{gen_ai.operation.name='embeddings',gen_ai.provider.name='vllm',"
                           "error.type='timeout'}\n");
    return seen_fails;
}

static int phases(void *arg)
{
    (void)arg;
    seen_start();
    struct sonde_span *s = sonde_span_start("handle_payload", SONDE_KIND_SERVER, NULL);
    for (int i = 0; i < SONDE_PHASES; i++)
        sonde_phase(s, (enum sonde_phase)i);
    sonde_phase_at(s, SONDE_PHASES, 1);
    sonde_span_end(s);
    EXPECT_STR(seen_all(), "handle_payload kind=2 event:queued event:scheduled event:prefill_start event:prefill_end "
                           "event:kv_transfer_start event:kv_transfer_end event:first_token event:last_token event:preempted\n");
    return seen_fails;
}

static int dynamo(void *arg)
{
    (void)arg;
    seen_start();
    const int64_t attempt = 0, overlap = 3;
    struct sonde_span *root = sonde_dynamo_start(
        SONDE_DYNAMO_HTTP_REQUEST,
        &(struct sonde_dynamo){.method = "POST", .uri = "/v1/chat/completions", .version = "HTTP/1.1", .request_id = "u"});
    const struct sonde_context *c = sonde_span_context(root);
    sonde_span_end(sonde_dynamo_start(
        SONDE_DYNAMO_ROUTE_REQUEST,
        &(struct sonde_dynamo){
            .parent = c, .phase = "prefill", .worker_id = "7", .router_mode = "round-robin", .attempt = &attempt}));
    sonde_span_end(sonde_dynamo_start(SONDE_DYNAMO_KV_ROUTE, &(struct sonde_dynamo){.parent = c, .overlap_blocks = &overlap}));
    sonde_span_end(sonde_dynamo_start(SONDE_DYNAMO_SELECT_WORKER, &(struct sonde_dynamo){.parent = c}));
    sonde_span_end(sonde_dynamo_start(
        SONDE_DYNAMO_HANDLE_PAYLOAD,
        &(struct sonde_dynamo){
            .parent = c, .component = "prefill", .endpoint = "generate", .dynamo_namespace = "dynamo", .instance_id = "7"}));
    sonde_dynamo_outcome(root, "success", 12, 34, 45.678, -1);
    sonde_span_end(root);
    EXPECT_STR(seen_all(),
               "router.route_request kind=3 a{phase='prefill',worker_id='7',router_mode='round-robin',request.attempt=0}\n"
               "kv_router.route_request a{overlap_blocks=3}\n"
               "kv_router.select_worker\n"
               "handle_payload kind=2 a{component='prefill',endpoint='generate',namespace='dynamo',instance_id='7'}\n"
               "http-request a{method='POST',uri='/v1/chat/completions',version='HTTP/1.1',request_id='u',"
               "request.outcome='success',input_tokens='12',output_tokens='34',ttft_ms='45.68'}\n");
    return seen_fails;
}

#define ALONE(fn)                   \
    static void fn##_(void **state) \
    {                               \
        (void)state;                \
        alone(fn);                  \
    }
ALONE(chat)
ALONE(phases)
ALONE(dynamo)

int main(void)
{
    if (CHILD_TSAN)
        return 77;
    const struct CMUnitTest tests[] = {cmocka_unit_test(chat_), cmocka_unit_test(phases_), cmocka_unit_test(dynamo_)};
    return cmocka_run_group_tests(tests, child_setup, child_teardown);
}
