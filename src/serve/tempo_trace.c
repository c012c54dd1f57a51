// One trace by its id, and the table of Tempo's paths.
#include "analyze/trace.h"
#include "base/pb.h"
#include "serve/tempo_api.h"
#include "serve/tempo_json.h"

#include <string.h>

static enum errc parse_trace_id(struct slice text, struct id128 *out, struct error *err)
{
    char padded[32];
    uint8_t bytes[16];
    if (text.n == 0 || text.n > 32)
        return ERR(err, INPUT, "trace id \"%.*s\" has %zu characters; 1 to 32 hexadecimal digits are accepted",
                   (int)slice_cut(text, 64).n, text.p, text.n);
    for (size_t i = 0; i < text.n; i++)
        if (!strchr("0123456789abcdefABCDEF", text.p[i]) || !text.p[i])
            return ERR(err, INPUT, "trace id has an invalid character at position %zu; only hexadecimal digits are accepted",
                       i + 1);
    memset(padded, '0', sizeof padded);
    memcpy(padded + 32 - text.n, text.p, text.n);
    hex_decode(bytes, 16, slice_of(padded, 32));
    *out = id128_load(bytes);
    return ERR_OK;
}

// start and end of the request in ns; the whole of time by default.
bool tempo_time_range(struct http_req *r, int64_t *from, int64_t *to, struct error *err)
{
    if (!server_param_time(r, "start", from, err) || !server_param_time(r, "end", to, err))
        return false;
    if (*from >= *to) {
        ERR(err, INPUT, "parameter start must be before end");
        return false;
    }
    return true;
}

static bool wants_protobuf(const struct http_req *r)
{
    return slice_find(http_req_header(r, SLICE("accept")), SLICE("application/protobuf")) >= 0;
}

static void write_trace_json(bool v2, struct slice encoded, struct buf *out, struct error *err)
{
    struct jw w = jw_to(out);
    jw_obj(&w);
    if (v2) {
        JW_KEY(&w, "trace");
        jw_obj(&w);
        if (encoded.n) {
            JW_KEY(&w, "resourceSpans");
            tempo_json_resource_spans(&w, encoded, err);
        }
        jw_obj_end(&w);
        JW_KEY(&w, "metrics");
        jw_obj(&w);
        jw_obj_end(&w);
    } else {
        JW_KEY(&w, "batches");
        tempo_json_resource_spans(&w, encoded, err);
    }
    jw_obj_end(&w);
}

static enum errc encode_trace(struct query_job *job, struct id128 id, struct buf *out, struct error *err)
{
    struct trace t;
    int64_t from = INT64_MIN, to = INT64_MAX;
    if (!tempo_time_range(job->req, &from, &to, err))
        return err->code;
    TRY(trace_load(job->server->store, job->tenant, id, from, to, &job->budget, &t, err));
    uint32_t *rows = ARENA_ARRAY(&t.batch->arena, uint32_t, t.n);
    for (uint32_t i = 0; rows && i < t.n; i++)
        rows[i] = t.spans[i].row;
    enum errc rc = rows ? otlp_encode(t.batch, rows, t.n, out) : ERR_NOMEM;
    trace_free(&t);
    return rc == ERR_OK ? rc : ERR(err, LIMIT, "the trace is too large for one answer");
}

static void trace_by_id(struct query_job *job, bool v2)
{
    struct http_req *r = job->req;
    struct error err = {0};
    struct id128 id = {0};
    struct buf pb, out;
    buf_init(&pb, MAX_TEMPO_ANSWER);
    buf_init(&out, MAX_TEMPO_ANSWER);
    enum errc rc = parse_trace_id(r->param[0], &id, &err);
    if (rc == ERR_OK)
        rc = encode_trace(job, id, &pb, &err);
    if (rc == ERR_NOTFOUND && v2)
        rc = ERR_OK; // v2 answers an unknown id with an empty trace
    if (rc != ERR_OK) {
        if (rc == ERR_NOTFOUND)
            http_reply_text(r, 404, "trace not found");
        else
            server_reply_error(r, &err);
    } else if (wants_protobuf(r)) {
        if (v2) // TraceByIDResponse { 1 trace }: always written, even when empty
            pb_w_bytes(&out, 1, buf_slice(&pb));
        http_reply(r, 200, SLICE("application/protobuf"), v2 ? buf_slice(&out) : buf_slice(&pb));
    } else {
        err = (struct error){0};
        write_trace_json(v2, buf_slice(&pb), &out, &err);
        if (err.code != ERR_OK || out.err)
            http_reply_text(r, 422, "the trace is too large for one answer");
        else
            http_reply(r, 200, SLICE("application/json"), buf_slice(&out));
    }
    buf_free(&pb);
    buf_free(&out);
}

static void trace_v1(struct query_job *job)
{
    trace_by_id(job, false);
}
static void trace_v2(struct query_job *job)
{
    trace_by_id(job, true);
}

size_t tempo_routes(struct server *s, struct http_route *out, size_t max)
{
    static const struct query_route rows[] = {
        {"GET", "/api/traces/{id}", trace_v1, "one trace, Tempo v1"},
        {"GET", "/api/v2/traces/{id}", trace_v2, "one trace, Tempo v2"},
        {"GET", "/api/search", tempo_search, "search for traces"},
        {"GET", "/api/search/tags", tempo_tags_v1, "names of attributes"},
        {"GET", "/api/v2/search/tags", tempo_tags_v2, "names of attributes by scope"},
        {"GET", "/api/search/tag/{name}/values", tempo_tag_values_v1, "values of an attribute"},
        {"GET", "/api/v2/search/tag/{name}/values", tempo_tag_values_v2, "values of an attribute with their types"},
    };
    return query_routes(s, rows, sizeof rows / sizeof *rows, out, max);
}
