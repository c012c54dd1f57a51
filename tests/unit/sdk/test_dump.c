// The configuration dump: redaction, sorting, hash, where it goes, GPUs.
#include "base/clock.h"
#include "check.h"
#include "sdk/child.h"
#include "sdk/dump.h"
#include "sdk/settings_sdk.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sonde/config.h>
#include <sonde/export.h>
#include <sys/stat.h>
#include <time.h>

static const struct redact plain;

// ---- redaction ------------------------------------------------------------------------------------------------------
static const struct {
    const char *name, *value, *want; // want null: unchanged
} redact_rows[] = {
    {"HF_TOKEN", "abc", DUMP_REDACTED},
    {"HF_TOKEN", "", NULL}, // nothing to hide
    {"hf_token", "abc", DUMP_REDACTED},
    {"hfToken", "abc", DUMP_REDACTED},
    {"HFTOKEN2", "abc", DUMP_REDACTED},
    {"DYN_API_KEY", "abc", DUMP_REDACTED},
    {"dyn-api-key", "abc", DUMP_REDACTED},
    {"apiKey", "abc", DUMP_REDACTED},
    {"OPENAI_APIKEY", "abc", DUMP_REDACTED},
    {"CLIENT_SECRET", "abc", DUMP_REDACTED},
    {"DB_PASSWORD", "12345", DUMP_REDACTED},
    {"db.passwd", "x", DUMP_REDACTED},
    {"AWS_CREDENTIALS", "x", DUMP_REDACTED},
    {"OAUTH_ID", "x", DUMP_REDACTED},
    {"AUTHORIZATION", "x", DUMP_REDACTED},
    {"AWS_SECRET_ACCESS_KEY", "x", DUMP_REDACTED},
    {"AWS_ACCESS_KEY_ID", "x", DUMP_REDACTED},
    {"OTEL_EXPORTER_OTLP_HEADERS", "a=b", DUMP_REDACTED},
    {"OTEL_EXPORTER_OTLP_CLIENT_KEY", "/etc/key.pem", NULL},
    {"TOKENIZERS_PARALLELISM", "false", NULL},
    {"SGLANG_TOKENIZER", "llama", NULL},
    {"DETOKENIZER", "x", NULL},
    {"TOKENIZER_TOKEN", "x", DUMP_REDACTED},
    {"AUTHOR", "me", NULL},
    {"AUTHORS", "us", NULL},
    {"MAX_TOKENS", "4096", NULL},
    {"max_num_batched_tokens", "8192", NULL},
    {"HF_TOKENS", "a,b", DUMP_REDACTED},
    {"eos_token_id", "2", NULL},
    {"TOKEN", "2", DUMP_REDACTED},
    {"MODEL", "llama", NULL},
    {"URL", "http://me:geheim@host/x", "http://me:" DUMP_REDACTED "@host/x"},
    {"URL", "see postgres://u:p@h:1/d and http://a:b@c",
     "see postgres://u:" DUMP_REDACTED "@h:1/d and http://a:" DUMP_REDACTED "@c"},
    {"URL", "http://host:80/a@b", NULL},
    {"URL", "http://user@host/", NULL},
    {"NOTE", "use hf_abcdefghijklmnopqrst now", "use " DUMP_REDACTED " now"},
    {"NOTE", "hf_short", NULL},
    {"NOTE", "Bearer abcdefgh12345", "Bearer " DUMP_REDACTED},
    {"NOTE", "task-abcdefghijklmnopqrst", NULL}, // sk- inside of a word
    {"DSN", "postgres://h/db?password=pw&x=1", "postgres://h/db?password=" DUMP_REDACTED "&x=1"},
    {"URL", "http://h/?api_key=k&n=1", "http://h/?api_key=" DUMP_REDACTED "&n=1"},
    {"AWS", "aws_secret_access_key=k region=eu", "aws_secret_access_key=" DUMP_REDACTED " region=eu"},
    {"PY", "{'password': 'a b', 'n': 1}", "{'password': '" DUMP_REDACTED "', 'n': 1}"},
    {"YAML", "user: me\npassword: a b\nn: 1", "user: me\npassword: " DUMP_REDACTED "\nn: 1"},
    {"HEADER", "Authorization: Basic eHg=", "Authorization: " DUMP_REDACTED},
    {"HEADER", "X-Api-Key: k", "X-Api-Key: " DUMP_REDACTED},
    {"CMD", "serve --api-key k --max-tokens 5 --n 1", "serve --api-key " DUMP_REDACTED " --max-tokens 5 --n 1"},
    {"CMD", "serve --password --n 1", NULL},
    {"CMD", "--hf-token:k", "--hf-token:" DUMP_REDACTED},
    {"LOG", "info,my::auth=debug,tokenizer=trace,auth=off", NULL},
    {"LOG", "auth://host and token::x", NULL},
    {"NOTE", "a secret: off", NULL},
    {"NOTE", "password", NULL},
    {"NOTE", "token=", NULL},
    {"JWT", "eyJhbGciOiJI.eyJzdWIiOiIx.dozjgNryP4J3", DUMP_REDACTED},
    {"BASE64", "eyJhIjoxfQ==", NULL},
    {"BASE64", "QmFzZTY0c3R1ZmY9PQ==", NULL},
    {"SHA", "d6b0f0d1c5f5fbb2d9d0ab0a8b1d2f6f3f6a1b2c", NULL},
    {"PEM", "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\n",
     "-----BEGIN RSA PRIVATE KEY-----" DUMP_REDACTED "-----END RSA PRIVATE KEY-----\n"},
    {"PEM", "-----BEGIN CERTIFICATE-----\nMIIE", NULL},
    {"JSON", "{\"b\": 1, \"api_key\": \"x\", \"a\":[{\"password\":\"y\"}]}",
     "{\"a\":[{\"password\":\"" DUMP_REDACTED "\"}],\"api_key\":\"" DUMP_REDACTED "\",\"b\":1}"},
};

