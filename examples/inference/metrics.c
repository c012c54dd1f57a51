#define SONDE_TARGET "inference::metrics"
#include "metrics.h"
#include <sonde/sonde.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LABELS = 8, MAX_LABEL_TEXT = 200 };

void *family(struct sonde_registry *r, enum sonde_metric_type type, const char *name, const char *labels,
             const struct buckets *buckets, const char *help)
{
    char text[MAX_LABEL_TEXT];
    const char *names[MAX_LABELS];
    size_t n = 0;
    snprintf(text, sizeof text, "%s", labels ? labels : "");
    char *rest = text;
    for (char *word; n < MAX_LABELS && (word = strsep(&rest, ",")) != NULL && *word;)
        names[n++] = word;
    const struct sonde_metric_options o = {.name = name,
                                           .help = help,
                                           .label_names = n ? names : NULL,
                                           .n_label_names = n,
                                           .buckets = buckets ? buckets->v : NULL,
                                           .n_buckets = buckets ? buckets->n : 0};
    struct sonde_metric_error err;
    void *m = sonde_metric_new(r, type, &o, &err);
    if (!m)
        SONDE_ERROR("no metric", SONDE_STR("name", name), SONDE_STR("error", err.message));
    return m;
}

void reply_metrics(struct http_req *r, struct sonde_registry *root)
{
    struct slice accept = http_req_header(r, SLICE("accept"));
    char text[512];
    snprintf(text, sizeof text, "%.*s", (int)accept.n, accept.p ? accept.p : "");
    enum sonde_exposition form = sonde_exposition_negotiate(text);
    size_t n;
    char *page = sonde_registry_text(root, form, &n);
    if (page)
        http_reply(r, 200, slice_str(sonde_exposition_content_type(form)), slice_of(page, n));
    else
        http_reply_text(r, 500, "no memory for the page");
    free(page);
}

static const char *other_page(void *arg, struct sonde_text *t)
{
    size_t n;
    char *page = sonde_registry_text(arg, SONDE_EXPOSITION_TEXT, &n);
    if (!page)
        return "no memory for a page within the page";
    sonde_text_append(t, page, n);
    free(page);
    return NULL;
}

void append_page(struct sonde_registry *root, struct sonde_registry *other)
{
    sonde_registry_on_text(root, other_page, other);
}
