// Every line that a real Dynamo 1.6.1 wrote (JSONL and coloured text), made again by libsonde from a call with the same fields,
// byte for byte. The recordings are no part of the repository: SONDE_TESTDATA names the folder that holds dynamo/.
//
// Where Sonde differs by decision, the recorded line is changed in that place before it is compared. All such differences
// stand in `exceptions`, each is counted, and one that never occurs fails the test, so that the list stays true.
#include "base/arena.h"
#include "base/clock.h"
#include "base/json.h"
#include "check.h"
#include "sdk/pipeline.h"
#include <glob.h>
#include <stdlib.h>

enum { KEYS_MAX = 80, CHAIN_MAX = 8, TEXT_MAX = 1 << 22 };

enum exception { SPAN_NUMBER, ENTRY_PLACE, DISPLAY_QUOTED, EXCEPTIONS };
static struct {
    const char *name;
    unsigned n;
} exceptions[EXCEPTIONS] = {
    [SPAN_NUMBER] = {"JSONL: numbers and booleans of span fields keep their type (Dynamo: always text)", 0},
    [ENTRY_PLACE] = {"JSONL: SPAN_FIRST_ENTRY tells the place of the span (Dynamo: a place in its own logging code)", 0},
    [DISPLAY_QUOTED] = {"text: strings always stand in quotes (Dynamo: bare where recorded for display)", 0},
};

// ---- the recordings -------------------------------------------------------------------------------------------------
static bool recorded(const char *pattern, glob_t *files)
{
    const char *root = getenv("SONDE_TESTDATA");
    char path[600];
    snprintf(path, sizeof path, "%s/dynamo/%s/*.log", root ? root : "../shared/testdata", pattern);
    if (glob(path, 0, NULL, files) == 0)
        return true;
    print_message("skipped: no recorded lines in %s; SONDE_TESTDATA names another folder\n", path);
    return false;
}

static struct buf load(const char *path)
{
    struct buf b;
    char piece[65536];
    FILE *f = fopen(path, "rb");
    buf_init(&b, TEXT_MAX);
    for (size_t n; f && (n = fread(piece, 1, sizeof piece, f)) > 0;)
        buf_put(&b, piece, n);
    if (f)
        fclose(f);
    return b;
}

// ---- a call ---------------------------------------------------------------------------------------------------------
struct value {
    struct slice key, raw; // raw: as it stands on the line
    enum sonde_type type;
    struct sonde_arg arg;
    bool of_span;
};
struct call {
    int64_t time;
    unsigned level, line, n, n_spans;
    struct slice time_text, level_text, file, target, message;
    struct slice span_name[CHAIN_MAX], trace_id, span_id, parent_id, x_request_id, tracestate;
    struct value v[KEYS_MAX];
    unsigned owner[KEYS_MAX]; // text: number of the span in the chain
};

static const char *text_of(struct arena *a, struct slice s)
{
    char *p = arena_alloc(a, s.n + 1);
    assert_non_null(p);
    memcpy(p, s.p ? s.p : "", s.n);
    p[s.n] = 0;
    return p;
}

static unsigned level_of(struct slice text)
{
    for (unsigned l = SONDE_LEVEL_ERROR; l <= SONDE_LEVEL_TRACE; l++)
        if (slice_eq(text, slice_str(level_text(l))))
            return l;
    return 0;
}

// A call site with the fields of the record (not those of its span). max: of a message that stands in a site.
static struct site *make_site(struct arena *a, const struct call *c, struct slice file, unsigned line)
{
    const char *keys[KEYS_MAX];
    unsigned char types[KEYS_MAX];
    unsigned n = 0;
    for (unsigned i = 0; i < c->n; i++) {
        if (c->v[i].of_span)
            continue;
        keys[n] = text_of(a, c->v[i].key);
        types[n++] = (unsigned char)c->v[i].type;
    }
    assert_true(n <= SONDE_FIELDS_MAX);
    struct sonde_site record = {.line = line,
                                .level = (uint8_t)c->level,
                                .n_fields = (uint8_t)n,
                                .message = text_of(a, c->message),
                                .target = text_of(a, c->target),
                                .file = text_of(a, file),
                                .keys = keys,
                                .types = types};
    struct buf b;
    size_t size;
    buf_init(&b, TEXT_MAX);
    site_encode(&b, &record, 1);
    struct site *s = site_parse(b.p, b.n, &size);
    assert_non_null(s);
    buf_free(&b);
    return s;
}

