// /debug/: a look inside while it runs, for who may.
#define SONDE_TARGET "sonde::status" // of the lines written here
#include "base/alloc.h"
#include "base/limits.h"
#include "sdk/dump.h"
#include "sdk/env.h"
#include "sdk/inspect.h"
#include "sdk/sdk.h"
#include "sdk/status.h"
#include <stdio.h>
#include <stdlib.h>

enum { RING_TAIL = 100, SPANS_SHOWN = 1000, TOKEN_MAX = 256 };

// ---- who may --------------------------------------------------------------------------------------------------------
// Compares all of both, so that the time tells nothing.
static bool same(struct slice a, struct slice b)
{
    unsigned char diff = (unsigned char)(a.n != b.n);
    for (size_t i = 0; i < a.n; i++)
        diff |= (unsigned char)(a.p[i] ^ (b.n ? b.p[i % b.n] : 1));
    return diff == 0;
}

// A page of a browser may be led here by a name that resolves to this machine; an address or localhost it cannot choose.
static bool own_name(struct slice host)
{
    size_t n = 0;
    if (host.n && host.p[0] == '[')
        return true;
    while (n < host.n && host.p[n] != ':')
        n++;
    host = slice_cut(host, n);
    if (slice_ieq(host, SLICE("localhost")))
        return true;
    for (size_t i = 0; i < host.n; i++)
        if (!strchr("0123456789.", host.p[i]))
            return false;
    return true;
}

static bool allowed(const struct net_request *q)
{
    char token[TOKEN_MAX];
    struct slice sent = status_header(q, "authorization");
    if (env_text("SONDE_DEBUG_TOKEN", token, sizeof token) && slice_ieq(slice_cut(sent, 7), SLICE("Bearer ")) &&
        same(slice_trim(slice_from(sent, 7)), slice_str(token)))
        return true;
    struct slice host = status_header(q, "host");
    host = host.n ? host : status_header(q, ":authority");
    // nor may a page that a browser on this machine shows send something here without being asked for it
    return q->loopback && own_name(host) && !status_header(q, "origin").n;
}

// ---- level ----------------------------------------------------------------------------------------------------------
static void show_level(struct net_reply *out)
{
    struct level_shown l;
    level_show(&l);
    out->content_type = SLICE("application/json");
    struct jw w = jw_to(&out->body);
    jw_obj(&w);
    JW_KEY(&w, "expires_in_ms");
    l.left_ms ? jw_i64(&w, l.left_ms) : jw_null(&w);
    JW_KEY(&w, "filter");
    jw_str(&w, slice_str(l.now));
    JW_KEY(&w, "then");
    l.left_ms ? jw_str(&w, slice_str(l.then)) : jw_null(&w);
    jw_obj_end(&w);
    buf_char(&out->body, '\n');
}

