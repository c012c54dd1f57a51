// Shared by the files of Prometheus' HTTP API: one call is one request on the query pool.
#pragma once
#include "base/json.h"
#include "promql/engine.h"
#include "serve/query_job.h"

struct prom_api_call {
    struct query_job *job;
    struct query q;
    struct error err;
    struct buf out;         // the JSON of "data"
    bool bad_data;          // the error lies in the request (400), not in its execution (422)
    bool truncated;         // by a limit: told among the warnings
    const char *damaged;    // what could not be read, for the warnings; null
    struct prom_result res; // warnings and infos are taken from here
    int64_t now;            // ms
};

// ---- parameters: an error code raises what was wrong with which one, and sets bad_data --------------------------------------
bool prom_param(struct prom_api_call *c, const char *name, struct slice *out);        // false: absent or empty
enum errc prom_param_time(struct prom_api_call *c, const char *name, int64_t *ms);    // absent: *ms unchanged
enum errc prom_param_limit(struct prom_api_call *c, const char *name, uint32_t *out); // absent or 0: UINT32_MAX
enum errc prom_param_query(struct prom_api_call *c, struct promql **out);

// ---- encoding ----------------------------------------------------------------------------------------------------------------
void prom_put_labels(struct buf *out, const struct label *l, uint32_t n);
void prom_put_time(struct buf *out, int64_t ms);
// {"resultType":…,"result":…}
void prom_put_result(struct prom_api_call *c, const struct prom_request *r, uint32_t limit);

// ---- handlers in other files: they fill c->out
// ---------------------------------------------------------------------------------
typedef enum errc prom_handler(struct prom_api_call *c);
prom_handler prom_labels_get, prom_label_values, prom_series_get, prom_metadata, prom_exemplars, prom_tsdb;
// What does not need the store.
void prom_buildinfo(struct query_job *job);
void prom_config(struct query_job *job);
void prom_flags(struct query_job *job);
void prom_runtimeinfo(struct query_job *job);