static void fill(struct rec *r, enum rec_kind kind, const uint8_t *types, const struct sonde_arg *args, uint32_t n)
{
    memset(r, 0, sizeof *r);
    r->kind = kind;
    r->n = n;
    for (uint32_t i = 0; i < n; i++) {
        r->v[i] = (struct rec_value){.type = (enum sonde_type)types[i], .u = args[i].value.u};
        if (types[i] == SONDE_TYPE_STR)
            r->v[i].s = slice_of(args[i].value.s, args[i].n);
    }
}

static bool unhex(uint8_t *out, struct slice s, size_t n)
{
    for (size_t i = 0; i < n && s.n == 2 * n; i++) {
        unsigned byte;
        char two[3] = {s.p[2 * i], s.p[2 * i + 1], 0};
        if (sscanf(two, "%02x", &byte) != 1)
            return false;
        out[i] = (uint8_t)byte;
    }
    return s.n == 2 * n;
}

struct replay {
    struct pipeline p;
    uint8_t trace_id[16], span_id[CHAIN_MAX][8];
};

static void give(struct replay *w, enum rec_kind kind, int span, const struct sonde_arg *args, const struct site *site,
                 int64_t time)
{
    struct rec r;
    uint32_t n;
    const uint8_t *types = rec_types(kind, &n);
    fill(&r, kind, types, args, n);
    r.in_span = true;
    memcpy(r.trace_id, w->trace_id, 16);
    memcpy(r.span_id, w->span_id[span], 8);
    pipeline_record(&w->p, &r, site, time);
}

static void start_spans(struct replay *w, const struct call *c, const struct site *site, int64_t time)
{
    unhex(w->trace_id, c->trace_id, 16);
    for (unsigned k = 0; k < c->n_spans; k++) {
        struct sonde_arg a[6] = {{.n = 0}};
        uint8_t parent[8] = {0};
        if (k)
            memcpy(parent, w->span_id[k - 1], 8);
        else
            unhex(parent, c->parent_id, 8);
        memset(w->span_id[k], (int)k + 1, 8);
        unhex(w->span_id[k], c->span_id, 8);
        memcpy(&a[0].value.u, parent, 8);
        a[1].value.u = 1 | SONDE_KIND_SERVER << 8 | (k ? 0 : 1 << 16);
        a[3] = sonde_arg_strn(c->span_name[k].p, c->span_name[k].n);
        a[4] = sonde_arg_strn(c->x_request_id.p ? c->x_request_id.p : "", c->x_request_id.n);
        a[5] = sonde_arg_strn(c->tracestate.p ? c->tracestate.p : "", c->tracestate.n);
        give(w, REC_SPAN_START, (int)k, a, site, time);
        for (unsigned i = 0; i < c->n; i++) {
            if (!c->v[i].of_span || c->owner[i] != k)
                continue;
            struct sonde_arg pair[2] = {sonde_arg_strn(c->v[i].key.p, c->v[i].key.n), c->v[i].arg};
            give(w, (enum rec_kind)(REC_SPAN_ATTR + c->v[i].type - 1), (int)k, pair, site, time);
        }
    }
}

