// Readers: temporality, batches, life, producers; exemplars; start times; settings.
#include "base/clock.h"
#include "meter_dump.h"
#include <math.h>
#include <sys/wait.h>

#define OPTIONS(...)  (&(struct sonde_instrument_options){__VA_ARGS__})
#define PROVIDER(...) sonde_meter_provider_new(&(struct sonde_meter_provider_options){__VA_ARGS__})
#define READER(...)   ((struct sonde_reader_options){__VA_ARGS__})

static struct sonde_meter *meter(struct sonde_meter_provider *p, const char *name)
{
    return sonde_meter_get(p, &(struct sonde_scope){.name = name});
}

static void done(struct sonde_meter_provider *p, struct dump *d)
{
    sonde_meter_provider_free(p);
    buf_free(&d->text);
    check_done();
}

static int64_t total;
static void told(void *arg, struct sonde_observer *o)
{
    if (total >= 0)
        sonde_observe(o, arg, total, NULL, 0);
}

// M57: deltas by kind; nothing new: no point; a total that fell begins anew.
static void deltas(void **state)
{
    (void)state;
    struct dump d;
    struct sonde_meter_provider *p = PROVIDER(.is_private = true);
    struct sonde_reader *r = dump_reader(p, &d,
                                         READER(.temporality = {[SONDE_INSTRUMENT_COUNTER] = SONDE_TEMPORALITY_DELTA,
                                                                [SONDE_INSTRUMENT_HISTOGRAM] = SONDE_TEMPORALITY_DELTA,
                                                                [SONDE_INSTRUMENT_ASYNC_COUNTER] = SONDE_TEMPORALITY_DELTA}));
    struct sonde_meter *m = meter(p, "l");
    struct sonde_instrument *c = sonde_instrument_new(m, SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "c"));
    struct sonde_instrument *u = sonde_instrument_new(m, SONDE_INSTRUMENT_UPDOWN_COUNTER, OPTIONS(.name = "u"));
    struct sonde_instrument *h = sonde_instrument_new(m, SONDE_INSTRUMENT_HISTOGRAM, OPTIONS(.name = "h"));
    struct sonde_instrument *a = sonde_instrument_new(m, SONDE_INSTRUMENT_ASYNC_COUNTER, OPTIONS(.name = "a"));
    sonde_instrument_callback(a, told, a);
    total = 100;
    sonde_instrument_add(c, 5, NULL, 0);
    sonde_instrument_add(u, 5, NULL, 0);
    sonde_instrument_add(h, 5, NULL, 0);
    dump_is(r, &d,
            "l c [] sum+ delta {} 5\nl u [] sum total {} 5\nl h [] histogram delta {} 1/5 <=5:1\nl a [] sum+ delta {} 100\n");
    sonde_instrument_add(c, 2, NULL, 0);
    sonde_instrument_add(u, 2, NULL, 0);
    sonde_instrument_add(h, 7, NULL, 0);
    total = 130;
    dump_is(r, &d,
            "l c [] sum+ delta {} 2\nl u [] sum total {} 7\nl h [] histogram delta {} 1/7 <=10:1\nl a [] sum+ delta {} 30\n");
    dump_is(r, &d, "l u [] sum total {} 7\n");
    total = 10; // its counter began anew
    dump_is(r, &d, "l u [] sum total {} 7\nl a [] sum+ delta {} 10\n");
    done(p, &d);
}

