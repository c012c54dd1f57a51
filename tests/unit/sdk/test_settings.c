// The table of settings: whole, without doubles, its defaults accepted; values, order and provenance.
#include "check.h"
#include "sdk/child.h"
#include "sdk/config_file.h"
#include "sdk/env.h"
#include "sdk/settings_sdk.h"
#include <dirent.h>
#include <sonde/sonde.h>
#include <sys/stat.h>

static const char *source_dir;

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sdk_settings_n(); i++) {
        struct sdk_setting s = sdk_setting(i);
        check_row("%s", s.name);
        CHECK_INT(sdk_setting_find(s.name), i); // found, and found first: no doubles
        CHECK(strchr("tpuwobimsfzelv", s.type));
        CHECK(s.type != 'e' || s.accepted[0]);
        struct slice rest = slice_str(s.accepted), min, max;
        int64_t n;
        if (strchr("imsz", s.type) && s.accepted[0])
            CHECK(slice_split(&rest, ' ', &min) && slice_to_i64(min, &n) && slice_split(&rest, ' ', &max) &&
                  slice_to_i64(max, &n));
    }
    CHECK(sdk_settings_n() > 100);
    check_done();
}

// Names that are put together have a row that begins so.
static bool has_row(const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < sdk_settings_n(); i++) {
        const char *row = sdk_setting(i).name;
        if (strncmp(row, name, n) == 0 && (row[n] == 0 || row[n] == '_'))
            return true;
    }
    return false;
}