static void log_record(struct replay *w, const struct call *c, const struct site *site)
{
    struct sonde_arg args[KEYS_MAX];
    uint32_t n = 0;
    struct rec r;
    for (unsigned i = 0; i < c->n; i++)
        if (!c->v[i].of_span)
            args[n++] = c->v[i].arg;
    fill(&r, REC_LOG, site->type, args, n);
    if (c->n_spans) {
        r.in_span = true;
        memcpy(r.trace_id, w->trace_id, 16);
        memcpy(r.span_id, w->span_id[c->n_spans - 1], 8);
    }
    if (slice_eq(site->message, c->message)) {
        pipeline_record(&w->p, &r, site, c->time);
        return;
    }
    // Longer than a call site's own text may be: as a formatted message.
    struct line l = {.time = c->time, .site = site, .message = c->message, .rec = &r};
    if (c->n_spans)
        l.span = span_find(&w->p.spans, r.span_id, r.trace_id);
    line_write(&w->p.out, &w->p.style, &w->p.clock, &l);
}

// ---- JSONL ----------------------------------------------------------------------------------------------------------
// What Dynamo records on its spans; the rest are fields of events. typed: what Sonde's callers hand over as number or bool.
static const struct {
    const char *span, *key;
    enum sonde_type typed; // 0: text
} span_keys[] = {
    {"http-request", "method", 0},
    {"http-request", "uri", 0},
    {"http-request", "version", 0},
    {"http-request", "request_id", 0},
    {"http-request", "model", 0},
    {"http-request", "request.outcome", 0},
    {"http-request", "input_tokens", SONDE_TYPE_UINT},
    {"http-request", "output_tokens", SONDE_TYPE_UINT},
    {"http-request", "audio_count", SONDE_TYPE_UINT},
    {"http-request", "image_count", SONDE_TYPE_UINT},
    {"http-request", "video_count", SONDE_TYPE_UINT},
    {"http-request", "prefill_worker_id", SONDE_TYPE_UINT},
    {"http-request", "decode_worker_id", SONDE_TYPE_UINT},
    {"http-request", "ttft_ms", SONDE_TYPE_F64},
    {"http-request", "avg_itl_ms", SONDE_TYPE_F64},
    {"router.route_request", "request_id", 0},
    {"router.route_request", "router_mode", 0},
    {"router.route_request", "otel.kind", 0},
    {"router.route_request", "otel.status_code", 0},
    {"router.route_request", "otel.status_description", 0},
    {"router.route_request", "request.outcome", 0},
    {"router.route_request", "error.type", 0},
    {"router.route_request", "worker_id", SONDE_TYPE_UINT},
    {"router.route_request", "request.attempt", SONDE_TYPE_UINT},
    {"router.route_request", "migration.is_retry", SONDE_TYPE_BOOL},
    {"router.route_request", "migration.tokens_completed", SONDE_TYPE_UINT},
    {"handle_payload", "component", 0},
    {"handle_payload", "endpoint", 0},
    {"handle_payload", "namespace", 0},
    {"handle_payload", "otel.kind", 0},
    {"handle_payload", "request_id", 0},
    {"handle_payload", "trace_flags", 0},
    {"handle_payload", "instance_id", SONDE_TYPE_UINT},
};

// The type that a plain number or word has; 0: it is text.
static enum sonde_type plain_type(struct slice s, struct sonde_arg *arg)
{
    double d;
    memset(arg, 0, sizeof *arg);
    if (slice_eq(s, SLICE("true")) || slice_eq(s, SLICE("false"))) {
        arg->value.u = s.n == 4;
        return SONDE_TYPE_BOOL;
    }
    if (s.n && s.p[0] == '-' && slice_to_i64(s, &arg->value.i))
        return SONDE_TYPE_INT;
    if (s.n && slice_to_u64(s, &arg->value.u))
        return SONDE_TYPE_UINT;
    if (s.n && memchr(s.p, '.', s.n) && slice_to_f64(s, &d)) {
        arg->value.f = d;
        return SONDE_TYPE_F64;
    }
    return 0;
}

// What Rust prints of a float that Dynamo rounded to a fixed number of places: without the zeros at the end.
static struct slice without_zeros(struct slice s)
{
    while (s.n > 2 && memchr(s.p, '.', s.n) && s.p[s.n - 1] == '0' && s.p[s.n - 2] != '.')
        s.n--;
    return s;
}