// The smallest and largest value: of all for totals, of the interval for deltas, for each reader its own interval.
static void min_max(void **state)
{
    (void)state;
    struct dump d, e, f;
    struct sonde_view views[] = {{.instrument_name = "without", .no_min_max = true},
                                 {.instrument_name = "x", .aggregation = SONDE_AGGREGATION_EXPONENTIAL_HISTOGRAM}};
    struct sonde_meter_provider *p = PROVIDER(.is_private = true, .views = views, .n_views = 2);
    struct sonde_reader_options delta = READER(.temporality = {[SONDE_INSTRUMENT_HISTOGRAM] = SONDE_TEMPORALITY_DELTA});
    struct sonde_reader *total_of = dump_reader(p, &d, READER(0)), *delta_of = dump_reader(p, &e, delta);
    struct sonde_reader *late = dump_reader(p, &f, delta);
    d.extremes = e.extremes = f.extremes = true;
    const struct sonde_instrument_options o = {.f64 = true, .bounds = (double[]){10}, .n_bounds = 1};
    struct sonde_instrument *i[3];
    const char *const names[] = {"h", "without", "x"};
    for (int k = 0; k < 3; k++) {
        struct sonde_instrument_options named = o;
        named.name = names[k];
        i[k] = sonde_instrument_new(meter(p, "l"), SONDE_INSTRUMENT_HISTOGRAM, &named);
    }
    for (int k = 0; k < 3; k++) {
        sonde_instrument_add_f64(i[k], 4, NULL, 0);
        sonde_instrument_add_f64(i[k], 2, NULL, 0);
        sonde_instrument_add_f64(i[k], 3, NULL, 0);
        sonde_instrument_add_f64(i[k], NAN, NULL, 0);
        sonde_instrument_add_f64(i[k], INFINITY, NULL, 0);
    }
    dump_is(total_of, &d, "h 3 2 4\nwithout 3\nx 3 2 4\n");
    dump_is(delta_of, &e, "h 3 2 4\nwithout 3\nx 3 2 4\n");
    struct sonde_bound *bound = sonde_instrument_bind(i[0], NULL, 0), *bound_x = sonde_instrument_bind(i[2], NULL, 0);
    sonde_bound_add_f64(bound, 3); // within what was seen, and the extreme of this interval
    sonde_bound_add_f64(bound_x, 1);
    dump_is(delta_of, &e, "h 1 3 3\nx 1 1 1\n");
    sonde_bound_add(bound, 20);
    sonde_bound_add(bound, 1);
    dump_is(late, &f, "h 6 1 20\nwithout 3\nx 4 1 4\n"); // its first: all that there was
    dump_is(delta_of, &e, "h 2 1 20\n");
    dump_is(delta_of, &e, "");
    dump_is(total_of, &d, "h 6 1 20\nwithout 3\nx 4 1 4\n");
    sonde_bound_add(bound, 20);
    dump_is(late, &f, "h 1 20 20\n");
    sonde_meter_provider_free(p); // exports once more
    buf_free(&d.text);
    buf_free(&e.text);
    buf_free(&f.text);
    check_done();
}

// The buckets of an exponential histogram get coarser between two collections: the earlier counts are taken off rightly.
static void delta_exponential(void **state)
{
    (void)state;
    struct dump d;
    struct sonde_meter_provider *p = PROVIDER(.is_private = true);
    struct sonde_reader *r =
        dump_reader(p, &d,
                    READER(.aggregation = {[SONDE_INSTRUMENT_HISTOGRAM] = SONDE_AGGREGATION_EXPONENTIAL_HISTOGRAM},
                           .temporality = {SONDE_TEMPORALITY_DELTA}));
    struct sonde_instrument *h =
        sonde_instrument_new(meter(p, "l"), SONDE_INSTRUMENT_HISTOGRAM, OPTIONS(.name = "h", .f64 = true));
    sonde_instrument_add_f64(h, 1, NULL, 0);
    sonde_instrument_add_f64(h, 0, NULL, 0);
    dump_is(r, &d, "l h [] exponential delta {} 2/1 scale 8 zero 1 +-1:1\n");
    sonde_instrument_add_f64(h, 4, NULL, 0); // 512 fine buckets away: the scale falls to 6
    dump_is(r, &d,
            "l h [] exponential delta {} 1/4 scale 6 zero 0 "
            "+-1:0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,"
            "0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,"
            "0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1\n");
    done(p, &d);
}

