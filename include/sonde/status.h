// Health of a process and its small HTTP server: readiness, metrics, metadata, callbacks of the engine, and a look inside while
// it runs. Not included by sonde.h.
//
//   sonde_init(&(struct sonde_options){.service = "decode-worker"});   // DYN_SYSTEM_PORT >= 0: the server listens now
//   sonde_status_metrics(registry);
//   struct sonde_endpoint *e = sonde_endpoint_new(&(struct sonde_endpoint_options){.name = "generate"});
//   ...
//   sonde_endpoint_ready(e, true);
//
// In the environment, else in /opt/dynamo/etc/runtime.toml, else in /opt/dynamo/defaults/runtime.toml:
//   DYN_SYSTEM_PORT                -1 (default): no server; 0: any free port, which an INFO record tells
//   DYN_SYSTEM_HOST                address, default 0.0.0.0; :: means all, IPv4's too
//   DYN_SYSTEM_HEALTH_PATH, DYN_SYSTEM_LIVE_PATH   /health, /live
//   DYN_SYSTEM_STARTING_HEALTH_STATUS   notready (default) or ready
//   DYN_SYSTEM_USE_ENDPOINT_HEALTH_STATUS   ["generate"]: these endpoints decide; deprecated
//   DYN_HEALTH_CHECK_ENABLED, DYN_CANARY_WAIT_TIME (10 s), DYN_HEALTH_CHECK_REQUEST_TIMEOUT (3 s), DYN_HEALTH_CHECK_PAYLOAD
//   DYN_LORA_ENABLED=true          routes of sonde_status_route below /v1/loras are served
//   SONDE_DEBUG_TOKEN              opens /debug/ to who sends Authorization: Bearer TOKEN
//   OTEL_METRICS_EXPORTER=prometheus   a page of metrics alone on OTEL_EXPORTER_PROMETHEUS_HOST and _PORT (localhost, 9464)
//
// Paths
//   health path, live path         200 or 503, {"endpoints":{"generate":"ready"},"status":"ready","uptime":{"nanos":1,"secs":2}}
//   /metrics                       the registries as one page, in text, OpenMetrics or protobuf by the Accept header; what
//   several
//                                  have under one name and type is one family, of the same labels the oldest series
//   /metadata                      JSON of sonde_status_metadata; 404 when there is none
//   /metrics_endpoints             what sonde_status_metrics_endpoint told: {"object":"list","data":[…]}
//   /engine/PATH                   callbacks of sonde_engine_route, any method
//   /debug/level                   GET: the filter in effect; PUT with "FILTER" or "FILTER for 90s"; DELETE: back to DYN_LOG's
//   /debug/ring?n=100&format=text|jsonl   the last records of the ring
//   /debug/config[?gpu=1]          the configuration dump (sonde/config.h)
//   /debug/spans?n=1000            open spans with their age, the oldest first
//   anything else                  404 and an INFO record
// /debug/ answers 403 unless the token is sent, or the peer is this machine, asked for it by an address or localhost, and is no
// page of a browser (it sends no Origin).
//
// What decides readiness: the endpoints of DYN_SYSTEM_USE_ENDPOINT_HEALTH_STATUS, all of them, if it is set; else those with a
// canary; else, with DYN_HEALTH_CHECK_ENABLED, all endpoints; else what sonde_status_ready said last.
// Canary: an endpoint without traffic for DYN_CANARY_WAIT_TIME gets its payload through its callback, on a thread of its own; an
// answer within the time makes it ready, none makes it not.
//
// The server is one thread; callbacks run on it, one request at a time, and may log. It is not inherited by a forked child, which
// may start its own, and with it the canaries of the endpoints it has. sonde_shutdown leaves it running, so that health can still
// be asked; it ends with the process. Thread rule: any thread, but not from a signal handler, and not from its own callbacks
// where they would stop it.
#pragma once
#ifndef SONDE_API
#include <sonde/sonde.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

struct sonde_registry;

// ---- server ---------------------------------------------------------------------------------------------------------
// Started by sonde_init when the environment asks for it; a failure then is an ERROR record, and sonde_status_error tells it.
// address: "127.0.0.1:0", null: as the environment says. True when it listens (or did before), or when nobody asked for one.
SONDE_API bool sonde_status_start(const char *address);
SONDE_API const char *sonde_status_error(void); // why it does not listen though it should; "" otherwise
SONDE_API int sonde_status_port(void);          // -1: it does not listen
SONDE_API void sonde_status_stop(void);         // waits for a request under way

// ---- readiness ------------------------------------------------------------------------------------------------------
SONDE_API void sonde_status_ready(bool ready); // of the process
SONDE_API bool sonde_status_is_ready(void);    // as the health path tells it

struct sonde_endpoint;
// Sends the payload through the normal path. True: it was answered well. It is told how long it may take; an answer that comes
// later counts as none.
typedef bool sonde_canary_fn(void *arg, const char *payload, size_t n, unsigned timeout_ms);
struct sonde_endpoint_options {
    const char *name;
    bool ready;              // at the beginning
    sonde_canary_fn *canary; // null: none
    const char *payload;     // of the canary; DYN_HEALTH_CHECK_PAYLOAD wins. Null: ""
    void *arg;
};
// Null: no name, the name is there already, or no memory. Endpoints live as long as the process or until they are removed.
SONDE_API struct sonde_endpoint *sonde_endpoint_new(const struct sonde_endpoint_options *o);
SONDE_API void sonde_endpoint_remove(struct sonde_endpoint *e); // waits for its canary; null is fine
SONDE_API void sonde_endpoint_ready(struct sonde_endpoint *e, bool ready);
SONDE_API void sonde_endpoint_traffic(struct sonde_endpoint *e); // a real request was served: one store, no canary for a while

// ---- pages ----------------------------------------------------------------------------------------------------------
SONDE_API bool sonde_status_metrics(struct sonde_registry *root);        // one more on the page of /metrics; at most 16
SONDE_API void sonde_status_metrics_remove(struct sonde_registry *root); // before it is freed
// Discovery metadata: a JSON text, copied; null: none any more. False: it is no JSON.
SONDE_API bool sonde_status_metadata(const char *json);
// An entry of /metrics_endpoints; one of the same instance is replaced. gpu_uuids may be null.
SONDE_API bool sonde_status_metrics_endpoint(const char *name_space, uint64_t instance_id, const char *url,
                                             const char *const *gpu_uuids, size_t n_gpus);

struct sonde_engine_request {
    const char *method, *path, *query; // path: what stands behind the registered one ("*"), else ""
    const char *body;                  // JSON, checked; "{}" when none came
    size_t body_n;
};
struct sonde_engine_reply;
// False: 500 with the message of sonde_engine_fail. Without an answer: {}.
typedef bool sonde_engine_fn(void *arg, const struct sonde_engine_request *q, struct sonde_engine_reply *out);
SONDE_API void sonde_engine_answer(struct sonde_engine_reply *out, const char *json, size_t n);
SONDE_API void sonde_engine_status(struct sonde_engine_reply *out, int status);
SONDE_API void sonde_engine_fail(struct sonde_engine_reply *out, const char *message);
// /engine/PATH. A path that ends in "*" takes all that begin so. A second one of the same path replaces the first; fn null
// removes it. At most 64.
SONDE_API bool sonde_engine_route(const char *path, sonde_engine_fn *fn, void *arg);
SONDE_API bool sonde_status_route(const char *path, sonde_engine_fn *fn, void *arg); // the same for any path: "/v1/loras*"

#ifdef __cplusplus
}
#endif