static void span_field(const struct call *c, struct value *v)
{
    for (size_t i = 0; c->n_spans && i < CHECK_ROWS(span_keys); i++) {
        if (v->raw.p[0] != '"' || !slice_eq(c->span_name[0], slice_str(span_keys[i].span)) ||
            !slice_eq(v->key, slice_str(span_keys[i].key)))
            continue;
        v->of_span = true;
        struct slice inside = slice_of(v->raw.p + 1, v->raw.n - 2);
        struct sonde_arg arg;
        if (span_keys[i].typed && plain_type(inside, &arg) == span_keys[i].typed) {
            v->type = span_keys[i].typed;
            v->arg = arg;
            v->raw = v->type == SONDE_TYPE_F64 ? without_zeros(inside) : inside;
            exceptions[SPAN_NUMBER].n++;
        }
    }
}

static bool take_fixed(struct call *c, struct slice key, struct slice text, struct slice raw)
{
    struct {
        const char *key;
        struct slice *out;
    } names[] = {{"time", &c->time_text},  {"level", &c->level_text},      {"file", &c->file},
                 {"target", &c->target},   {"message", &c->message},       {"span_name", &c->span_name[0]},
                 {"span_id", &c->span_id}, {"trace_id", &c->trace_id},     {"parent_id", &c->parent_id},
                 {"line", NULL},           {"tracestate", &c->tracestate}, {"x_request_id", &c->x_request_id}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!slice_eq(key, slice_str(names[i].key)))
            continue;
        uint64_t line;
        if (names[i].out)
            *names[i].out = text;
        else if (slice_to_u64(raw, &line))
            c->line = (unsigned)line;
        return true;
    }
    return false;
}

static bool parse_json(struct arena *a, struct slice line, struct call *c)
{
    struct json j;
    struct slice key, raw, text;
    memset(c, 0, sizeof *c);
    json_init(&j, line, a, NULL);
    if (!json_object(&j))
        return false;
    while (json_next_key(&j, &key)) {
        bool string = json_peek(&j) == JSON_STRING;
        struct json at = j;
        if (!json_skip(&j, &raw) || (string && !json_string(&at, &text)))
            return false;
        if (take_fixed(c, key, string ? text : SLICE_NONE, raw))
            continue;
        if (c->n == KEYS_MAX)
            return false;
        struct value *v = &c->v[c->n++];
        *v = (struct value){.key = key, .raw = raw, .type = SONDE_TYPE_STR};
        if (string)
            v->arg = sonde_arg_strn(text.p ? text.p : "", text.n);
        else if (!(v->type = plain_type(raw, &v->arg)))
            return false;
    }
    c->n_spans = c->span_id.n > 0;
    c->level = level_of(c->level_text);
    for (unsigned i = 0; i < c->n; i++)
        span_field(c, &c->v[i]);
    return json_finish(&j) && c->level && time_parse(c->time_text.p, c->time_text.n, &c->time);
}

// The recorded line with the raw values of c (changed where Sonde differs) and that place.
static struct buf expected_json(struct slice line, const struct call *c, struct slice file, unsigned number)
{
    struct buf b;
    buf_init(&b, TEXT_MAX);
    const char *at = line.p;
    if (!slice_eq(file, c->file) || number != c->line) {
        const char *level_end = memmem(line.p, line.n, ",\"file\":\"", 9), *target = memmem(line.p, line.n, ",\"target\":", 10);
        assert_true(level_end && target && level_end < target);
        buf_put(&b, at, (size_t)(level_end - at));
        buf_printf(&b, ",\"file\":\"%.*s\",\"line\":%u", (int)file.n, file.p, number);
        at = target;
    }
    for (unsigned i = 0; i < c->n; i++) {
        const struct value *v = &c->v[i];
        if (!v->of_span || v->type == SONDE_TYPE_STR)
            continue;
        // raw is the inside of the quotes
        buf_put(&b, at, (size_t)(v->raw.p - 1 - at));
        buf_add(&b, v->raw);
        at = memchr(v->raw.p + v->raw.n, '"', (size_t)(line.p + line.n - v->raw.p - v->raw.n));
        at++;
    }
    buf_put(&b, at, (size_t)(line.p + line.n - at));
    return b;
}

