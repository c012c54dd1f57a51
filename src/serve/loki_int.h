// Shared by the files of Loki's API: one job is one request on the query pool.
#pragma once
#include "base/json.h"
#include "logql/logql.h"
#include "serve/loki_api.h"

struct loki_job {
    struct loki_api *api;
    struct http_req *req;
    enum errc (*fn)(struct loki_job *j, struct buf *out, struct error *err); // fills the JSON body
    struct slice tenant;
    int64_t arrived; // monotonic
    int64_t started;
    int64_t now; // wall
    struct query q;
    bool json_error; // the error goes out as {"status":"invalid-query",…}
};

// ---- parameters: false or an error code raises what was wrong with which one ----------------------------------------
bool loki_param(struct loki_job *j, const char *name, struct slice *out);                         // false: absent or empty
enum errc loki_param_time(struct loki_job *j, const char *name, int64_t *out, struct error *err); // absent: *out unchanged
enum errc loki_param_range(struct loki_job *j, int64_t since, int64_t *start, int64_t *end, struct error *err);
enum errc loki_param_limit(struct loki_job *j, uint32_t standard, uint32_t *out, struct error *err);
// A duration: seconds with or without a fraction, or 5m, 1h30m. Absent: *out unchanged.
enum errc loki_param_duration(struct loki_job *j, const char *name, int64_t *out, struct error *err);
enum errc loki_param_forward(struct loki_job *j, bool *forward, struct error *err);
enum errc loki_param_step(struct loki_job *j, int64_t start, int64_t end, int64_t *step, struct error *err);
// The parameter as a selector (no pipeline). Absent: *plan = NULL.
enum errc loki_param_selector(struct loki_job *j, const char *name, int nth, struct logql_plan **plan, struct error *err);

// ---- encoding -------------------------------------------------------------------------------------------------------
void loki_put_streams(struct buf *out, const struct log_result *r, bool categorize);
// steps > 1 or range: values; else value. at: time of step 0.
void loki_put_matrix(struct buf *out, const struct matrix *m, int64_t at, int64_t step, bool range);
void loki_put_stats(struct buf *out, const struct query *q);
void loki_put_labels(struct jw *w, const struct label *l, uint32_t n);

// ---- handlers in other files ----------------------------------------------------------------------------------------
enum errc loki_labels(struct loki_job *j, struct buf *out, struct error *err);
enum errc loki_label_values(struct loki_job *j, struct buf *out, struct error *err);
enum errc loki_detected_labels(struct loki_job *j, struct buf *out, struct error *err);
enum errc loki_series(struct loki_job *j, struct buf *out, struct error *err);
enum errc loki_index_stats(struct loki_job *j, struct buf *out, struct error *err);
enum errc loki_volume(struct loki_job *j, struct buf *out, struct error *err);
