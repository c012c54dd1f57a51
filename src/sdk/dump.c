// The configuration dump: collected, sorted, hashed, put where it belongs.
#define SONDE_TARGET "sonde::config"
#include "sdk/dump.h"
#include "base/hash.h"
#include "base/limits.h"
#include "sdk/export.h"
#include "sdk/resource.h"
#include "sdk/sdk.h"
#include "sdk/settings_sdk.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

static const char prefixes[] =
    "DYN_ CUDA_ NCCL_ HF_ TRANSFORMERS_ SGLANG_ SGL_ MC_ VLLM_ TENSORRT_ TORCH_ UCX_ NIXL_ OMPI_ LLM_ TLLM_ "
    "TRT_LLM_ TRTLLM_ NVIDIA_ NSYS_ GENERATE_CU_ OVERRIDE_ TOKENIZERS_ DISABLE_TORCH_ PYTORCH_ "
    "ENABLE_PERFECT_ROUTER FLA_ NEMOTRON_ OTEL_ SONDE_";

static char last_hash[17]; // "": none yet
static pthread_mutex_t hash_lock = PTHREAD_MUTEX_INITIALIZER;

// ---- parts ----------------------------------------------------------------------------------------------------------
static bool wanted(const struct sonde_dump_options *o, struct slice name)
{
    struct slice rest = slice_str(prefixes), one;
    for (size_t i = 0; o->prefixes && o->prefixes[i]; i++)
        if (slice_starts(name, slice_str(o->prefixes[i])))
            return true;
    while (!o->prefixes && rest.p && slice_split(&rest, ' ', &one))
        if (slice_starts(name, one))
            return true;
    return false;
}

static void put_environment(const struct sonde_dump_options *o, const struct redact *r, struct jw *w)
{
    struct buf b;
    buf_init(&b, DUMP_MAX);
    jw_obj(w);
    for (char **e = environ; e && *e; e++) {
        struct slice all = slice_str(*e);
        ptrdiff_t eq = slice_find(all, SLICE("="));
        struct slice name = slice_cut(all, eq > 0 ? (size_t)eq : 0);
        if (!name.n || !wanted(o, name))
            continue;
        buf_reset(&b);
        redact_text(r, name, slice_from(all, (size_t)eq + 1), &b);
        jw_key(w, name);
        jw_str(w, buf_slice(&b));
    }
    jw_obj_end(w);
    buf_free(&b);
}

static void put_settings(const struct redact *r, bool values_only, struct jw *w)
{
    struct buf b;
    buf_init(&b, DUMP_MAX);
    jw_obj(w);
    for (size_t i = 0; i < sdk_settings_n(); i++) {
        struct sdk_setting s = sdk_setting(i);
        struct env_value v = sdk_setting_value(i);
        bool ours = strncmp(s.name, "DYN_", 4) == 0 || strncmp(s.name, "OTEL_", 5) == 0 || strncmp(s.name, "SONDE_", 6) == 0;
        if (values_only && !ours) // TERM and its like: of the place, not of the configuration
            continue;
        jw_key(w, slice_str(s.name));
        jw_obj(w);
        if (!values_only) {
            buf_reset(&b);
            env_print_from(&v, &b);
            JW_KEY(w, "from");
            jw_str(w, buf_slice(&b));
        }
        if (v.rejected && !values_only) {
            buf_reset(&b);
            redact_text(r, slice_str(s.name), slice_str(v.rejected), &b);
            JW_KEY(w, "rejected");
            jw_str(w, buf_slice(&b));
        }
        buf_reset(&b);
        redact_text(r, slice_str(s.name), slice_str(v.text), &b);
        JW_KEY(w, "value");
        jw_str(w, buf_slice(&b));
        jw_obj_end(w);
    }
    jw_obj_end(w);
    buf_free(&b);
}

// A caller's JSON; what is none stands there as what was wrong with it.
static void put_given(const char *json, const char *what, const struct redact *r, struct jw *w)
{
    struct buf b;
    struct error err;
    buf_init(&b, DUMP_MAX);
    if (dump_sort(slice_str(json), r, &b, &err)) {
        jw_raw(w, buf_slice(&b));
    } else {
        buf_reset(&b);
        buf_printf(&b, "%s is no JSON: %s", what, err.msg);
        jw_obj(w);
        JW_KEY(w, "error");
        jw_str(w, buf_slice(&b));
        jw_obj_end(w);
    }
    buf_free(&b);
}

