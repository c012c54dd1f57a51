// Batches as text on standard output: OTLP JSON, one request a line (otlp/stdout), or a line a record (console).
#include "base/limits.h"
#include "event/otlp_schema.h"
#include "sdk/export_int.h"
#include <errno.h>
#include <poll.h>
#include <unistd.h>

enum { CONSOLE_WAIT_MS = 1000 };

static const struct otlp_message *const requests[EXPORT_SIGNALS] = {&otlp_traces_request, &otlp_logs_request,
                                                                    &otlp_metrics_request};

bool export_json(struct buf *out, enum export_signal s, struct slice request)
{
    struct pb r;
    struct jw w = jw_to(out);
    pb_init(&r, request, NULL);
    return otlp_to_json(&r, requests[s], &w) && out->err == ERR_OK;
}

// Standard output may be a pipe that nobody reads: given up after a second.
static bool put(struct slice s)
{
    while (s.n) {
        struct pollfd p = {.fd = STDOUT_FILENO, .events = POLLOUT};
        if (poll(&p, 1, CONSOLE_WAIT_MS) <= 0)
            return false;
        ssize_t n = write(STDOUT_FILENO, s.p, s.n);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n <= 0)
            return false;
        s = slice_from(s, (size_t)n);
    }
    return true;
}

bool export_stdout(const struct export_batch *b)
{
    struct buf out;
    buf_init(&out, MAX_EXPORT_TEXT);
    bool ok = export_json(&out, b->signal, buf_slice(&b->request));
    buf_char(&out, '\n');
    ok = ok && out.err == ERR_OK && put(buf_slice(&out));
    buf_free(&out);
    return ok;
}

// "span scope {…}", "log scope {…}", "metric scope {…}" for each record of a Scope… message.
static void scope_lines(struct pb *scope, const struct otlp_message *m, const char *word, struct buf *out)
{
    const struct otlp_field *records = otlp_field_by_number(m, 2);
    struct slice name = SLICE_NONE;
    struct pb child;
    while (pb_next(scope)) {
        if (scope->field == 1 && pb_message(scope, &child)) {
            while (pb_next(&child)) {
                if (child.field == 1)
                    pb_bytes(&child, &name);
                else
                    pb_skip(&child);
            }
        } else if (scope->field == 2 && pb_message(scope, &child)) {
            struct jw w = jw_to(out);
            buf_str(out, word);
            buf_char(out, ' ');
            buf_add(out, name);
            buf_char(out, ' ');
            otlp_to_json(&child, records->message, &w);
            buf_char(out, '\n');
        } else {
            pb_skip(scope);
        }
    }
}

bool export_console(const struct export_batch *b)
{
    static const char *const words[EXPORT_SIGNALS] = {"span", "log", "metric"};
    const struct otlp_message *resource = otlp_field_by_number(requests[b->signal], 1)->message;
    const struct otlp_message *scope = otlp_field_by_number(resource, 2)->message;
    struct pb r, top, child;
    struct buf out;
    buf_init(&out, MAX_EXPORT_TEXT);
    pb_init(&r, buf_slice(&b->request), NULL);
    while (pb_next(&r)) {
        if (r.field != 1 || !pb_message(&r, &top)) {
            pb_skip(&r);
            continue;
        }
        while (pb_next(&top)) {
            if (top.field == 2 && pb_message(&top, &child))
                scope_lines(&child, scope, words[b->signal], &out);
            else if (top.field != 2)
                pb_skip(&top);
        }
    }
    bool ok = !r.failed && out.err == ERR_OK && put(buf_slice(&out));
    buf_free(&out);
    return ok;
}
