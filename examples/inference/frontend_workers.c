#define SONDE_TARGET "inference::frontend::workers"
#include "base/clock.h"
#include "front_metrics.h"

enum { PROBE_NS = 500 * 1000000, PROBE_TIMEOUT_NS = 400 * 1000000 };

enum errc pool_read(struct pool *p, const char *phase, const char *urls, struct error *err)
{
    *p = (struct pool){.phase = phase};
    struct slice rest = slice_str(urls), url;
    while (urls && *urls && slice_split(&rest, ',', &url)) {
        url = slice_trim(url);
        while (url.n && url.p[url.n - 1] == '/')
            url.n--;
        if (p->n == MAX_WORKERS || url.n >= MAX_WORKER_URL)
            return ERR(err, LIMIT, "--%s: at most %d workers, each URL shorter than %d bytes", phase, MAX_WORKERS,
                       MAX_WORKER_URL);
        struct worker *w = &p->w[p->n++];
        memcpy(w->url, url.p, url.n);
        struct url parts;
        if (url_parse(w->url, &parts, err) != ERR_OK)
            return error_prefix(err, "--%s %s: ", phase, w->url);
    }
    return p->n ? ERR_OK : ERR(err, INPUT, "--%s: the URL of at least one %s worker is wanted", phase, phase);
}

struct worker *pool_pick(struct pool *p)
{
    int64_t now = clock_mono_ns();
    for (size_t i = 0; i < p->n; i++) {
        struct worker *w = &p->w[(p->next + i) % p->n];
        if (w->aside_until > now)
            continue;
        p->next = (p->next + i + 1) % p->n;
        return w;
    }
    return NULL;
}

size_t pool_usable(const struct pool *p)
{
    int64_t now = clock_mono_ns();
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++)
        n += p->w[i].aside_until <= now;
    return n;
}

void worker_aside(struct worker *w, const char *phase, const char *why)
{
    w->aside_until = clock_mono_ns() + front.set.aside_ns;
    SONDE_WARN("worker put aside", SONDE_STR("worker_id", worker_name(w)), SONDE_STR("url", w->url), SONDE_STR("phase", phase),
               SONDE_STR("reason", why), SONDE_F64("seconds", (double)front.set.aside_ns / 1e9));
}

const char *worker_name(const struct worker *w)
{
    return w->id[0] ? w->id : w->url;
}

void worker_learn(struct worker *w, struct slice id)
{
    if (id.n == 0 || id.n >= sizeof w->id || slice_eq(id, slice_str(w->id)))
        return;
    memcpy(w->id, id.p, id.n);
    w->id[id.n] = 0;
    SONDE_INFO("worker instance found", SONDE_STR("worker_id", w->id), SONDE_STR("url", w->url));
}

static void on_probe_head(struct http_call *c, int status, const struct http_header *h, size_t n, void *arg)
{
    for (size_t i = 0; i < n; i++)
        if (slice_eq(h[i].name, SLICE("x-instance-id")))
            worker_learn(arg, h[i].value);
}

static void on_probe_data(struct http_call *c, struct slice bytes, void *arg)
{
    struct worker *w = arg;
    size_t room = sizeof w->answer - w->answer_n;
    memcpy(w->answer + w->answer_n, bytes.p, bytes.n < room ? bytes.n : room);
    w->answer_n += bytes.n < room ? bytes.n : room;
}

static void read_card(struct worker *w)
{
    const struct {
        const char *key;
        int64_t *to;
    } rows[] = {{"kv_total_blocks", &w->card.total_blocks},
                {"kv_active_blocks", &w->card.active_blocks},
                {"kv_block_size", &w->card.block_size},
                {"max_num_seqs", &w->card.max_seqs},
                {"max_num_batched_tokens", &w->card.max_batched_tokens},
                {"active_tokens", &w->card.active_tokens}};
    struct arena a;
    struct json j;
    struct slice key;
    arena_init(&a, MAX_SERVICE_LINE);
    json_init(&j, slice_of(w->answer, w->answer_n), &a, NULL);
    json_object(&j);
    while (!j.failed && json_next_key(&j, &key)) {
        size_t i = 0;
        while (i < sizeof rows / sizeof *rows && !slice_eq(key, slice_str(rows[i].key)))
            i++;
        if (i < sizeof rows / sizeof *rows)
            json_i64(&j, rows[i].to);
        else
            json_skip(&j, NULL);
    }
    arena_free(&a);
}

static void on_probe_done(struct http_call *c, bool ok, const struct error *why, void *arg)
{
    struct worker *w = arg;
    w->asked = false;
    if (!ok)
        return;
    read_card(w);
    worker_counts(w >= front.decode.w && w < front.decode.w + front.decode.n ? &front.decode : &front.prefill, w);
}

static void probe(struct pool *p)
{
    for (size_t i = 0; i < p->n; i++) {
        struct worker *w = &p->w[i];
        if (w->asked)
            continue;
        char url[MAX_WORKER_URL + 16];
        snprintf(url, sizeof url, "%s/health", w->url);
        const struct http_call_options o = {.method = "GET",
                                            .url = url,
                                            .timeout_ns = PROBE_TIMEOUT_NS,
                                            .on_head = on_probe_head,
                                            .on_data = on_probe_data,
                                            .on_done = on_probe_done,
                                            .arg = w};
        struct http_call *call;
        w->answer_n = 0;
        w->asked = http_client_start(front.service.client, &o, &call, NULL) == ERR_OK;
    }
}

void workers_probe(struct loop_timer *t, void *arg)
{
    probe(&front.prefill);
    probe(&front.decode);
    atomic_store_explicit(&front.usable, !front.service.draining && pool_usable(&front.prefill) && pool_usable(&front.decode),
                          memory_order_relaxed);
    loop_timer_set(t, PROBE_NS);
}