// M87: a series begins with its first value, an asynchronous one with the collection before; a delta with the last collection.
static void starts(void **state)
{
    (void)state;
    struct dump d, e;
    struct sonde_meter_provider *p = PROVIDER(.is_private = true);
    struct sonde_reader *r = dump_reader(p, &d, READER(0)),
                        *s = dump_reader(p, &e, READER(.temporality = {SONDE_TEMPORALITY_DELTA}));
    int64_t before = clock_wall_ns();
    struct sonde_instrument *c = sonde_instrument_new(meter(p, "l"), SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "c"));
    usleep(2000);
    int64_t first = clock_wall_ns();
    sonde_instrument_add(c, 1, NULL, 0);
    CHECK(sonde_reader_collect(r, 10000));
    CHECK(d.start >= first && d.start > before && d.time >= d.start);
    int64_t began = d.start;
    CHECK(sonde_reader_collect(s, 10000) && e.start == began);
    int64_t last = e.time;
    sonde_instrument_add(c, 1, NULL, 0);
    CHECK(sonde_reader_collect(r, 10000) && d.start == began); // cumulative: it stays
    CHECK(sonde_reader_collect(s, 10000) && e.start == last && e.time > last);
    int64_t second = clock_wall_ns();
    sonde_instrument_add(c, 1, ATTRS(A("new", "one")));
    CHECK(sonde_reader_collect(r, 10000) && d.start >= second); // of the last point: the new series
    struct sonde_instrument *a = sonde_instrument_new(meter(p, "z"), SONDE_INSTRUMENT_ASYNC_COUNTER, OPTIONS(.name = "a"));
    int64_t made = clock_wall_ns();
    sonde_instrument_callback(a, told, a);
    total = -1; // tells nothing yet
    CHECK(sonde_reader_collect(r, 10000));
    int64_t previous = clock_wall_ns();
    total = 1;
    CHECK(sonde_reader_collect(r, 10000) && d.start > made && d.start <= previous);
    sonde_meter_provider_shutdown(p, 10000); // the last collection
    buf_free(&e.text);
    done(p, &d);
}

// M55, M58, M61, M88: points of one collection in batches of a size.
static void batches(void **state)
{
    (void)state;
    struct dump d;
    struct sonde_meter_provider *p = PROVIDER(.is_private = true);
    struct sonde_reader *r = dump_reader(p, &d, READER(.max_points = 7, .timeout_ms = 1234));
    for (int k = 0; k < 3; k++) {
        char name[] = {'c', (char)('0' + k), 0};
        struct sonde_instrument *c =
            sonde_instrument_new(meter(p, k == 2 ? "m" : "l"), SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = name));
        for (int i = 0; i < 10; i++)
            sonde_instrument_add(c, i, ATTRS(I("i", i)));
    }
    CHECK(sonde_reader_collect(r, 10000));
    CHECK(d.points == 30 && d.batches == 5 && d.largest == 7 && d.limit_ms == 1234);
    size_t lines = 0;
    for (size_t i = 0; i < d.text.n; i++)
        lines += d.text.p[i] == '\n';
    CHECK(lines == 30 && slice_find(buf_slice(&d.text), SLICE("m c2 [] sum+ total {i=9} 9\n")) > 0);
    done(p, &d);
}

static void *flusher(void *r)
{
    for (int i = 0; i < 20; i++)
        sonde_reader_flush(r, 10000);
    return NULL;
}

// M59, M60, M62-M66.
static void life(void **state)
{
    (void)state;
    struct dump d;
    struct sonde_meter_provider *p = PROVIDER(.is_private = true);
    struct sonde_reader *r = dump_reader(p, &d, READER(.periodic = true, .interval_ms = 5));
    struct sonde_instrument *c = sonde_instrument_new(meter(p, "l"), SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "c"));
    sonde_instrument_add(c, 1, NULL, 0);
    for (int i = 0; i < 6000 && d.batches < 3; i++)
        usleep(5000);
    CHECK(d.batches >= 3); // by itself
    pthread_t t[3];
    for (int i = 0; i < 3; i++)
        pthread_create(&t[i], NULL, flusher, r);
    for (int i = 0; i < 3; i++)
        pthread_join(t[i], NULL);
    CHECK(!d.overlapped && d.flushes >= 20); // one export at a time; flushes that wait together are one
    CHECK(sonde_meter_provider_flush(p, 10000));
    d.fail = true; // results are told
    CHECK(!sonde_reader_flush(r, 10000) && !sonde_meter_provider_flush(p, 10000));
    d.fail = false;
    d.sleep_ms = 2000; // a slow exporter: the caller waits as long as it said
    int64_t start = clock_mono_ns();
    CHECK(!sonde_reader_collect(r, 20));
    CHECK(clock_mono_ns() - start < 1500000000);
    CHECK(sonde_reader_flush(r, 10000));
    d.sleep_ms = 0;
    CHECK(sonde_meter_provider_shutdown(p, 10000) && d.shutdowns == 1);
    CHECK(!sonde_meter_provider_shutdown(p, 1000) && !sonde_reader_flush(r, 1000) && !sonde_reader_shutdown(r, 1000) &&
          d.shutdowns == 1);
    CHECK(!sonde_instrument_enabled(c) &&
          !sonde_instrument_enabled(sonde_instrument_new(meter(p, "late"), SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "c"))));
    done(p, &d);
}