static void test_redact(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, KIB(64));
    for (size_t i = 0; i < CHECK_ROWS(redact_rows); i++) {
        check_row("%s=%s", redact_rows[i].name, redact_rows[i].value);
        buf_reset(&b);
        redact_text(&plain, slice_str(redact_rows[i].name), slice_str(redact_rows[i].value), &b);
        CHECK_STR(buf_slice(&b), redact_rows[i].want ? redact_rows[i].want : redact_rows[i].value);
    }
    const char *const more[] = {"CHASSIS", NULL};
    struct redact r = {.more = more};
    CHECK(redact_name(&r, SLICE("my_chassis_number")));
    CHECK(!redact_name(&plain, SLICE("my_chassis_number")));
    r.off = true;
    CHECK(!redact_name(&r, SLICE("PASSWORD")));
    buf_free(&b);
    check_done();
}

static const struct {
    const char *words, *want; // words between blanks
} line_rows[] = {
    {"prog --model x", "[\"prog\",\"--model\",\"x\"]"},
    {"prog --api-key geheim next", "[\"prog\",\"--api-key\",\"" DUMP_REDACTED "\",\"next\"]"},
    {"prog --api-key=geheim", "[\"prog\",\"--api-key=" DUMP_REDACTED "\"]"},
    {"prog --use-auth --model x", "[\"prog\",\"--use-auth\",\"--model\",\"x\"]"},
    {"env HF_TOKEN=a PATH=/bin", "[\"env\",\"HF_TOKEN=" DUMP_REDACTED "\",\"PATH=/bin\"]"},
    {"prog --max-tokens 17", "[\"prog\",\"--max-tokens\",\"17\"]"},
    {"prog {\"password\":\"x\"}", "[\"prog\",\"{\\\"password\\\":\\\"" DUMP_REDACTED "\\\"}\"]"},
    {"prog --password -x", "[\"prog\",\"--password\",\"-x\"]"},
    {"prog --url http://a:b@c/", "[\"prog\",\"--url\",\"http://a:" DUMP_REDACTED "@c/\"]"},
};

static void test_command_line(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, KIB(64));
    for (size_t i = 0; i < CHECK_ROWS(line_rows); i++) {
        char words[256];
        size_t n = strlen(line_rows[i].words) + 1;
        memcpy(words, line_rows[i].words, n);
        for (size_t k = 0; k < n; k++)
            words[k] = words[k] == ' ' ? 0 : words[k];
        check_row("%s", line_rows[i].words);
        buf_reset(&b);
        struct jw w = jw_to(&b);
        redact_words(&plain, words, n, &w);
        CHECK_STR(buf_slice(&b), line_rows[i].want);
    }
    buf_free(&b);
    check_done();
}