static bool named(const struct call *c, const char *message)
{
    return c->n_spans && slice_eq(c->message, slice_str(message));
}

// Where the span was made: its closing line tells.
static bool span_place(struct arena *a, struct slice all, struct slice span_id, struct slice *file, unsigned *number)
{
    struct slice line;
    static struct call c;
    while (slice_split(&all, '\n', &line)) {
        if (!memmem(line.p, line.n, "\"SPAN_CLOSED\"", 13) || !memmem(line.p, line.n, span_id.p, span_id.n))
            continue;
        if (parse_json(a, line, &c) && slice_eq(c.span_id, span_id)) {
            *file = c.file;
            *number = c.line;
            return true;
        }
    }
    return false;
}

static int64_t extra_us(struct call *c, const char *key)
{
    for (unsigned i = 0; i < c->n; i++) {
        if (slice_eq(c->v[i].key, slice_str(key))) {
            int64_t us = c->v[i].arg.value.i;
            memmove(&c->v[i], &c->v[i + 1], (c->n - i - 1) * sizeof c->v[0]); // the pipeline adds it
            c->n--;
            return us;
        }
    }
    return -1;
}

static void replay_closed(struct replay *w, struct call *c, const struct site *site)
{
    int64_t duration = extra_us(c, "time.duration_us"), busy = extra_us(c, "time.busy_us"), idle = extra_us(c, "time.idle_us");
    CHECK_INT(duration, busy + idle);
    int64_t start = c->time - duration * 1000;
    struct sonde_arg end[1] = {sonde_arg_int(c->time)};
    start_spans(w, c, site, start);
    w->p.style.span_events = false;
    give(w, REC_SPAN_ENTER, 0, end, site, start);
    w->p.style.span_events = true;
    give(w, REC_SPAN_EXIT, 0, end, site, start + busy * 1000);
    give(w, REC_SPAN_END, 0, end, site, c->time);
}

static void check_json_line(struct arena *a, struct slice all, struct slice line)
{
    static struct call c;
    static struct replay w;
    unsigned before = exceptions[SPAN_NUMBER].n;
    memset(&w, 0, sizeof w);
    if (!CHECK(parse_json(a, line, &c)))
        return;
    unsigned after = exceptions[SPAN_NUMBER].n;
    struct slice file = c.file;
    unsigned number = c.line;
    bool entry = named(&c, "SPAN_FIRST_ENTRY"), closed = named(&c, "SPAN_CLOSED");
    if (entry && span_place(a, all, c.span_id, &file, &number))
        exceptions[ENTRY_PLACE].n++;
    exceptions[SPAN_NUMBER].n = after; // not those of the lines that were looked through
    assert_true(after >= before);
    struct buf want = expected_json(line, &c, file, number);
    buf_char(&want, '\n');
    pipeline_init(&w.p);
    w.p.style.jsonl = w.p.style.span_events = true;
    if (entry || closed)
        for (unsigned i = 0; i < c.n; i++)
            c.v[i].of_span = c.v[i].of_span || !slice_starts(c.v[i].key, SLICE("time."));
    struct call bare = c;
    bare.n = entry || closed ? 0 : c.n;
    struct site *site = make_site(a, &bare, file, number);
    if (closed) {
        replay_closed(&w, &c, site);
    } else {
        start_spans(&w, &c, site, c.time);
        if (entry)
            give(&w, REC_SPAN_ENTER, 0, (struct sonde_arg[1]){{.n = 0}}, site, c.time);
        else
            log_record(&w, &c, site);
    }
    CHECK_SLICE(buf_slice(&w.p.out), buf_slice(&want));
    buf_free(&want);
    pipeline_free(&w.p);
    site_free(site);
}