// M66: an exporter that hangs does not hold up shutdown.
static void hanging(void **state)
{
    (void)state;
    static struct dump d; // outlives the test: the exporter still has it
    struct sonde_meter_provider *p = PROVIDER(.is_private = true);
    dump_reader(p, &d, READER(0));
    d.sleep_ms = 3000;
    sonde_instrument_add(sonde_instrument_new(meter(p, "l"), SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "c")), 1, NULL, 0);
    int64_t start = clock_mono_ns();
    CHECK(!sonde_meter_provider_shutdown(p, 50));
    CHECK(clock_mono_ns() - start < 2500000000);
    for (int i = 0; i < 6000 && !d.shutdowns; i++)
        usleep(5000);
    CHECK(d.shutdowns == 1); // it came to it in the end
    done(p, &d);
}

// ---- producers ------------------------------------------------------------------------------------------------------
static struct sonde_metric_data produced[3];
static atomic_uint filter_seen;
static bool produce(void *arg, const struct sonde_metric_filter *filter, struct sonde_collection *to)
{
    (void)arg;
    filter_seen += filter != NULL;
    for (int i = 0; i < 3; i++)
        if (produced[i].name && !sonde_collection_add(to, &produced[i]))
            return false;
    return true;
}
static bool wanted(void *arg, const struct sonde_scope *scope, const char *name, enum sonde_data_kind kind, const char *unit)
{
    (void)arg;
    (void)scope;
    (void)kind;
    (void)unit;
    return strncmp(name, "secret", 6) != 0;
}
static bool point_wanted(void *arg, const struct sonde_scope *scope, const char *name, const struct sonde_field *f, size_t n)
{
    (void)arg;
    (void)scope;
    (void)name;
    return n == 0 || strcmp(f[0].key, "hide") != 0;
}

// M81-M83, X53, X55: their deltas become totals, and totals deltas; the reader's filter is applied to them and to instruments.
static void producers(void **state)
{
    (void)state;
    struct dump d, e;
    static const struct sonde_scope scope = {.name = "bridge", .version = "", .schema_url = ""};
    static const struct sonde_metric_filter filter = {wanted, point_wanted, NULL};
    static const double bounds[] = {1};
    static const uint64_t counts[] = {2, 1};
    const struct sonde_field hidden[] = {A("hide", "me")};
    struct sonde_point sum[] = {{.i = 5, .start_ns = 100}, {.i = 1, .attributes = hidden, .n_attributes = 1}};
    static struct sonde_point histogram = {.count = 3, .sum = 9, .counts = counts, .start_ns = 100}, secret = {.i = 1};
    produced[0] = (struct sonde_metric_data){.scope = &scope,
                                             .name = "s",
                                             .kind = SONDE_DATA_SUM,
                                             .monotonic = true,
                                             .temporality = SONDE_TEMPORALITY_DELTA,
                                             .points = sum,
                                             .n_points = 2};
    produced[1] = (struct sonde_metric_data){.scope = &scope,
                                             .name = "h",
                                             .kind = SONDE_DATA_HISTOGRAM,
                                             .bounds = bounds,
                                             .n_bounds = 1,
                                             .temporality = SONDE_TEMPORALITY_DELTA,
                                             .points = &histogram,
                                             .n_points = 1};
    produced[2] = (struct sonde_metric_data){
        .scope = &scope, .name = "secret.s", .kind = SONDE_DATA_GAUGE, .points = &secret, .n_points = 1};
    struct sonde_meter_provider *p = PROVIDER(.is_private = true);
    struct sonde_reader *r = dump_reader(p, &d, READER(.filter = &filter));
    struct sonde_reader *s = dump_reader(p, &e, READER(.temporality = {SONDE_TEMPORALITY_DELTA}));
    CHECK(sonde_reader_producer(r, produce, NULL) && sonde_reader_producer(s, produce, NULL));
    sonde_instrument_add(sonde_instrument_new(meter(p, "l"), SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "secret.own")), 1, NULL,
                         0);
    struct sonde_instrument *own = sonde_instrument_new(meter(p, "l"), SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "own"));
    sonde_instrument_add(own, 1, NULL, 0);
    sonde_instrument_add(own, 1, ATTRS(A("hide", "x")));
    dump_is(r, &d, "l own [] sum+ total {} 1\nbridge s [] sum+ total {} 5\nbridge h [] histogram total {} 3/9 <=1:2 <=+Inf:1\n");
    dump_is(r, &d,
            "l own [] sum+ total {} 1\nbridge s [] sum+ total {} 10\nbridge h [] histogram total {} 6/18 <=1:4 <=+Inf:2\n");
    CHECK(filter_seen == 2);
    dump_is(
        s, &e,
        "l secret.own [] sum+ delta {} 1\nl own [] sum+ delta {} 1\nl own [] sum+ delta {hide=x} 1\nbridge s [] sum+ delta {} 5\n"
        "bridge s [] sum+ delta {hide=me} 1\nbridge h [] histogram delta {} 3/9 <=1:2 <=+Inf:1\nbridge secret.s [] gauge {} 1\n");
    produced[0].temporality = SONDE_TEMPORALITY_CUMULATIVE;
    produced[1].name = produced[2].name = NULL;
    sum[0].i = 12;
    dump_is(s, &e, "bridge s [] sum+ delta {} 12\nbridge s [] sum+ delta {hide=me} 1\n");
    sum[0].i = 20;
    sum[1].i = 1;
    dump_is(s, &e, "bridge s [] sum+ delta {} 8\n");
    sonde_meter_provider_shutdown(p, 10000); // the last collection
    buf_free(&e.text);
    done(p, &d);
}

