// Ended spans as lines of text, through a span processor; and checks that work in a forked child.
#pragma once
#include "child.h"
#include "sdk/value.h"
#include <pthread.h>
#include <sonde/sonde.h>
#include <string.h>

static struct buf seen; // one line a span
static pthread_mutex_t seen_lock = PTHREAD_MUTEX_INITIALIZER;
static int seen_fails;

static void seen_attributes(const char *word, const struct sonde_attribute *a, size_t n, size_t dropped)
{
    if (!n && !dropped)
        return;
    buf_printf(&seen, " %s{", word);
    for (size_t i = 0; i < n; i++) {
        struct slice text = slice_of(a[i].text.p, a[i].text.n);
        buf_printf(&seen, "%s%.*s=", i ? "," : "", (int)a[i].key.n, a[i].key.p);
        double f;
        memcpy(&f, &a[i].bits, 8);
        switch (a[i].type) {
        case SONDE_TYPE_STR:
            buf_printf(&seen, "'%.*s'", (int)text.n, text.p);
            break;
        case SONDE_TYPE_INT:
            buf_i64(&seen, (int64_t)a[i].bits);
            break;
        case SONDE_TYPE_UINT:
            buf_u64(&seen, a[i].bits);
            buf_char(&seen, 'u');
            break;
        case SONDE_TYPE_F64:
            buf_f64(&seen, f);
            buf_char(&seen, 'f');
            break;
        case SONDE_TYPE_BOOL:
            buf_str(&seen, a[i].bits ? "true" : "false");
            break;
        default:
            rec_value_json(&seen, (enum sonde_type)a[i].type, a[i].bits, text);
            break;
        }
    }
    if (dropped)
        buf_printf(&seen, "%s-%zu", n ? "," : "", dropped);
    buf_char(&seen, '}');
}

static void seen_end(void *arg, const struct sonde_span_data *d)
{
    (void)arg;
    pthread_mutex_lock(&seen_lock);
    buf_printf(&seen, "%.*s", (int)d->name.n, d->name.p);
    if (d->kind != SONDE_KIND_INTERNAL)
        buf_printf(&seen, " kind=%d", (int)d->kind);
    if (d->status)
        buf_printf(&seen, " status=%d'%.*s'", (int)d->status, (int)d->status_message.n, d->status_message.p);
    seen_attributes("a", d->attributes, d->n_attributes, d->dropped_attributes);
    for (size_t i = 0; i < d->n_events; i++) {
        buf_printf(&seen, " event:%.*s", (int)d->events[i].name.n, d->events[i].name.p);
        seen_attributes("e", d->events[i].attributes, d->events[i].n_attributes, d->events[i].dropped_attributes);
    }
    if (d->dropped_events)
        buf_printf(&seen, " events-%zu", d->dropped_events);
    for (size_t i = 0; i < d->n_links; i++) {
        buf_str(&seen, " link:");
        buf_hex(&seen, d->links[i].trace_id, 1);
        seen_attributes("l", d->links[i].attributes, d->links[i].n_attributes, d->links[i].dropped_attributes);
    }
    if (d->dropped_links)
        buf_printf(&seen, " links-%zu", d->dropped_links);
    buf_char(&seen, '\n');
    pthread_mutex_unlock(&seen_lock);
}

// What was seen since the last call; valid until the next.
__attribute__((unused)) static const char *seen_all(void)
{
    static struct buf copy;
    sonde_flush(5000);
    pthread_mutex_lock(&seen_lock);
    buf_free(&copy);
    buf_init(&copy, MIB(1));
    buf_add(&copy, buf_slice(&seen));
    buf_char(&copy, 0);
    buf_reset(&seen);
    pthread_mutex_unlock(&seen_lock);
    return copy.p;
}

__attribute__((unused)) static void seen_start(void)
{
    static const struct sonde_span_processor p = {.on_end = seen_end};
    buf_init(&seen, MIB(1));
    sonde_span_processor_add(&p);
}

#define EXPECT(cond)                                                               \
    do {                                                                           \
        if (!(cond)) {                                                             \
            fprintf(stderr, "TEST FAILED %s:%d: %s\n", __FILE__, __LINE__, #cond); \
            seen_fails++;                                                          \
        }                                                                          \
    } while (0)
#define EXPECT_STR(got, want)                                                                                 \
    do {                                                                                                      \
        const char *got_ = (got), *want_ = (want);                                                            \
        if (strcmp(got_, want_) != 0) {                                                                       \
            fprintf(stderr, "TEST FAILED %s:%d:\n  got:  %s\n  want: %s\n", __FILE__, __LINE__, got_, want_); \
            seen_fails++;                                                                                     \
        }                                                                                                     \
    } while (0)

// Runs fn in a child; its failures are this test's. env ends with null.
static void in_child(int (*fn)(void *), void *arg, const char *const *env)
{
    struct buf out;
    int rc = child_run(fn, arg, env, &out);
    const char *failed = out.p ? strstr(out.p, "TEST FAILED") : NULL;
    if (rc || failed)
        fprintf(stderr, "%s\n", failed ? failed : out.p);
    buf_free(&out);
    assert_int_equal(rc, 0);
    assert_null(failed);
}
__attribute__((unused)) static void alone(int (*fn)(void *))
{
    static const char *const none[] = {NULL};
    in_child(fn, NULL, none);
}