// ---- sorting --------------------------------------------------------------------------------------------------------
static const struct {
    const char *in, *want; // null: no JSON
} sort_rows[] = {
    {" { \"b\" : 1 , \"a\" : [ 1.50 , null , true ] } ", "{\"a\":[1.50,null,true],\"b\":1}"},
    {"{\"a\":1,\"a\":2}", "{\"a\":2}"},
    {"{\"\xc3\xa9\":\"\\u00e9\",\"Z\":\"\\n\"}", "{\"Z\":\"\\n\",\"\xc3\xa9\":\"\xc3\xa9\"}"},
    {"{\"x\":{\"token\":{\"deep\":1},\"b\":[{\"secret\":[1,\"s\"]}],\"token_limit\":9,\"max_tokens\":5}}",
     "{\"x\":{\"b\":[{\"secret\":[\"" DUMP_REDACTED "\",\"" DUMP_REDACTED "\"]}],\"max_tokens\":5,\"token\":\"" DUMP_REDACTED
     "\",\"token_limit\":9}}"},
    {"{\"password\":null,\"secret\":false}", "{\"password\":null,\"secret\":false}"},
    {"{\"a\":NaN}", NULL},
    {"{\"a\":1} x", NULL},
    {"", NULL},
    {"{\"a\"", NULL},
};

static void test_sort(void **state)
{
    (void)state;
    struct buf b;
    struct error err;
    buf_init(&b, KIB(64));
    for (size_t i = 0; i < CHECK_ROWS(sort_rows); i++) {
        check_row("%s", sort_rows[i].in);
        buf_reset(&b);
        buf_char(&b, '#');
        CHECK(dump_sort(slice_str(sort_rows[i].in), &plain, &b, &err) == (sort_rows[i].want != NULL));
        CHECK_STR(slice_from(buf_slice(&b), 1), sort_rows[i].want ? sort_rows[i].want : "");
    }
    buf_free(&b);
    check_done();
}

// ---- whole ----------------------------------------------------------------------------------------------------------
static bool pair(void *arg, size_t i, const char **key, const char **value)
{
    static const char *const rows[][2] = {{"model", "llama"}, {"api_key", "geheim"}, {"none", NULL}};
    (void)arg;
    if (i >= CHECK_ROWS(rows))
        return false;
    *key = rows[i][0];
    *value = rows[i][1];
    return true;
}

static const char *keys[] = {"\"config\":",       "\"config_hash\":",  "\"dynamo_version\":",
                             "\"environment\":",  "\"gpu_info\":null", "\"installed_packages\":",
                             "\"runtime_info\":", "\"settings\":",     "\"system_info\":"};

static void test_whole(void **state)
{
    (void)state;
    struct sonde_dump_options o = {.config = "{\"z\":1,\"a\":{\"hf_token\":\"geheim\"}}",
                                   .config_pair = pair,
                                   .no_gpu = true,
                                   .packages = "{\"tokenizers\":\"0.19\"}",
                                   .runtime = "{\"python_version\":\"3.11\"}",
                                   .extra = "{\"vllm_version\":\"0.9\",\"auth\":\"geheim\"}",
                                   .version = "1.6.1"};
    setenv("DYN_SECRET_THING", "geheim", 1);
    setenv("OTEL_EXPORTER_OTLP_HEADERS", "k=geheim", 1);
    setenv("SONDE_X", "seen", 1);
    setenv("UNRELATED", "unseen", 1);
    setenv("DYN_SYSTEM_PORT", "geheim", 1); // not accepted
    char *text = sonde_config_dump_text(&o);
    assert_non_null(text);
    const char *at = text;
    for (size_t i = 0; i < CHECK_ROWS(keys); i++) { // all, in this order
        check_row("%s", keys[i]);
        const char *next = strstr(at, keys[i]);
        CHECK(next);
        at = next ? next : at;
    }
    check_row("%s", "text");
    unsetenv("DYN_SYSTEM_PORT");
    CHECK(strstr(
        text,
        "\"config\":{\"a\":{\"hf_token\":\"<REDACTED>\"},\"api_key\":\"<REDACTED>\",\"model\":\"llama\",\"none\":null,\"z\":1}"));
    CHECK(strstr(text, "\"DYN_SECRET_THING\":\"<REDACTED>\""));
    CHECK(strstr(text, "\"OTEL_EXPORTER_OTLP_HEADERS\":\"<REDACTED>\""));
    CHECK(strstr(text, "\"SONDE_X\":\"seen\""));
    CHECK(!strstr(text, "unseen"));
    CHECK(strstr(text, "\"tokenizers\":\"0.19\""));
    CHECK(strstr(text, "\"python_version\":\"3.11\""));
    CHECK(strstr(text, "\"vllm_version\":\"0.9\""));
    CHECK(strstr(text, "\"auth\":\"<REDACTED>\""));
    CHECK(strstr(text, "\"dynamo_version\":\"1.6.1\""));
    CHECK(strstr(text, "\"architecture\":[\"64bit\",\"ELF\"]"));
    CHECK(strstr(text, "\"DYN_CANARY_WAIT_TIME\":{\"from\":\"default\",\"value\":\"10\"}"));
    CHECK(strstr(text, "\"DYN_SYSTEM_PORT\":{\"from\":\"default\",\"rejected\":\"geheim\",\"value\":\"-1\"}"));
    free(text);
    o.sensitive = true;
    text = sonde_config_dump_text(&o);
    CHECK(text && strstr(text, "\"hf_token\":\"geheim\""));
    free(text);
    const char *const only[] = {"UNREL", NULL};
    o.prefixes = only;
    text = sonde_config_dump_text(&o);
    CHECK(text && strstr(text, "\"environment\":{\"UNRELATED\":\"unseen\"}"));
    free(text);
    unsetenv("DYN_SECRET_THING"), unsetenv("OTEL_EXPORTER_OTLP_HEADERS"), unsetenv("SONDE_X"), unsetenv("UNRELATED");
    check_done();
}