// The entries of a JSON object, as they are, at the place of w.
static bool put_entries(const char *json, struct jw *w)
{
    struct arena arena;
    struct json j;
    struct slice key, raw;
    arena_init(&arena, DUMP_MAX);
    json_init(&j, slice_str(json), &arena, NULL);
    bool ok = json_skip(&j, NULL) && json_finish(&j);
    json_init(&j, slice_str(json), &arena, NULL);
    ok = ok && json_object(&j);
    while (ok && json_next_key(&j, &key)) {
        ok = json_skip(&j, &raw);
        if (ok) {
            jw_key(w, key);
            jw_raw(w, raw);
        }
    }
    arena_free(&arena);
    return ok;
}

static void put_config(const struct sonde_dump_options *o, const struct redact *r, struct jw *w)
{
    struct buf b;
    const char *key, *value;
    if (o->config && !o->config_pair) {
        put_given(o->config, "config", r, w);
        return;
    }
    buf_init(&b, DUMP_MAX);
    struct jw own = jw_to(&b);
    jw_obj(&own);
    if (o->config && !put_entries(o->config, &own)) {
        JW_KEY(&own, "error");
        jw_str(&own, SLICE("config is no JSON object"));
    }
    for (size_t i = 0; o->config_pair && i < 100000 && o->config_pair(o->arg, i, &key, &value); i++) {
        jw_key(&own, slice_str(key));
        value ? jw_str(&own, slice_str(value)) : jw_null(&own);
    }
    jw_obj_end(&own);
    buf_char(&b, 0);
    put_given(b.err == ERR_OK ? b.p : "", "config", r, w);
    buf_free(&b);
}

// ---- whole ----------------------------------------------------------------------------------------------------------
// What makes two processes alike.
static void put_alike(const struct sonde_dump_options *o, const struct redact *r, bool values_only, struct jw *w)
{
    JW_KEY(w, "config");
    put_config(o, r, w);
    JW_KEY(w, "dynamo_version");
    jw_str(w, slice_str(o->version ? o->version : "0.0.0+unknown"));
    JW_KEY(w, "environment");
    put_environment(o, r, w);
    JW_KEY(w, "installed_packages");
    put_given(o->packages ? o->packages : "{}", "packages", NULL, w);
    JW_KEY(w, "settings");
    put_settings(r, values_only, w);
}

static bool hash_of(const struct sonde_dump_options *o, const struct redact *r, char hash[17])
{
    struct buf raw, sorted;
    struct error err;
    buf_init(&raw, DUMP_MAX);
    buf_init(&sorted, DUMP_MAX);
    struct jw w = jw_to(&raw);
    jw_obj(&w);
    put_alike(o, r, true, &w);
    jw_obj_end(&w);
    bool ok = raw.err == ERR_OK && dump_sort(buf_slice(&raw), NULL, &sorted, &err);
    uint64_t h = hash64(sorted.p, ok ? sorted.n : 0);
    snprintf(hash, 17, "%016llx", (unsigned long long)h);
    buf_free(&raw);
    buf_free(&sorted);
    return ok;
}

static void put_extra(const struct sonde_dump_options *o, const struct redact *r, struct jw *w)
{
    struct buf b;
    struct error err;
    buf_init(&b, DUMP_MAX);
    if (dump_sort(slice_str(o->extra), r, &b, &err)) {
        buf_char(&b, 0);
        if (put_entries(b.p, w)) {
            buf_free(&b);
            return;
        }
    }
    buf_free(&b);
    JW_KEY(w, "extra");
    put_given(o->extra, "extra", r, w);
}

static void put_runtime(const struct sonde_dump_options *o, const struct redact *r, struct jw *w)
{
    struct buf b;
    struct error err;
    jw_obj(w);
    dump_runtime(r, w);
    buf_init(&b, DUMP_MAX);
    if (o->runtime && dump_sort(slice_str(o->runtime), r, &b, &err)) {
        buf_char(&b, 0);
        put_entries(b.p, w);
    }
    buf_free(&b);
    jw_obj_end(w);
}

