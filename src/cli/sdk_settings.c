// libsonde's settings for people: `sonde env`, docs/settings.md, the manual. Meanings stand in the program alone; the library has
// the rest of the rows.
#include "base/json.h"
#include "base/limits.h"
#include "cli/cli.h"
#include "sdk/dump.h"
#include "sdk/settings_sdk.h"

#include <string.h>

static const struct {
    const char *when, *meaning;
} texts[] = {
#define SETTING(name, type, value, accepted, when, meaning) {when, meaning},
#include "sdk/settings.def"
#undef SETTING
};
static const char intro[] =
    "What a process that links libsonde reads of its environment. An empty variable counts as unset. Those of the status server\n"
    "(DYN_SYSTEM_*, DYN_HEALTH_*, DYN_CANARY_*) also come from /opt/dynamo/etc/runtime.toml, then\n"
    "/opt/dynamo/defaults/runtime.toml. With OTEL_CONFIG_FILE, OpenTelemetry's come from that file alone. A value that is not\n"
    "accepted is told on stderr, and the default holds.\n";

void setting_shown(const char *name, struct slice value, struct buf *out)
{
    static const struct redact usual;
    redact_text(&usual, slice_str(name), value, out);
}

static const char *shown(const struct sdk_setting *s, const char *value, struct buf *cell)
{
    buf_reset(cell);
    setting_shown(s->name, slice_str(value), cell);
    buf_char(cell, 0);
    return cell->err == ERR_OK ? cell->p : "";
}

void sdk_settings_text(struct buf *out)
{
    struct buf cell, value;
    size_t name = 0;
    buf_init(&cell, MAX_CLI_OUTPUT);
    buf_init(&value, MAX_CLI_OUTPUT);
    buf_str(out, "libsonde (environment of a process started here)\n");
    for (size_t i = 0; i < sdk_settings_n(); i++) {
        size_t n = strlen(sdk_setting(i).name);
        name = n > name && n <= 44 ? n : name;
    }
    for (size_t i = 0; i < sdk_settings_n(); i++) {
        struct sdk_setting s = sdk_setting(i);
        struct env_value v = sdk_setting_value(i);
        buf_reset(&cell);
        env_print_from(&v, &cell);
        buf_printf(out, "  %-*s  %-20s  %-11.*s  %s", (int)name, s.name, shown(&s, v.text, &value), (int)cell.n, cell.p,
                   texts[i].meaning);
        if (v.rejected)
            buf_printf(out, " (not accepted: %s)", shown(&s, v.rejected, &value));
        buf_char(out, '\n');
    }
    buf_free(&cell);
    buf_free(&value);
}

void sdk_settings_json(struct jw *w)
{
    static const char *const from[] = {"default", "environment", "file", "program"};
    struct buf cell, value;
    buf_init(&cell, MAX_CLI_OUTPUT);
    buf_init(&value, MAX_CLI_OUTPUT);
    jw_obj(w);
    JW_KEY(w, "commands");
    jw_str(w, SLICE("libsonde"));
    JW_KEY(w, "settings");
    jw_arr(w);
    for (size_t i = 0; i < sdk_settings_n(); i++) {
        struct sdk_setting s = sdk_setting(i);
        struct env_value v = sdk_setting_value(i);
        const char *const rows[][2] = {{"env", s.name},
                                       {"type", sdk_setting_type(s.type)},
                                       {"value", shown(&s, v.text, &value)},
                                       {"default", s.value},
                                       {"from", from[v.from]},
                                       {"when", texts[i].when},
                                       {"about", texts[i].meaning}};
        jw_obj(w);
        JW_KEY(w, "flag");
        jw_null(w);
        for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
            jw_key(w, slice_str(rows[k][0]));
            jw_str(w, slice_str(rows[k][1]));
        }
        buf_reset(&cell);
        sdk_setting_print_accepted(&s, &cell);
        JW_KEY(w, "accepted");
        jw_str(w, buf_slice(&cell));
        buf_reset(&cell);
        env_print_from(&v, &cell);
        JW_KEY(w, "origin");
        jw_str(w, buf_slice(&cell));
        JW_KEY(w, "rejected");
        v.rejected ? jw_str(w, slice_str(shown(&s, v.rejected, &value))) : jw_null(w);
        jw_obj_end(w);
    }
    jw_arr_end(w);
    jw_obj_end(w);
    buf_free(&cell);
    buf_free(&value);
}

static void cell_text(struct buf *out, const char *s)
{
    for (; *s; s++) {
        if (*s == '|')
            buf_char(out, '\\');
        buf_char(out, *s);
    }
}

void sdk_settings_markdown(struct buf *out)
{
    buf_printf(out, "\n## libsonde\n\n%s\n| variable | default | accepted | read | meaning |\n|---|---|---|---|---|\n", intro);
    for (size_t i = 0; i < sdk_settings_n(); i++) {
        struct sdk_setting s = sdk_setting(i);
        buf_printf(out, "| `%s` | %s%s%s | ", s.name, *s.value ? "`" : "", s.value, *s.value ? "`" : "");
        sdk_setting_print_accepted(&s, out);
        buf_printf(out, " | %s | ", texts[i].when);
        cell_text(out, texts[i].meaning);
        buf_str(out, " |\n");
    }
}

void sdk_settings_man(struct buf *out, void (*put)(struct buf *out, struct slice s))
{
    buf_str(out, ".SH LIBSONDE\n");
    put(out, slice_str(intro));
    for (size_t i = 0; i < sdk_settings_n(); i++) {
        struct sdk_setting s = sdk_setting(i);
        buf_printf(out, ".TP\n.B %s\n", s.name);
        put(out, slice_str(texts[i].meaning));
        buf_str(out, ".\nAccepted: ");
        sdk_setting_print_accepted(&s, out);
        if (*s.value) {
            buf_str(out, ". Default: ");
            put(out, slice_str(s.value));
        }
        buf_str(out, ".\n");
    }
}
