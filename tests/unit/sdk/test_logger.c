// Loggers with a scope of their own, as a line and as OTLP.
#include "check.h"
#include "seen.h"
#include <sonde/export.h>
#include <sonde/logger.h>

static struct sonde_memory_exporter *memory;

static bool exported(const char *text)
{
    struct sonde_export_batch b;
    sonde_flush(5000);
    for (size_t i = 0; sonde_memory_exporter_get(memory, i, &b); i++)
        if (b.signal == SONDE_LOGS && memmem(b.otlp, b.n, text, strlen(text)))
            return true;
    return false;
}

static int emit(void *arg)
{
    (void)arg;
    memory = sonde_memory_exporter_new();
    struct sonde_exporter x = sonde_memory_exporter_of(memory);
    x.signals = 1 << SONDE_LOGS;
    EXPECT(sonde_exporter_add(&x));
    const struct sonde_field team[] = {SONDE_FIELD(SONDE_STR("team", "kv"))};
    struct sonde_logger_options o = {"my.lib", "1.2.3", "https://schema/1", team, 1};
    struct sonde_logger *l = sonde_logger_get(&o);
    EXPECT(l && sonde_logger_get(&o) == l);
    o.version = "2";
    EXPECT(sonde_logger_get(&o) != l);
    EXPECT(sonde_logger_get(NULL) != NULL);
    EXPECT(sonde_logger_enabled(l, SONDE_LEVEL_INFO) && !sonde_logger_enabled(l, SONDE_LEVEL_DEBUG));
    EXPECT(!sonde_logger_enabled(l, (enum sonde_level)0) && !sonde_logger_enabled(NULL, SONDE_LEVEL_INFO));
    const struct sonde_field f[] = {SONDE_FIELD(SONDE_INT("bytes", 4096)), SONDE_FIELD(SONDE_STR("exception.type", "better"))};
    struct sonde_span *s = sonde_span_start("op", SONDE_KIND_INTERNAL, NULL);
    sonde_span_enter(s);
    sonde_logger_emit(l,
                      &(struct sonde_logger_record){
                          .level = SONDE_LEVEL_INFO, .message = "moved", .event_name = "kv.moved", .fields = f, .n_fields = 1});
    EXPECT(exported("moved") && exported("kv.moved") && !exported("event.name")); // the event's name is no attribute
    EXPECT(exported("my.lib") && exported("1.2.3") && exported("https://schema/1") && exported("team"));
    struct sonde_export_batch b;
    bool in_trace = false;
    for (size_t i = 0; sonde_memory_exporter_get(memory, i, &b); i++)
        in_trace = in_trace || memmem(b.otlp, b.n, sonde_span_context(s)->trace_id, 24 - 8);
    EXPECT(in_trace);
    sonde_span_end(s);
    sonde_logger_emit(l, &(struct sonde_logger_record){
                             .level = SONDE_LEVEL_ERROR,
                             .message = "failed",
                             .exception = &(struct sonde_exception){.type = "oom", .message = "no memory", .stack = "at a\nat b"},
                             .fields = f,
                             .n_fields = 2});
    EXPECT(exported("exception.message") && exported("no memory") && exported("at a\nat b"));
    EXPECT(exported("better") && !exported("oom")); // the caller's own fields win
    sonde_logger_emit(l, &(struct sonde_logger_record){.level = SONDE_LEVEL_DEBUG, .message = "filtered"});
    EXPECT(!exported("filtered"));
    return seen_fails;
}

static void loggers(void **state)
{
    (void)state;
    static const char *const env[] = {"OTEL_EXPORT_ENABLED=0", "DYN_LOGGING_JSONL=1", "DYN_LOG=info", NULL};
    struct buf out;
    CHECK_INT(child_run(emit, NULL, env, &out), 0);
    if (count_of(&out, "TEST FAILED"))
        fprintf(stderr, "%s", out.p);
    CHECK_INT(count_of(&out, "TEST FAILED"), 0);
    CHECK_INT(
        count_of(&out, "\"target\":\"my.lib\",\"message\":\"moved\",\"bytes\":4096,\"event.name\":\"kv.moved\",\"span_id\""), 1);
    CHECK_INT(count_of(&out, "\"level\":\"ERROR\""), 1);
    buf_free(&out);
    check_done();
}

int main(void)
{
    if (CHILD_TSAN)
        return 77;
    const struct CMUnitTest tests[] = {cmocka_unit_test(loggers)};
    return cmocka_run_group_tests(tests, child_setup, child_teardown);
}