static void test_hash(void **state)
{
    (void)state;
    struct sonde_dump_options o = {.config = "{\"a\":1,\"b\":2}", .no_gpu = true};
    char first[17], second[17];
    free(sonde_config_dump_text(&o));
    sonde_config_hash(first);
    CHECK_INT(strspn(first, "0123456789abcdef"), 16);
    o.config = "{ \"b\":2, \"a\":1 }"; // the same
    free(sonde_config_dump_text(&o));
    sonde_config_hash(second);
    CHECK_STR(slice_str(second), first);
    o.runtime = "{\"started\":\"now\"}"; // not part of it
    free(sonde_config_dump_text(&o));
    sonde_config_hash(second);
    CHECK_STR(slice_str(second), first);
    setenv("TERM", "other", 1); // nor that
    free(sonde_config_dump_text(&o));
    sonde_config_hash(second);
    CHECK_STR(slice_str(second), first);
    struct sonde_resource *r = sonde_resource_current();
    struct sonde_resource_attribute attribute;
    CHECK(sonde_resource_find(r, "sonde.config.hash", &attribute));
    CHECK_STR(slice_str(attribute.text), first);
    sonde_resource_free(r);
    o.config = "{\"a\":1,\"b\":3}";
    free(sonde_config_dump_text(&o));
    sonde_config_hash(second);
    CHECK(strcmp(first, second) != 0);
    check_done();
}

static void test_bad_input(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "nonsense", "[1", "{\"a\":\"\xff\"}", "1"};
    for (size_t i = 0; i < CHECK_ROWS(bad); i++) {
        struct sonde_dump_options o = {.config = bad[i], .packages = bad[i], .runtime = bad[i], .extra = bad[i], .no_gpu = true};
        char *text = sonde_config_dump_text(&o);
        struct json j;
        struct arena arena;
        check_row("%s", bad[i]);
        arena_init(&arena, MIB(8));
        json_init(&j, slice_str(text), &arena, NULL);
        CHECK(text && json_skip(&j, NULL) && json_finish(&j));
        CHECK(text && strstr(text, "\"system_info\":"));
        arena_free(&arena);
        free(text);
    }
    check_done();
}

// ---- where it goes --------------------------------------------------------------------------------------------------
static int dump_to(void *arg)
{
    struct sonde_dump_options o = {.path = arg, .config = "{\"who\":\"me\"}", .no_gpu = true};
    errno = 77;
    sonde_config_dump(&o);
    return errno == 77 ? 0 : 1;
}

static const struct {
    const char *path; // below the directory; null: none
    const char *env;
    int file, info, error, line;
} out_rows[] = {
    {"a/b/c.json", "DYN_LOG=info", 1, 1, 0, 0},  {"/proc/nowhere/x.json", "DYN_LOG=info", 0, 0, 1, 1},
    {"/dev/null/x", "DYN_LOG=info", 0, 0, 1, 1}, {NULL, "DYN_LOG=info", 0, 0, 0, 0},
    {NULL, "DYN_LOG=debug", 0, 0, 0, 1},
};