static unsigned each_line(const char *pattern, void (*check)(struct arena *a, struct slice all, struct slice line))
{
    glob_t files;
    unsigned n = 0;
    if (!recorded(pattern, &files))
        return 0;
    for (size_t f = 0; f < files.gl_pathc; f++) {
        struct buf b = load(files.gl_pathv[f]);
        struct slice rest = buf_slice(&b), line;
        unsigned number = 0;
        while (rest.n && slice_split(&rest, '\n', &line)) {
            struct arena a;
            arena_init(&a, 64 << 20);
            check_row("%s:%u", strrchr(files.gl_pathv[f], '/') - strlen("jsonl"), ++number);
            check(&a, buf_slice(&b), line);
            arena_free(&a);
            n++;
        }
        buf_free(&b);
    }
    globfree(&files);
    return n;
}

static void report(unsigned lines, enum exception from, enum exception to)
{
    print_message("%u recorded lines made again, byte for byte; decided differences:\n", lines);
    for (enum exception e = from; e <= to; e++) {
        print_message("%6u %s\n", exceptions[e].n, exceptions[e].name);
        CHECK(exceptions[e].n > 0);
    }
}

static void jsonl(void **state)
{
    (void)state;
    unsigned n = each_line("*-jsonl*", check_json_line);
    if (!n)
        skip();
    report(n, SPAN_NUMBER, ENTRY_PLACE);
    check_done();
}

// ---- text -----------------------------------------------------------------------------------------------------------
#define DIM   "\x1b[2m"
#define OFF   "\x1b[0m"
#define BOLD  "\x1b[1m"
#define SLANT "\x1b[3m"

// Takes what stands before `mark`, and the mark.
static bool upto(struct slice *rest, const char *mark, struct slice *out)
{
    size_t n = strlen(mark);
    const char *at = rest->p ? memmem(rest->p, rest->n, mark, n) : NULL;
    if (!at)
        return false;
    *out = slice_of(rest->p, (size_t)(at - rest->p));
    *rest = slice_from(*rest, out->n + n);
    return true;
}

static bool skip_text(struct slice *rest, const char *text)
{
    if (!slice_starts(*rest, slice_str(text)))
        return false;
    *rest = slice_from(*rest, strlen(text));
    return true;
}

// A string in Rust's debug form; false if it is none. out gets it without quotes and escapes.
static bool quoted(struct arena *a, struct slice s, struct slice *out)
{
    char *p = arena_alloc(a, s.n + 1);
    size_t n = 0, i = 1;
    if (s.n < 2 || s.p[0] != '"' || s.p[s.n - 1] != '"')
        return false;
    for (; i < s.n - 1; i++) {
        char c = s.p[i];
        if (c == '"')
            return false;
        if (c == '\\' && ++i < s.n - 1)
            c = s.p[i] == 'n' ? '\n' : s.p[i] == 't' ? '\t' : s.p[i];
        p[n++] = c;
    }
    *out = slice_of(p, n);
    return true;
}

// One field; writes to want what Sonde should write of it.
static void text_value(struct arena *a, struct value *v, struct buf *want)
{
    struct slice text;
    v->type = SONDE_TYPE_STR;
    if (quoted(a, v->raw, &text)) {
        v->arg = sonde_arg_strn(text.p, text.n);
        buf_add(want, v->raw);
        return;
    }
    enum sonde_type type = plain_type(v->raw, &v->arg);
    if (type) {
        v->type = type;
        buf_add(want, v->raw);
        return;
    }
    v->arg = sonde_arg_strn(v->raw.p, v->raw.n);
    exceptions[DISPLAY_QUOTED].n++;
    buf_char(want, '"');
    for (size_t i = 0; i < v->raw.n; i++) {
        if (v->raw.p[i] == '"' || v->raw.p[i] == '\\')
            buf_char(want, '\\');
        buf_char(want, v->raw.p[i]);
    }
    buf_char(want, '"');
}