static void put_error(struct buf *raw, const char *what)
{
    buf_reset(raw);
    struct jw w = jw_to(raw);
    jw_obj(&w);
    JW_KEY(&w, "error");
    jw_str(&w, slice_str(what));
    JW_KEY(&w, "system_info");
    dump_system(&w);
    jw_obj_end(&w);
}

static bool build(const struct sonde_dump_options *o, struct buf *out, char hash[17])
{
    struct redact r = {.more = o->redact, .off = o->sensitive};
    struct buf raw;
    struct error err;
    buf_init(&raw, DUMP_MAX);
    struct jw w = jw_to(&raw);
    struct level_shown filter;
    level_show(&filter); // where DYN_LOG's value comes from
    bool hashed = hash_of(o, &r, hash);
    jw_obj(&w);
    put_alike(o, &r, false, &w);
    JW_KEY(&w, "config_hash");
    jw_str(&w, slice_str(hash));
    JW_KEY(&w, "gpu_info");
    o->no_gpu ? jw_null(&w) : dump_gpu(&w);
    JW_KEY(&w, "runtime_info");
    put_runtime(o, &r, &w);
    JW_KEY(&w, "system_info");
    dump_system(&w);
    if (o->extra)
        put_extra(o, &r, &w);
    jw_obj_end(&w);
    size_t before = out->n;
    if (!hashed || raw.err != ERR_OK || !dump_sort(buf_slice(&raw), NULL, out, &err)) {
        out->n = before;
        put_error(&raw, raw.err == ERR_LIMIT ? "the dump is larger than 16 MiB" : "no memory for the dump");
        buf_add(out, buf_slice(&raw));
    }
    buf_free(&raw);
    return out->err == ERR_OK;
}

// ---- what was told last ---------------------------------------------------------------------------------------------
// For /debug/config: the caller's parts, redacted.
enum { TOLD_TEXTS = 5, TOLD_WORDS = 64 };
static struct told {
    char *text[TOLD_TEXTS]; // config, version, packages, runtime, extra
    char *word[2][TOLD_WORDS + 1];
    bool prefixes;
} told;

static void child(void)
{
    pthread_mutex_init(&hash_lock, NULL);
}

static void first(void)
{
    pthread_atfork(NULL, NULL, child);
}

static void told_free(struct told *t)
{
    for (int i = 0; i < TOLD_TEXTS; i++)
        free(t->text[i]);
    for (int k = 0; k < 2; k++)
        for (int i = 0; t->word[k][i]; i++)
            free(t->word[k][i]);
}

static char *redacted(const char *json, const struct redact *r)
{
    struct buf b;
    struct error err;
    char *copy = NULL;
    buf_init(&b, DUMP_MAX);
    if (json && dump_sort(slice_str(json), r, &b, &err)) {
        buf_char(&b, 0);
        copy = b.err == ERR_OK ? strdup(b.p) : NULL;
    }
    buf_free(&b);
    return copy;
}

static void copy_words(char **to, const char *const *from)
{
    for (int i = 0; from && from[i] && i < TOLD_WORDS; i++)
        if (!(to[i] = strdup(from[i])))
            return;
}

static void remember(const struct sonde_dump_options *o, const char hash[17])
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    const struct redact r = {.more = o->redact};
    struct told now = {.prefixes = o->prefixes != NULL};
    struct buf config;
    pthread_once(&once, first);
    buf_init(&config, DUMP_MAX);
    struct jw w = jw_to(&config);
    put_config(o, &r, &w);
    buf_char(&config, 0);
    now.text[0] = config.err == ERR_OK ? strdup(config.p) : NULL;
    now.text[1] = o->version ? strdup(o->version) : NULL;
    now.text[2] = redacted(o->packages, NULL);
    now.text[3] = redacted(o->runtime, &r);
    now.text[4] = redacted(o->extra, &r);
    copy_words(now.word[0], o->redact);
    copy_words(now.word[1], o->prefixes);
    buf_free(&config);
    pthread_mutex_lock(&hash_lock);
    struct told old = told;
    told = now;
    memcpy(last_hash, hash, 17);
    pthread_mutex_unlock(&hash_lock);
    told_free(&old);
}