static void test_out(void **state)
{
    (void)state;
    for (size_t i = 0; i < CHECK_ROWS(out_rows); i++) {
        char path[256] = "";
        struct buf err;
        struct stat st;
        check_row("%zu: %s", i, out_rows[i].path ? out_rows[i].path : "none");
        if (out_rows[i].path)
            snprintf(path, sizeof path, "%s%s%s", out_rows[i].path[0] == '/' ? "" : child_dir,
                     out_rows[i].path[0] == '/' ? "" : "/", out_rows[i].path);
        CHECK_INT(child_run(dump_to, path, (const char *[]){out_rows[i].env, NULL}, &err), 0);
        CHECK_INT(path[0] && stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 500, out_rows[i].file);
        CHECK_INT(count_of(&err, "configuration dumped"), out_rows[i].info);
        CHECK_INT(count_of(&err, "ERROR sonde::config: cannot write"), out_rows[i].error);
        CHECK_INT(count_of(&err, "CONFIG_DUMP: {\"config\":{\"who\":\"me\"}"), out_rows[i].line);
        if (out_rows[i].info)
            CHECK(count_of(&err, path) == 1);
        buf_free(&err);
    }
    check_done();
}

// ---- GPUs -----------------------------------------------------------------------------------------------------------
static int gpu_child(void *arg)
{
    struct buf b;
    if (arg)
        signal(SIGCHLD, SIG_IGN); // the system takes children away
    buf_init(&b, MIB(1));
    gpu_timeout_ms = 400;
    int64_t from = clock_mono_ns();
    struct jw w = jw_to(&b);
    dump_gpu(&w);
    bool quick = clock_mono_ns() - from < 3000000000;
    dprintf(2, "%.*s\n%s\n", (int)b.n, b.p, quick ? "quick" : "slow");
    buf_free(&b);
    // nothing is left behind
    return waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD ? 0 : 1;
}

static const struct {
    const char *script, *want;
} smi_rows[] = {
    {"#!/bin/sh\necho 'A, 1, 2 MiB'\n",
     "{\"gpus\":[{\"driver_version\":\"1\",\"memory_total\":\"2 MiB\",\"name\":\"A\"}],\"count\":1}\nquick"},
    {"#!/bin/sh\necho 'NVIDIA H100, 550.54.15, 81559 MiB'\necho 'NVIDIA H100, 550.54.15, 81559 MiB'\n",
     "{\"gpus\":[{\"driver_version\":\"550.54.15\",\"memory_total\":\"81559 MiB\",\"name\":\"NVIDIA "
     "H100\"},{\"driver_version\":\"550.54.15\","
     "\"memory_total\":\"81559 MiB\",\"name\":\"NVIDIA H100\"}],\"count\":2}\nquick"},
    {"#!/bin/sh\necho 'NVIDIA H100, 550.54.15, 81559 MiB'\nexit 9\n", "null\nquick"},
    {"#!/bin/sh\necho no devices were found\n", "null\nquick"},
    {"#!/bin/sh\nexec sleep 20\n", "null\nquick"},
    {"#!/bin/sh\nexec >&-\nexec sleep 20\n", "null\nquick"},
    {NULL, "null\nquick"},
};

static void test_gpu(void **state)
{
    (void)state;
    for (size_t i = 0; i < CHECK_ROWS(smi_rows); i++) {
        char path[128], env[128];
        struct buf err;
        snprintf(path, sizeof path, "%s/nvidia-smi", child_dir);
        unlink(path);
        int fd = smi_rows[i].script ? open(path, O_WRONLY | O_CREAT, 0755) : -1;
        if (fd >= 0) {
            dprintf(fd, "%s", smi_rows[i].script);
            close(fd);
        }
        check_row("%s", smi_rows[i].script ? smi_rows[i].script : "none");
        snprintf(env, sizeof env, "PATH=%s:/usr/bin:/bin", child_dir);
        CHECK_INT(child_run(gpu_child, i == 0 ? path : NULL, (const char *[]){env, NULL}, &err), 0);
        CHECK(count_of(&err, smi_rows[i].want) == 1 ||
              !check_str(__FILE__, __LINE__, buf_slice(&err), slice_str(smi_rows[i].want)));
        buf_free(&err);
    }
    check_done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_redact), cmocka_unit_test(test_command_line), cmocka_unit_test(test_sort),
        cmocka_unit_test(test_out),    cmocka_unit_test(test_gpu),          cmocka_unit_test(test_whole),
        cmocka_unit_test(test_hash),   cmocka_unit_test(test_bad_input),
    };
    return cmocka_run_group_tests(tests, child_setup, child_teardown);
}
