// Writes the records that its standard input describes, by call sites made while it runs: words ended by a nul each,
//   level file line target message span_name trace_id parent_id request_id n, then n times: key type value
// (type s, i, u, f or b; ids in hex; without span_name: outside of a span). See test_golden.py.
#include <sonde/sonde.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIELDS = 64 };

static char *text, *at, *end;
static char *word(void)
{
    char *w = at;
    at += strlen(at) + 1;
    return w;
}

static void bytes_of(uint8_t *out, size_t n, const char *hex)
{
    for (size_t i = 0; i < n; i++) {
        unsigned v = 0;
        if (sscanf(hex + 2 * i, "%2x", &v) != 1)
            return;
        out[i] = (uint8_t)v;
    }
}

static struct sonde_span *enter(const char *name, const char *trace, const char *parent, const char *request)
{
    struct sonde_context c = {.flags = 1};
    if (!*name)
        return NULL;
    if (*parent) { // else a new trace
        bytes_of(c.trace_id, 16, trace);
        bytes_of(c.span_id, 8, parent);
    }
    if (*request)
        sonde_set_request_id(&c, request, strlen(request));
    struct sonde_span *s = sonde_span_start(name, SONDE_KIND_SERVER, &c);
    sonde_span_enter(s);
    return s;
}

static void record(void)
{
    static const char *const levels[] = {"", "ERROR", "WARN", "INFO", "DEBUG", "TRACE"};
    struct sonde_site *site = aligned_alloc(64, sizeof *site);
    const char **keys = calloc(FIELDS + 1, sizeof *keys);
    unsigned char *types = calloc(FIELDS + 1, 1);
    struct sonde_arg args[FIELDS + 1];
    memset(site, 0, sizeof *site);
    const char *level = word();
    for (uint8_t i = 1; i <= 5; i++)
        site->level = strcmp(level, levels[i]) == 0 ? i : site->level;
    site->file = word();
    site->line = (uint32_t)atoi(word());
    site->target = word();
    site->message = word();
    const char *name = word(), *trace = word(), *parent = word(), *request = word();
    int n = atoi(word());
    if (n > FIELDS)
        exit(3);
    for (int i = 0; i < n; i++) {
        keys[i] = word();
        char type = *word();
        const char *value = word();
        types[i] = (unsigned char)(type == 's'   ? SONDE_TYPE_STR
                                   : type == 'i' ? SONDE_TYPE_INT
                                   : type == 'u' ? SONDE_TYPE_UINT
                                   : type == 'f' ? SONDE_TYPE_F64
                                                 : SONDE_TYPE_BOOL);
        args[i] = type == 's'   ? sonde_arg_str(value)
                  : type == 'i' ? sonde_arg_int(strtoll(value, NULL, 10))
                  : type == 'u' ? sonde_arg_uint(strtoull(value, NULL, 10))
                  : type == 'f' ? sonde_arg_f64(strtod(value, NULL))
                                : sonde_arg_bool(*value == 't');
    }
    struct sonde_span *s = enter(name, trace, parent, request);
    if (n >= SONDE_FIELDS_MAX || strlen(site->message) > 4000) { // more than a call site has: message and fields are values
        static const char *const two_keys[] = {"", "", NULL};
        static const unsigned char two_types[] = {SONDE_TYPE_MESSAGE, SONDE_TYPE_FIELDS, 0};
        struct sonde_field fields[FIELDS];
        const char *message = site->message;
        for (int i = 0; i < n; i++)
            fields[i] = (struct sonde_field){keys[i], types[i], args[i]};
        site->message = "";
        site->keys = two_keys;
        site->types = two_types;
        site->n_fields = 2;
        sonde_log_array(site, message, SIZE_MAX, fields, (size_t)n);
    } else {
        site->keys = keys;
        site->types = types;
        site->n_fields = (uint8_t)n;
        sonde_log_write(site, args);
    }
    sonde_span_end(s);
}

int main(void)
{
    size_t size = 64u << 20, n;
    text = malloc(size);
    n = text ? fread(text, 1, size, stdin) : 0;
    at = text;
    end = text + n;
    while (at < end)
        record();
    return sonde_shutdown(10000) ? 0 : 1;
}