// ---- exemplars ------------------------------------------------------------------------------------------------------
struct own {
    unsigned offered, collected;
    double last;
    int64_t time;
    bool span;
    struct sonde_field keep;
};
static void *own_make(void *arg)
{
    return arg;
}
static void own_offer(void *st, double v, const struct sonde_field *f, size_t n, const struct sonde_context *c, int64_t time)
{
    struct own *o = st;
    o->offered++;
    o->last = v;
    o->time = time;
    o->span = c != NULL;
    if (n)
        o->keep = f[n - 1];
}
static size_t own_collect(void *st, struct sonde_exemplar *out, size_t max)
{
    struct own *o = st;
    o->collected++;
    out[0] = (struct sonde_exemplar){.value = o->last, .time_ns = o->time};
    return max > 0;
}

// M67-M73, M75, M76, M79, M80: what each filter lets through, and what an exemplar holds.
static void exemplars(void **state)
{
    (void)state;
    static const char *const none[] = {"x"};
    static const struct sonde_view filtered = {.instrument_name = "c", .keep = none, .n_keep = 1};
    static const struct {
        enum sonde_exemplar_filter filter;
        bool span;
        const char *counter, *histogram;
    } rows[] = {
        {SONDE_EXEMPLARS_TRACE_BASED, true, "l c [] sum+ total {} 3 ~3@span{user=u}\n",
         "l h [] histogram total {} 3/57 <=5:2 <=50:1 ~3@span ~50@span\n"},
        {SONDE_EXEMPLARS_TRACE_BASED, false, "l c [] sum+ total {} 3\n", "l h [] histogram total {} 3/57 <=5:2 <=50:1\n"},
        {SONDE_EXEMPLARS_ALWAYS_ON, false, "l c [] sum+ total {} 3 ~3{user=u}\n",
         "l h [] histogram total {} 3/57 <=5:2 <=50:1 ~3 ~50\n"},
        {SONDE_EXEMPLARS_ALWAYS_ON, true, "l c [] sum+ total {} 3 ~3@span{user=u}\n",
         "l h [] histogram total {} 3/57 <=5:2 <=50:1 ~3@span ~50@span\n"},
        {SONDE_EXEMPLARS_ALWAYS_OFF, true, "l c [] sum+ total {} 3\n", "l h [] histogram total {} 3/57 <=5:2 <=50:1\n"},
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct dump d;
        char want[400];
        check_row("%zu", i);
        struct sonde_meter_provider *p =
            PROVIDER(.is_private = true, .views = &filtered, .n_views = 1, .exemplar_filter = rows[i].filter);
        struct sonde_reader *r = dump_reader(p, &d, READER(0));
        struct sonde_instrument *c = sonde_instrument_new(meter(p, "l"), SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "c"));
        struct sonde_instrument *h = sonde_instrument_new(meter(p, "l"), SONDE_INSTRUMENT_HISTOGRAM, OPTIONS(.name = "h"));
        struct sonde_bound *b = sonde_instrument_bind(c, ATTRS(A("user", "u")));
        struct sonde_span *s = rows[i].span ? sonde_span_start("s", SONDE_KIND_INTERNAL, NULL) : NULL;
        if (s)
            sonde_span_enter(s);
        sonde_bound_add(b, 3);
        sonde_instrument_add(h, 3, NULL, 0);
        sonde_instrument_add(h, 4, NULL, 0); // the same bucket: one stays
        sonde_instrument_add(h, 50, NULL, 0);
        if (s) {
            sonde_span_exit(s);
            sonde_span_end(s);
        }
        snprintf(want, sizeof want, "%s%s", rows[i].counter, rows[i].histogram);
        dump_is(r, &d, want);
        sonde_meter_provider_free(p);
        buf_free(&d.text);
    }
    check_done();
}