// Whoever reads a variable in src/sdk has a row for it: all literals of the sources that look like one.
static void names_of(const char *path)
{
    struct buf b;
    FILE *f = fopen(path, "r");
    buf_init(&b, MIB(4));
    for (char *to; f && (to = buf_reserve(&b, 65536));) {
        size_t n = fread(to, 1, 65536, f);
        b.n += n;
        if (!n)
            break;
    }
    if (f)
        fclose(f);
    buf_char(&b, 0);
    for (const char *p = b.p; (p = strchr(p, '"'));) {
        size_t n = strspn(++p, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
        bool ours = strncmp(p, "DYN_", 4) == 0 || strncmp(p, "OTEL_", 5) == 0 || strncmp(p, "SONDE_", 6) == 0;
        if (p[n] != '"' || !ours || p[n - 1] == '_')
            continue;
        char name[128];
        snprintf(name, sizeof name, "%.*s", (int)n, p);
        check_row("%s: %s", path, name);
        CHECK(has_row(name));
        p += n + 1;
    }
    buf_free(&b);
}

static void test_every_variable_has_a_row(void **state)
{
    (void)state;
    DIR *d = opendir(source_dir);
    struct dirent *e;
    int files = 0;
    assert_non_null(d);
    while ((e = readdir(d))) {
        size_t n = strlen(e->d_name);
        char path[1024];
        if (n < 3 || strcmp(e->d_name + n - 2, ".c") != 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", source_dir, e->d_name);
        names_of(path);
        files++;
    }
    closedir(d);
    assert_true(files > 30);
    check_done();
}

// ---- values ---------------------------------------------------------------------------------------------------------
static const struct value_row {
    const char *name, *given;
    double want; // int, real, choice or truth, by the row's type
    bool warns;
} value_rows[] = {
    {"OTEL_METRIC_EXPORT_INTERVAL", NULL, 60000, false},
    {"OTEL_METRIC_EXPORT_INTERVAL", "", 60000, false},
    {"OTEL_METRIC_EXPORT_INTERVAL", "  ", 60000, false},
    {"OTEL_METRIC_EXPORT_INTERVAL", " 500 ", 500, false},
    {"OTEL_METRIC_EXPORT_INTERVAL", "0", 60000, true},
    {"OTEL_METRIC_EXPORT_INTERVAL", "5s", 60000, true},
    {"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", NULL, -1, false},
    {"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "64", 64, false},
    {"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "-1", -1, true},
    {"DYN_SYSTEM_PORT", NULL, -1, false},
    {"DYN_SYSTEM_PORT", "32767", 32767, false},
    {"DYN_SYSTEM_PORT", "32768", -1, true},
    {"DYN_SYSTEM_PORT", "-5", -5, false},
    {"SONDE_LOG_FILE_ROTATE_SIZE", "2k", 2048, false},
    {"SONDE_LOG_FILE_ROTATE_SIZE", "1G", 1 << 30, false},
    {"SONDE_LOG_FILE_ROTATE_SIZE", "1T", -1, true},
    {"SONDE_LOG_FILE_ROTATE_SIZE", "0", -1, true},
    {"SONDE_RING_BYTES", "1M", 1 << 20, false},
    {"SONDE_RING_BYTES", "65M", 8 << 20, true},
    {"SONDE_LOG_STDERR", NULL, 1, false},
    {"SONDE_LOG_STDERR", "No", 0, false},
    {"SONDE_LOG_STDERR", " 1 ", 1, false},
    {"SONDE_LOG_STDERR", "quiet", 1, true},
    {"SONDE_RING_KEEP", NULL, 0, false},
    {"SONDE_RING_KEEP", "keep", 0, true},
    {"SONDE_FLIGHT_LEVEL", NULL, 5, false},
    {"SONDE_FLIGHT_LEVEL", "Warning", 2, false},
    {"SONDE_FLIGHT_LEVEL", "0", 0, false},
    {"SONDE_FLIGHT_LEVEL", "loud", 5, true},
    {"OTEL_TRACES_SAMPLE_RATIO", "0.25", 0.25, false},
    {"OTEL_TRACES_SAMPLE_RATIO", "1.5", 1, true},
    {"OTEL_TRACES_SAMPLE_RATIO", "NaN", 1, true},
    {"OTEL_SDK_DISABLED", "true", 1, false},
    {"OTEL_SDK_DISABLED", "TRUE", 1, false},
    {"OTEL_SDK_DISABLED", "false", 0, false},
    {"OTEL_SDK_DISABLED", "1", 0, true},
    {"OTEL_SDK_DISABLED", "yes", 0, true},
    {"DYN_HEALTH_CHECK_ENABLED", "yes", 1, false},
    {"DYN_HEALTH_CHECK_ENABLED", "On", 1, false},
    {"DYN_HEALTH_CHECK_ENABLED", " true ", 0, false},
    {"DYN_HEALTH_CHECK_ENABLED", "enabled", 0, false},
    {"OTEL_METRICS_EXEMPLAR_FILTER", NULL, 0, false},
    {"OTEL_METRICS_EXEMPLAR_FILTER", "always_off", 2, false},
    {"OTEL_METRICS_EXEMPLAR_FILTER", "ALWAYS_ON", 1, false},
    {"OTEL_METRICS_EXEMPLAR_FILTER", "never", 0, true},
    {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", NULL, -1, false},
    {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json", 2, false},
};

static int read_value(void *arg)
{
    const struct value_row *r = arg;
    struct sdk_setting s = sdk_setting((size_t)sdk_setting_find(r->name));
    double got = s.type == 'e'           ? env_choice(r->name)
                 : s.type == 'f'         ? env_real(r->name)
                 : s.type == 'v'         ? env_level(r->name)
                 : strchr("bow", s.type) ? env_on(r->name)
                                         : (double)env_int(r->name);
    for (int again = 0; again < 3; again++) // one warning is enough
        s.type == 'e' ? (void)env_choice(r->name) : (void)env_int(r->name);
    return got == r->want ? 0 : 1;
}

static void test_values(void **state)
{
    (void)state;
    for (size_t i = 0; i < CHECK_ROWS(value_rows); i++) {
        const struct value_row *r = &value_rows[i];
        char given[128];
        struct buf err;
        snprintf(given, sizeof given, "%s=%s", r->given ? r->name : "UNRELATED", r->given ? r->given : "");
        check_row("%s", given);
        CHECK_INT(child_run(read_value, (void *)r, (const char *[]){given, NULL}, &err), 0);
        CHECK_INT(count_of(&err, "is not accepted; write"), r->warns);
        CHECK_INT(count_of(&err, r->name), r->warns);
        buf_free(&err);
    }
    check_done();
}

// ---- order and provenance -------------------------------------------------------------------------------------------
static char root[] = "/tmp/sonde-settings-XXXXXX";

static void put_file(const char *dir, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", root, dir);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/%s/%s", root, dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void from_text(const char *name, struct buf *out)
{
    struct env_value v = sdk_setting_value((size_t)sdk_setting_find(name));
    buf_reset(out);
    buf_printf(out, "%s|", v.text);
    env_print_from(&v, out);
}

static void test_runtime_files(void **state)
{
    (void)state;
    struct buf b;
    char want[256];
    buf_init(&b, KIB(4));
    assert_non_null(mkdtemp(root));
    put_file("etc", "runtime.toml", "# the machine's\nsystem_port = 9090\nstarting_health_status = \"ready\"\n");
    put_file("defaults", "runtime.toml",
             "system_port = 1\nsystem_host = \"127.0.0.9\"\nuse_endpoint_health_status = [\"generate\"]\n");
    settings_runtime_root = root;
    settings_runtime_forget();
    CHECK_INT(env_int("DYN_SYSTEM_PORT"), 9090);
    from_text("DYN_SYSTEM_PORT", &b);
    snprintf(want, sizeof want, "9090|%s/etc/runtime.toml:2", root);
    CHECK_STR(buf_slice(&b), want);
    CHECK_INT(env_choice("DYN_SYSTEM_STARTING_HEALTH_STATUS"), 0);
    from_text("DYN_SYSTEM_HOST", &b);
    snprintf(want, sizeof want, "127.0.0.9|%s/defaults/runtime.toml:2", root);
    CHECK_STR(buf_slice(&b), want);
    CHECK_STR(slice_str(env_get("DYN_SYSTEM_USE_ENDPOINT_HEALTH_STATUS")), "[\"generate\"]");
    setenv("DYN_SYSTEM_PORT", "", 1); // empty: as if it were not there
    CHECK_INT(env_int("DYN_SYSTEM_PORT"), 9090);
    setenv("DYN_SYSTEM_PORT", "0", 1);
    CHECK_INT(env_int("DYN_SYSTEM_PORT"), 0);
    from_text("DYN_SYSTEM_PORT", &b);
    CHECK_STR(buf_slice(&b), "0|environment");
    unsetenv("DYN_SYSTEM_PORT");
    from_text("DYN_CANARY_WAIT_TIME", &b);
    CHECK_STR(buf_slice(&b), "10|default");
    put_file("etc", "runtime.toml", "system_port = \n"); // not TOML: told, not used
    settings_runtime_forget();
    CHECK_INT(env_int("DYN_SYSTEM_PORT"), 1);
    settings_runtime_root = "/nonexistent";
    settings_runtime_forget();
    CHECK_INT(env_int("DYN_SYSTEM_PORT"), -1);
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", root);
    CHECK_INT(system(command), 0);
    buf_free(&b);
    check_done();
}

static void test_provenance(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, KIB(4));
    from_text("OTEL_SPAN_LINK_COUNT_LIMIT", &b);
    CHECK_STR(buf_slice(&b), "128|default");
    env_from_program("OTEL_SERVICE_NAME", "worker", "sonde_init");
    from_text("OTEL_SERVICE_NAME", &b);
    CHECK_STR(buf_slice(&b), "worker|sonde_init");
    setenv("OTEL_SERVICE_NAME", "other", 1);
    from_text("OTEL_SERVICE_NAME", &b);
    CHECK_STR(buf_slice(&b), "other|environment");
    env_from_program("DYN_LOG", "debug", "sonde_set_filter"); // that one wins over the environment
    setenv("DYN_LOG", "warn", 1);
    from_text("DYN_LOG", &b);
    CHECK_STR(buf_slice(&b), "debug|sonde_set_filter");
    env_from_program("DYN_LOG", NULL, NULL);
    from_text("DYN_LOG", &b);
    CHECK_STR(buf_slice(&b), "warn|environment");
    setenv("OTEL_SPAN_LINK_COUNT_LIMIT", "many", 1);
    struct env_value v = sdk_setting_value((size_t)sdk_setting_find("OTEL_SPAN_LINK_COUNT_LIMIT"));
    CHECK_STR(slice_str(v.text), "128");
    CHECK_STR(slice_str(v.rejected), "many");
    CHECK_INT(v.from, ENV_FROM_DEFAULT);
    unsetenv("OTEL_SERVICE_NAME"), unsetenv("DYN_LOG"), unsetenv("OTEL_SPAN_LINK_COUNT_LIMIT");
    buf_free(&b);
    check_done();
}

static void test_file_rules(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, KIB(4));
    setenv("OTEL_BSP_MAX_QUEUE_SIZE", "7", 1);
    setenv("DYN_LOG_USE_LOCAL_TZ", "1", 1);
    CHECK(config_file_put("OTEL_METRIC_EXPORT_INTERVAL", SLICE("250"), 3, false));
    CHECK(config_file_put("OTEL_TRACES_EXPORTER", SLICE("otlp"), 4, true));
    CHECK(config_file_put("OTEL_TRACES_EXPORTER", SLICE("console"), 9, true));
    CHECK(!config_file_put("OTEL_NO_SUCH_THING", SLICE("1"), 1, false));
    CHECK_INT(env_int("OTEL_BSP_MAX_QUEUE_SIZE"), 7);
    config_file_rule("/etc/otel.yaml");
    CHECK_INT(env_int("OTEL_BSP_MAX_QUEUE_SIZE"), 65536); // the environment's does not count any more
    CHECK_INT(env_int("OTEL_METRIC_EXPORT_INTERVAL"), 250);
    CHECK(env_on("DYN_LOG_USE_LOCAL_TZ")); // none of OpenTelemetry's
    from_text("OTEL_TRACES_EXPORTER", &b);
    CHECK_STR(buf_slice(&b), "otlp,console|/etc/otel.yaml:4");
    config_file_clear();
    CHECK_INT(env_int("OTEL_BSP_MAX_QUEUE_SIZE"), 7);
    unsetenv("OTEL_BSP_MAX_QUEUE_SIZE"), unsetenv("DYN_LOG_USE_LOCAL_TZ");
    buf_free(&b);
    check_done();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),       cmocka_unit_test(test_every_variable_has_a_row),
        cmocka_unit_test(test_values),     cmocka_unit_test(test_runtime_files),
        cmocka_unit_test(test_provenance), cmocka_unit_test(test_file_rules),
    };
    source_dir = argc > 1 ? argv[1] : "src/sdk";
    return cmocka_run_group_tests(tests, child_setup, child_teardown);
}
