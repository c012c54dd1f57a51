// What Prometheus tells about itself: Grafana asks for the version before it decides what to ask for.
#include "base/clock.h"
#include "base/limits.h"
#include "serve/prom_int.h"

#include <string.h>
#include <unistd.h>

// The version of Prometheus whose language and API these are.
#define COMPATIBLE "3.0.0"

static void begin(struct buf *b, struct jw *w)
{
    buf_init(b, MAX_STATUS_TEXT);
    *w = jw_to(b);
    jw_obj(w);
    JW_KEY(w, "status");
    jw_str(w, SLICE("success"));
    JW_KEY(w, "data");
}

static void end(struct query_job *job, struct buf *b, struct jw *w)
{
    jw_obj_end(w);
    http_reply(job->req, 200, SLICE("application/json"), buf_slice(b));
    buf_free(b);
}

static void pair(struct jw *w, const char *key, const char *value)
{
    jw_key(w, slice_str(key));
    jw_str(w, slice_str(value));
}

void prom_buildinfo(struct query_job *job)
{
    struct buf b;
    struct jw w;
    begin(&b, &w);
    jw_obj(&w);
    pair(&w, "version", COMPATIBLE);
    pair(&w, "revision", "sonde " SONDE_VERSION);
    pair(&w, "branch", "");
    pair(&w, "buildUser", "");
    pair(&w, "buildDate", "");
    pair(&w, "goVersion", "");
    jw_obj_end(&w);
    end(job, &b, &w);
}

static void setting_text(struct buf *out, const struct setting *row, const struct serve_settings *set)
{
    const void *at = (const char *)set + row->offset;
    buf_reset(out);
    if (row->type == SETTING_BOOL)
        buf_str(out, *(const bool *)at ? "true" : "false");
    else if (row->type == SETTING_STR || row->type == SETTING_CONFIG)
        buf_str(out, *(const char *const *)at ? *(const char *const *)at : "");
    else if (row->type == SETTING_DURATION)
        prom_duration_put(out, *(const int64_t *)at / 1000000);
    else
        buf_i64(out, *(const int64_t *)at);
}

void prom_flags(struct query_job *job)
{
    struct buf b, value;
    struct jw w;
    begin(&b, &w);
    buf_init(&value, MAX_STATUS_TEXT);
    jw_obj(&w);
    for (size_t i = 0; i < SERVE_SETTINGS_N; i++) {
        setting_text(&value, &serve_settings[i], job->server->settings);
        jw_key(&w, slice_str(serve_settings[i].flag));
        jw_str(&w, buf_slice(&value));
    }
    jw_obj_end(&w);
    buf_free(&value);
    end(job, &b, &w);
}

void prom_config(struct query_job *job)
{
    struct buf b, value, yaml;
    struct jw w;
    begin(&b, &w);
    buf_init(&value, MAX_STATUS_TEXT);
    buf_init(&yaml, MAX_STATUS_TEXT);
    buf_str(&yaml, "# sonde serve: its settings; `sonde help serve` explains them\n");
    for (size_t i = 0; i < SERVE_SETTINGS_N; i++) {
        setting_text(&value, &serve_settings[i], job->server->settings);
        buf_printf(&yaml, "%s: ", serve_settings[i].flag);
        prom_quote(&yaml, buf_slice(&value));
        buf_char(&yaml, '\n');
    }
    jw_obj(&w);
    JW_KEY(&w, "yaml");
    jw_str(&w, buf_slice(&yaml));
    jw_obj_end(&w);
    buf_free(&value);
    buf_free(&yaml);
    end(job, &b, &w);
}

void prom_runtimeinfo(struct query_job *job)
{
    struct buf b;
    struct jw w;
    char text[4096];
    const struct serve_settings *set = job->server->settings;
    begin(&b, &w);
    jw_obj(&w);
    text[time_format(text, job->server->started_ns, 9, false)] = 0;
    pair(&w, "startTime", text);
    pair(&w, "CWD", getcwd(text, sizeof text) ? text : "");
    JW_KEY(&w, "reloadConfigSuccess");
    jw_bool(&w, true);
    JW_KEY(&w, "corruptionCount");
    jw_i64(&w, 0);
    pair(&w, "storageRetention", set->retention ? "see --retention" : "everything is kept");
    jw_obj_end(&w);
    end(job, &b, &w);
}