static struct sonde_exemplar last_exemplar;
static size_t most_exemplars;
static bool keep_exemplars(void *arg, const struct sonde_metrics *b, unsigned limit)
{
    (void)arg;
    (void)limit;
    const struct sonde_point *p = &b->metrics[0].points[0];
    most_exemplars = p->n_exemplars;
    if (p->n_exemplars)
        last_exemplar = p->exemplars[0];
    return true;
}

// M75, M76, M77-M79: ids and time; a fixed number of them, picked by chance; a reservoir of one's own.
static void reservoirs(void **state)
{
    (void)state;
    struct own own = {0};
    struct sonde_reservoir reservoir = {.make = own_make, .offer = own_offer, .collect = own_collect, .arg = &own};
    struct sonde_view v = {.instrument_name = "mine", .reservoir = &reservoir};
    struct sonde_meter_provider *p =
        PROVIDER(.is_private = true, .views = &v, .n_views = 1, .exemplar_filter = SONDE_EXEMPLARS_ALWAYS_ON);
    struct sonde_reader *r = sonde_reader_new(p, &(struct sonde_reader_options){.export_batch = keep_exemplars});
    struct sonde_instrument *c = sonde_instrument_new(meter(p, "l"), SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "c"));
    struct sonde_span *s = sonde_span_start("s", SONDE_KIND_INTERNAL, NULL);
    int64_t before = clock_wall_ns();
    sonde_span_enter(s);
    sonde_instrument_add(c, 1, NULL, 0);
    sonde_span_exit(s);
    CHECK(sonde_reader_collect(r, 10000) && most_exemplars == 1);
    CHECK(last_exemplar.has_span && memcmp(last_exemplar.trace_id, sonde_span_context(s)->trace_id, 16) == 0 &&
          memcmp(last_exemplar.span_id, sonde_span_context(s)->span_id, 8) == 0);
    CHECK(last_exemplar.time_ns >= before && last_exemplar.time_ns <= clock_wall_ns() && last_exemplar.value == 1);
    sonde_span_end(s);
    unsigned late = 0;
    for (int round = 0; round < 50; round++) { // by chance: not always the first four of a thousand
        for (int i = 0; i < 1000; i++)
            sonde_instrument_add(c, i, NULL, 0);
        CHECK(sonde_reader_collect(r, 10000) && most_exemplars == METER_RESERVOIR);
        late += last_exemplar.value >= 500;
    }
    CHECK(late > 5 && late < 45);
    sonde_meter_provider_free(p);

    p = PROVIDER(.is_private = true, .views = &v, .n_views = 1, .exemplar_filter = SONDE_EXEMPLARS_ALWAYS_ON);
    r = sonde_reader_new(p, &(struct sonde_reader_options){.export_batch = keep_exemplars});
    struct sonde_instrument *mine = sonde_instrument_new(meter(p, "l"), SONDE_INSTRUMENT_HISTOGRAM, OPTIONS(.name = "mine"));
    sonde_instrument_add(mine, 41, ATTRS(A("a", "1")));
    sonde_instrument_add(mine, 42, ATTRS(A("a", "1")));
    CHECK(sonde_reader_collect(r, 10000));
    CHECK(own.offered == 2 && own.collected == 1 && own.last == 42 && !own.span && own.time >= before &&
          strcmp(own.keep.key, "a") == 0);
    CHECK(most_exemplars == 1 && last_exemplar.value == 42);
    sonde_meter_provider_free(p);
    check_done();
}