bool dump_again(bool no_gpu, struct buf *out)
{
    struct told t = {0};
    char hash[17];
    pthread_mutex_lock(&hash_lock);
    for (int i = 0; i < TOLD_TEXTS; i++)
        t.text[i] = told.text[i] ? strdup(told.text[i]) : NULL;
    copy_words(t.word[0], (const char *const *)told.word[0]);
    copy_words(t.word[1], (const char *const *)told.word[1]);
    t.prefixes = told.prefixes;
    pthread_mutex_unlock(&hash_lock);
    struct sonde_dump_options o = {.config = t.text[0],
                                   .version = t.text[1],
                                   .packages = t.text[2],
                                   .runtime = t.text[3],
                                   .extra = t.text[4],
                                   .redact = (const char *const *)t.word[0],
                                   .no_gpu = no_gpu};
    o.prefixes = t.prefixes ? (const char *const *)t.word[1] : NULL;
    bool ok = build(&o, out, hash);
    told_free(&t);
    return ok;
}

static const struct sonde_dump_options none;

void sonde_config_hash(char out[17])
{
    struct redact r = {0};
    pthread_mutex_lock(&hash_lock);
    memcpy(out, last_hash, 17);
    pthread_mutex_unlock(&hash_lock);
    if (!out[0]) {
        hash_of(&none, &r, out);
        out[16] = 0;
    }
}

void dump_note_hash(void)
{
    char hash[17];
    sonde_config_hash(hash);
    resource_note("sonde.config.hash", hash);
}

static void told_again(const struct sonde_dump_options *o, const char hash[17])
{
    remember(o, hash);
    if (resource_note("sonde.config.hash", hash))
        export_describe(sdk.export, sdk.service, sdk.resource);
}

char *sonde_config_dump_text(const struct sonde_dump_options *o)
{
    struct buf out;
    char hash[17];
    char *text = NULL;
    buf_init(&out, DUMP_MAX);
    sdk_start();
    if (build(o ? o : &none, &out, hash)) {
        told_again(o ? o : &none, hash);
        text = malloc(out.n + 1); // the caller frees it
    }
    if (text) {
        memcpy(text, out.p, out.n);
        text[out.n] = 0;
    }
    buf_free(&out);
    return text;
}

// ---- out ------------------------------------------------------------------------------------------------------------
static int make_folders(char *path)
{
    for (char *p = path + 1; (p = strchr(p, '/')); p++) {
        *p = 0;
        int rc = mkdir(path, 0777);
        *p = '/';
        if (rc != 0 && errno != EEXIST && errno != EISDIR && errno != EROFS)
            return errno;
    }
    return 0;
}

static int write_file(const char *path, const char *text)
{
    struct slice rest = slice_str(text);
    char copy[4096];
    int rc;
    if (snprintf(copy, sizeof copy, "%s", path) >= (int)sizeof copy)
        return ENAMETOOLONG;
    if ((rc = make_folders(copy)) != 0)
        return rc;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return errno;
    while (rest.n) {
        ssize_t n = write(fd, rest.p, rest.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            rc = n < 0 ? errno : ENOSPC;
            break;
        }
        rest = slice_from(rest, (size_t)n);
    }
    if (close(fd) != 0 && rc == 0)
        rc = errno;
    return rc;
}

static void to_path(const char *path, const char *text)
{
    int rc = write_file(path, text);
    if (rc == 0) {
        char *whole = realpath(path, NULL);
        SONDE_INFO("configuration dumped", SONDE_STR("path", whole ? whole : path));
        free(whole);
        return;
    }
    SONDE_ERROR("cannot write the configuration dump; it follows as a record", SONDE_STR("path", path),
                SONDE_STR("error", strerrordesc_np(rc)));
    SONDE_INFOF("CONFIG_DUMP: %s", SONDE_ARGS(text));
}

void sonde_config_dump(const struct sonde_dump_options *o)
{
    int before = errno;
    o = o ? o : &none;
    sdk_start();
    bool path = o->path && *o->path;
    if (!path && !SONDE_ENABLED(SONDE_LEVEL_DEBUG)) { // only for /debug/config and the hash
        char hash[17];
        const struct redact r = {.more = o->redact};
        if (hash_of(o, &r, hash))
            told_again(o, hash);
        errno = before;
        return;
    }
    char *text = sonde_config_dump_text(o);
    if (text && path)
        to_path(o->path, text);
    else if (text)
        SONDE_DEBUGF("CONFIG_DUMP: %s", SONDE_ARGS(text));
    else
        SONDE_ERROR("no memory for the configuration dump");
    free(text);
    errno = before;
}