// "90s" at the end of "FILTER for 90s" in ms; 0: none, the whole is the filter.
static unsigned expiry(struct slice *text)
{
    static const struct {
        char unit[3];
        unsigned ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    for (size_t i = text->n; i > 5; i--) {
        if (memcmp(text->p + i - 5, " for ", 5) != 0)
            continue;
        struct slice word = slice_trim(slice_from(*text, i));
        size_t digits = 0;
        uint64_t n;
        while (digits < word.n && word.p[digits] >= '0' && word.p[digits] <= '9')
            digits++;
        for (size_t k = 0; k < sizeof units / sizeof *units; k++) {
            if (slice_eq(slice_from(word, digits), slice_str(units[k].unit)) && slice_to_u64(slice_cut(word, digits), &n) && n &&
                n <= UINT32_MAX / units[k].ms) {
                *text = slice_trim(slice_cut(*text, i - 5));
                return (unsigned)n * units[k].ms;
            }
        }
    }
    return 0;
}

static void change_level(struct slice text, struct net_reply *out)
{
    char filter[FILTER_TEXT];
    text = slice_trim(text);
    unsigned ms = expiry(&text);
    if (!ms && memmem(text.p ? text.p : "", text.n, " for ", 5)) {
        status_text(out, 400, "the time is written as \" for 90s\": a number, and ms, s, m or h\n");
        return;
    }
    if (text.n >= sizeof filter) {
        status_text(out, 413, "the filter is too long\n");
        return;
    }
    snprintf(filter, sizeof filter, "%.*s", (int)text.n, text.n ? text.p : "");
    if (!ms)
        sonde_set_filter_for(NULL, 0); // what holds for a time ends with it
    bool ok = ms ? sonde_set_filter_for(filter, ms) : sonde_set_filter(filter);
    if (!ok) {
        status_text(out, 400,
                    "the filter has a mistake (stderr tells where); write it as info,my::target=debug or with \" for 90s\"\n");
        return;
    }
    SONDE_INFO("filter changed through the status server", SONDE_STR("filter", filter), SONDE_UINT("for_ms", ms));
    show_level(out);
}

static void level(const struct net_request *q, struct net_reply *out)
{
    if (slice_eq(q->method, SLICE("PUT")) || slice_eq(q->method, SLICE("POST")))
        change_level(q->body, out);
    else if (slice_eq(q->method, SLICE("DELETE")))
        change_level(SLICE(""), out);
    else if (status_get(q))
        show_level(out);
    else
        status_method(out, "GET, HEAD, PUT, POST, DELETE");
}

// ---- ring -----------------------------------------------------------------------------------------------------------
static uint64_t number(struct slice query, uint64_t otherwise)
{
    struct slice v;
    uint64_t n;
    return status_param(query, "n", &v) && slice_to_u64(v, &n) ? n : otherwise;
}

static struct slice tail(struct slice text, uint64_t lines)
{
    size_t at = text.n;
    if (at && text.p[at - 1] == '\n')
        at--;
    for (; at; at--)
        if (text.p[at - 1] == '\n' && lines-- <= 1)
            break;
    return slice_from(text, at);
}

static void ring(const struct net_request *q, struct net_reply *out)
{
    struct slice form = SLICE("text");
    struct error err = {0};
    struct buf all;
    status_param(q->query, "format", &form);
    bool jsonl = slice_eq(form, SLICE("jsonl"));
    if (!jsonl && !slice_eq(form, SLICE("text"))) {
        status_text(out, 400, "format is text or jsonl\n");
        return;
    }
    buf_init(&all, INSPECT_OUT_MAX);
    enum errc rc = sdk.ring ? ring_inspect_own(sdk.ring, jsonl, &all, &err) : ERR(&err, UNSUPPORTED, "there is no ring");
    if (rc == ERR_OK) {
        out->content_type = jsonl ? SLICE("application/x-ndjson") : out->content_type;
        buf_add(&out->body, tail(buf_slice(&all), number(q->query, RING_TAIL) + 1)); // + 1: the line of counts
    } else {
        status_text(out, 500, err.msg);
    }
    buf_free(&all);
}

// ---- spans ----------------------------------------------------------------------------------------------------------
struct open_span {
    int64_t start_ns;
    uint8_t trace_id[16], span_id[8], parent_id[8];
    bool has_parent;
    char name[128], target[128];
};

static int by_start(const void *a, const void *b)
{
    const struct open_span *x = a, *y = b;
    return (x->start_ns > y->start_ns) - (x->start_ns < y->start_ns);
}

// A copy of the backend's table, up to now.
static size_t open_spans(struct open_span **out)
{
    size_t n = 0;
    backend_run(false);
    pthread_mutex_lock(&sdk.drain);
    const struct span_table *t = &sdk.pipe.spans;
    struct open_span *list = t->n ? mem_zalloc(t->n * sizeof *list) : NULL;
    for (uint32_t i = 0; list && i < t->size; i++) {
        for (const struct bspan *s = t->slot[i]; s && n < t->n; s = s->next) {
            if (s->ended) // waits for its trace
                continue;
            struct open_span *o = &list[n++];
            o->start_ns = s->start_ns;
            memcpy(o->trace_id, s->trace_id, 16);
            memcpy(o->span_id, s->span_id, 8);
            memcpy(o->parent_id, s->parent_id, 8);
            o->has_parent = s->has_parent;
            snprintf(o->name, sizeof o->name, "%.*s", (int)s->name.n, s->name.p ? s->name.p : "");
            if (s->site)
                snprintf(o->target, sizeof o->target, "%.*s", (int)s->site->target.n, s->site->target.p);
        }
    }
    pthread_mutex_unlock(&sdk.drain);
    if (n)
        qsort(list, n, sizeof *list, by_start);
    *out = list;
    return n;
}

static void spans(const struct net_request *q, struct net_reply *out)
{
    struct open_span *list;
    size_t n = open_spans(&list), shown = number(q->query, SPANS_SHOWN);
    int64_t now = clock_wall_ns();
    struct jw w = jw_to(&out->body);
    out->content_type = SLICE("application/json");
    jw_obj(&w);
    JW_KEY(&w, "open");
    jw_u64(&w, n);
    JW_KEY(&w, "spans");
    jw_arr(&w);
    for (size_t i = 0; i < n && i < shown; i++) {
        jw_obj(&w);
        JW_KEY(&w, "age_ms");
        jw_i64(&w, (now - list[i].start_ns) / 1000000);
        JW_KEY(&w, "name");
        jw_str(&w, slice_str(list[i].name));
        JW_KEY(&w, "parent_id");
        list[i].has_parent ? jw_hex(&w, list[i].parent_id, 8) : jw_null(&w);
        JW_KEY(&w, "span_id");
        jw_hex(&w, list[i].span_id, 8);
        JW_KEY(&w, "target");
        jw_str(&w, slice_str(list[i].target));
        JW_KEY(&w, "trace_id");
        jw_hex(&w, list[i].trace_id, 16);
        jw_obj_end(&w);
    }
    jw_arr_end(&w);
    jw_obj_end(&w);
    buf_char(&out->body, '\n');
    mem_free(list);
}

// ---- config ---------------------------------------------------------------------------------------------------------
static void config(const struct net_request *q, struct net_reply *out)
{
    struct slice gpu = SLICE("");
    status_param(q->query, "gpu", &gpu);
    if (!dump_again(!slice_eq(gpu, SLICE("1")), &out->body)) {
        status_text(out, 500, "no memory for the dump\n");
        return;
    }
    out->content_type = SLICE("application/json");
}

void status_debug(const struct net_request *q, struct net_reply *out)
{
    static const struct {
        const char *path;
        void (*fn)(const struct net_request *, struct net_reply *);
    } pages[] = {{"/debug/level", level}, {"/debug/ring", ring}, {"/debug/config", config}, {"/debug/spans", spans}};
    if (!allowed(q)) {
        status_text(out, 403,
                    "debug pages are for this machine, or for who sends Authorization: Bearer with SONDE_DEBUG_TOKEN\n");
        return;
    }
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) {
        if (slice_eq(q->path, slice_str(pages[i].path))) {
            if (i > 0 && !status_get(q)) // the others are looked at
                status_method(out, "GET, HEAD");
            else
                pages[i].fn(q, out);
            return;
        }
    }
    status_text(out, 404, "there are /debug/level, /debug/ring, /debug/config and /debug/spans\n");
}