static bool text_head(struct slice *rest, struct call *c)
{
    struct slice level, tail;
    bool ok = skip_text(rest, DIM) && upto(rest, OFF " ", &c->time_text) && upto(rest, "m", &tail) &&
              upto(rest, OFF " ", &level) && time_parse(c->time_text.p, c->time_text.n, &c->time);
    c->level = level_of(slice_trim(level));
    while (ok && c->n_spans < CHAIN_MAX && skip_text(rest, BOLD))
        ok = upto(rest, OFF ":", &c->span_name[c->n_spans++]);
    if (c->n_spans)
        ok = ok && skip_text(rest, " ");
    return ok && skip_text(rest, DIM) && upto(rest, OFF DIM ":" OFF " ", &c->target) && c->level;
}

// Fields of the event, then a dimmed group for each span.
static bool text_fields(struct arena *a, struct slice rest, struct call *c, struct buf *want)
{
    int owner = -1;
    while (rest.n) {
        struct value *v = &c->v[c->n];
        if (c->n == KEYS_MAX)
            return false;
        if (skip_text(&rest, " " DIM SLANT)) {
            owner++;
            buf_str(want, " " DIM SLANT);
        } else if (skip_text(&rest, " " SLANT)) {
            buf_str(want, " " SLANT);
        } else {
            return false;
        }
        if (!upto(&rest, OFF DIM "=" OFF, &v->key))
            return false;
        buf_add(want, v->key);
        buf_str(want, OFF DIM "=" OFF);
        const char *next = memmem(rest.p, rest.n, " " SLANT, 5), *group = memmem(rest.p, rest.n, OFF, 4);
        const char *group_start = memmem(rest.p, rest.n, " " DIM SLANT, 9);
        const char *end = rest.p + rest.n;
        end = next && next < end ? next : end;
        end = group_start && group_start < end ? group_start : end;
        bool closes = owner >= 0 && group && group < end;
        end = closes ? group : end;
        v->raw = slice_of(rest.p, (size_t)(end - rest.p));
        rest = slice_from(rest, v->raw.n + (closes ? 4 : 0));
        v->of_span = owner >= 0;
        c->owner[c->n++] = (unsigned)(owner < 0 ? 0 : owner);
        text_value(a, v, want);
        if (closes)
            buf_str(want, OFF);
    }
    return owner < (int)c->n_spans;
}

static void check_text_line(struct arena *a, struct slice all, struct slice line)
{
    static struct call c;
    static struct replay w;
    struct slice rest = line;
    struct buf want;
    (void)all;
    memset(&c, 0, sizeof c);
    memset(&w, 0, sizeof w);
    buf_init(&want, TEXT_MAX);
    if (!CHECK(text_head(&rest, &c)))
        return;
    const char *field = memmem(rest.p, rest.n, " " SLANT, 5), *group = memmem(rest.p, rest.n, " " DIM SLANT, 9);
    const char *end = field && (!group || field < group) ? field : group ? group : rest.p + rest.n;
    c.message = slice_of(rest.p, (size_t)(end - rest.p));
    buf_put(&want, line.p, (size_t)(end - line.p));
    if (!CHECK(text_fields(a, slice_of(end, (size_t)(line.p + line.n - end)), &c, &want)))
        goto out;
    buf_char(&want, '\n');
    pipeline_init(&w.p);
    w.p.style.color = true;
    struct site *site = make_site(a, &c, SLICE(""), 0);
    start_spans(&w, &c, site, c.time);
    log_record(&w, &c, site);
    CHECK_SLICE(buf_slice(&w.p.out), buf_slice(&want));
    pipeline_free(&w.p);
    site_free(site);
out:
    buf_free(&want);
}

static void text(void **state)
{
    (void)state;
    unsigned n = each_line("info-text", check_text_line);
    if (!n)
        skip();
    report(n, DISPLAY_QUOTED, DISPLAY_QUOTED);
    check_done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(jsonl), cmocka_unit_test(text)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