// E25-E27, E29.
static void settings(void **state)
{
    (void)state;
    struct dump d;
    setenv("OTEL_METRIC_EXPORT_INTERVAL", "5", 1);
    setenv("OTEL_METRIC_EXPORT_TIMEOUT", "4321", 1);
    setenv("OTEL_METRICS_EXEMPLAR_FILTER", "always_on", 1);
    setenv("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "base2_exponential_bucket_histogram", 1);
    struct sonde_meter_provider *p = PROVIDER(0); // the library's export would send it
    CHECK(p->configs[0].aggregation[SONDE_INSTRUMENT_HISTOGRAM] == SONDE_AGGREGATION_EXPONENTIAL_HISTOGRAM);
    sonde_meter_provider_free(p);
    p = PROVIDER(.is_private = true);
    dump_reader(p, &d, READER(.periodic = true));
    sonde_instrument_add(sonde_instrument_new(meter(p, "l"), SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "c")), 1, NULL, 0);
    for (int i = 0; i < 6000 && d.batches < 2; i++)
        usleep(5000);
    sonde_meter_provider_shutdown(p, 10000);
    CHECK(d.batches >= 2);
    CHECK(slice_find(buf_slice(&d.text), SLICE("l c [] sum+ total {} 1 ~1\n")) >= 0); // an exemplar without a span
    sonde_meter_provider_free(p);
    buf_free(&d.text);
    p = PROVIDER(.is_private = true);
    struct sonde_reader *r = dump_reader(p, &d, READER(0));
    sonde_instrument_add(sonde_instrument_new(meter(p, "l"), SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "c")), 1, NULL, 0);
    CHECK(sonde_reader_collect(r, 10000));
    CHECK(d.limit_ms == 4321);
    unsetenv("OTEL_METRIC_EXPORT_INTERVAL");
    unsetenv("OTEL_METRIC_EXPORT_TIMEOUT");
    unsetenv("OTEL_METRICS_EXEMPLAR_FILTER");
    unsetenv("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION");
    done(p, &d);
}

// A child forked while a callback holds up the collection: instruments work, the parent's reader says no at once, a new one
// works.
static void slow(void *arg, struct sonde_observer *o)
{
    (void)o;
    atomic_store((atomic_int *)arg, 1);
    usleep(100000);
}

static void *collector(void *r)
{
    sonde_reader_collect(r, 10000);
    return NULL;
}

static int child(struct sonde_meter_provider *p, struct sonde_reader *r, struct sonde_instrument *c)
{
    struct dump d;
    alarm(5);
    sonde_instrument_add(c, 1, ATTRS(A("in", "child")));
    if (!sonde_instrument_new(meter(p, "new"), SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "c")) || sonde_reader_collect(r, 3000))
        return 1;
    struct sonde_meter_provider *q = PROVIDER(.is_private = true);
    r = dump_reader(q, &d, READER(0));
    sonde_instrument_add(sonde_instrument_new(meter(q, "l"), SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "c")), 1, NULL, 0);
    return sonde_reader_collect(r, 3000) && d.points == 1 ? 0 : 2;
}

static void forked(void **state)
{
    (void)state;
    struct dump d;
    atomic_int inside = 0;
    pthread_t t;
    int status = -1;
    struct sonde_meter_provider *p = PROVIDER(.is_private = true);
    struct sonde_reader *r = dump_reader(p, &d, READER(0));
    struct sonde_instrument *c = sonde_instrument_new(meter(p, "l"), SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "c"));
    struct sonde_instrument *a = sonde_instrument_new(meter(p, "l"), SONDE_INSTRUMENT_ASYNC_GAUGE, OPTIONS(.name = "a"));
    sonde_instrument_add(c, 1, NULL, 0);
    sonde_instrument_callback(a, slow, &inside);
    pthread_create(&t, NULL, collector, r);
    while (!inside)
        usleep(1000);
    pid_t pid = fork();
    if (pid == 0)
        _exit(child(p, r, c));
    waitpid(pid, &status, 0);
    pthread_join(t, NULL);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    done(p, &d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#ifndef __SANITIZE_THREAD__ // a fork of a threaded process is not for it
        cmocka_unit_test(forked),
#endif

        cmocka_unit_test(deltas),     cmocka_unit_test(delta_exponential), cmocka_unit_test(min_max),
        cmocka_unit_test(starts),     cmocka_unit_test(batches),           cmocka_unit_test(life),
        cmocka_unit_test(hanging),    cmocka_unit_test(producers),         cmocka_unit_test(exemplars),
        cmocka_unit_test(reservoirs), cmocka_unit_test(settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
