// Twelve requests of a real Dynamo 1.6.1, as its processes exported them. They are no part of the repository: SONDE_TESTDATA says
// where they are; skipped where they are not.
#include "event/wire.h"
#include "story.h"

#include <dirent.h>
#include <stdlib.h>

static bool read_file(const char *path, struct buf *out)
{
    char part[65536];
    FILE *f = fopen(path, "rb");
    buf_init(out, MIB(64));
    if (!f)
        return false;
    for (size_t n; (n = fread(part, 1, sizeof part, f)) > 0;)
        buf_add(out, slice_of(part, n));
    fclose(f);
    return true;
}

// All records of one signal in one batch; null if the folder is not there.
static struct batch *load(const char *folder, const char *tail, enum wire_format format)
{
    DIR *d = opendir(folder);
    if (!d)
        return NULL;
    struct batch *all = batch_new(wire_signal(format), MIB(256));
    for (struct dirent *e; (e = readdir(d));) {
        char path[512];
        struct batch *b;
        struct buf bytes;
        struct wire_report report;
        struct error err = {0};
        if (!strstr(e->d_name, tail))
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        assert_true(read_file(path, &bytes));
        if (wire_decode(format, buf_slice(&bytes), true, &(struct wire_options){.received_ns = 1}, &b, &report, &err) != ERR_OK)
            fail_msg("%s: %s", path, err.msg);
        for (uint32_t i = 0; i < b->rows; i++)
            batch_copy_row(all, b, i);
        batch_unref(b);
        buf_free(&bytes);
    }
    closedir(d);
    assert_true(batch_seal(all));
    return all;
}

// The rows of one trace.
static struct batch *pick(const struct batch *all, struct id128 id)
{
    struct batch *b = batch_new(all->signal, MIB(64));
    for (uint32_t i = 0; i < all->rows; i++)
        if (id128_eq(column_id128(all->field[FIELD_TRACE_ID], i), id))
            batch_copy_row(b, all, i);
    assert_true(batch_seal(b));
    return b;
}

static const struct lane *lane(const struct request *r, enum role role)
{
    for (uint32_t i = 0; i < r->n_lanes; i++)
        if (r->lanes[i].role == role)
            return &r->lanes[i];
    return NULL;
}

static int64_t lane_start(const struct lane *l)
{
    return l && l->n_blocks ? l->blocks[0].start : 0;
}
static int64_t lane_end(const struct lane *l)
{
    return l && l->n_blocks ? l->blocks[l->n_blocks - 1].start + l->blocks[l->n_blocks - 1].ns : 0;
}

static bool has_phase(const struct request *r, const char *name)
{
    for (uint32_t i = 0; i < r->n_phases; i++)
        if (strcmp(r->phases[i].name, name) == 0)
            return true;
    return false;
}

static void check_request(struct story *s)
{
    static const char *const order[] = {"routing", "prefill", "handover", "decode", "unaccounted"};
    const struct request *r = &s->r;
    uint32_t next = 0;
    CHECK_INT(s->trace.n, 5);
    CHECK_INT(r->status, REQUEST_OK);
    CHECK_STR(r->verdict, "served");
    CHECK_INT(r->http_status, 200);
    CHECK(r->has_root && r->ttft_ms > 1 && r->input_tokens > 0 && r->output_tokens > 0);
    CHECK(r->prefill_worker.n > 10 && r->decode_worker.n > 10 && !slice_eq(r->prefill_worker, r->decode_worker));
    CHECK_STR(r->model, "tiny");
    CHECK_INT(r->attempts, 1);
    CHECK_INT(r->errors, 0);
    CHECK_INT(r->n_notes, 0);
    CHECK(s->records.n >= 9);
    story_check_sum(s);
    for (uint32_t i = 0; i < r->n_phases; i++) {
        while (next < CHECK_ROWS(order) && strcmp(order[next], r->phases[i].name) != 0)
            next++;
        CHECK(next < CHECK_ROWS(order)); // in this order, perhaps some left out
    }
    // the handover is missing where the prefill worker's span ends after the first token
    CHECK(has_phase(r, "routing") && has_phase(r, "prefill") && has_phase(r, "decode"));
    const struct lane *p = lane(r, ROLE_PREFILL), *d = lane(r, ROLE_DECODE);
    CHECK(p && d && lane(r, ROLE_FRONTEND));
    CHECK(lane_start(p) < lane_start(d) && lane_start(d) < lane_end(p) && lane_end(p) < lane_end(d)); // they overlap
}

static void recorded_requests(void **state)
{
    char folder[256];
    const char *root = getenv("SONDE_TESTDATA");
    snprintf(folder, sizeof folder, "%s/dynamo/otlp", root ? root : "../shared/testdata");
    struct batch *spans = load(folder, "-traces.pb", WIRE_OTLP_TRACES_PB),
                 *logs = spans ? load(folder, "-logs.pb", WIRE_OTLP_LOGS_PB) : NULL;
    if (!spans) {
        print_message("no recorded requests in %s; set SONDE_TESTDATA to the folder that holds dynamo/otlp\n", folder);
        skip();
    }
    uint32_t requests = 0, handovers = 0;
    for (uint32_t i = 0; i < spans->rows; i++) {
        struct story s;
        struct error err = {0};
        struct id128 id = column_id128(spans->field[FIELD_TRACE_ID], i);
        if (!slice_eq(column_str(spans->field[FIELD_NAME], i), SLICE("http-request")))
            continue;
        memset(&s, 0, sizeof s);
        arena_init(&s.arena, MIB(16));
        assert_int_equal(trace_build(pick(spans, id), id, &s.trace, &err), ERR_OK);
        assert_int_equal(request_logs_build(pick(logs, id), &s.records, &err), ERR_OK);
        assert_int_equal(request_analyze(&s.trace, &s.records, INT64_MAX, &s.arena, &s.r, &err), ERR_OK);
        check_row("%.*s", (int)s.r.id.n, s.r.id.p);
        check_request(&s);
        handovers += has_phase(&s.r, "handover");
        story_free(&s);
        requests++;
    }
    CHECK(requests >= 12);
    CHECK(2 * handovers > requests);
    batch_unref(spans);
    batch_unref(logs);
    check_done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(recorded_requests)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
