// JUnit XML: pytest's, and what other runners write in its likeness.
#include "results/logscan.h"
#include "results/results_int.h"
#include <errno.h>
#include <expat.h>
#include <stdlib.h>

enum { CASES_MAX = 1000000, MESSAGE_MAX = 2000 };

struct parse {
    struct arena *arena;
    struct result *r;
    struct result_case *cases;
    uint32_t n, cap;
    bool inside, failed; // in a <testcase>; no memory
};

static const char *attribute(const char **attrs, const char *name)
{
    for (; attrs[0]; attrs += 2)
        if (strcmp(attrs[0], name) == 0)
            return attrs[1];
    return "";
}

static void begin_case(struct parse *p, const char **attrs)
{
    if (p->n == p->cap) {
        uint32_t more = p->cap ? p->cap * 2 : 64;
        void *v = more > CASES_MAX ? NULL : arena_grow(p->arena, p->cases, p->cap * sizeof *p->cases, more * sizeof *p->cases);
        if (!v) {
            p->failed = true;
            return;
        }
        p->cases = v;
        p->cap = more;
    }
    const char *class = attribute(attrs, "classname");
    double seconds = NAN;
    slice_to_f64(slice_str(attribute(attrs, "time")), &seconds);
    p->cases[p->n++] = (struct result_case){
        .name = arena_printf(p->arena, "%s%s%s", class, *class ? "::" : "", attribute(attrs, "name")),
        .message = SLICE(""),
        .verdict = VERDICT_PASSED,
        .seconds = seconds,
    };
    p->inside = true;
}

static void XMLCALL on_start(void *arg, const XML_Char *name, const XML_Char **attrs)
{
    struct parse *p = arg;
    if (strcmp(name, "testcase") == 0) {
        begin_case(p, attrs);
        return;
    }
    if (!p->inside || p->failed)
        return;
    struct result_case *c = &p->cases[p->n - 1];
    bool bad = strcmp(name, "failure") == 0 || strcmp(name, "error") == 0;
    if (!bad && strcmp(name, "skipped") != 0)
        return;
    c->verdict = bad ? VERDICT_FAILED : VERDICT_SKIPPED;
    c->message = arena_dup(p->arena, slice_cut(slice_str(attribute(attrs, "message")), MESSAGE_MAX));
}

static void XMLCALL on_end(void *arg, const XML_Char *name)
{
    struct parse *p = arg;
    if (strcmp(name, "testcase") == 0)
        p->inside = false;
}

enum errc junit_read(struct arena *a, struct result *r, const struct file *file)
{
    struct slice text;
    struct parse p = {.arena = a, .r = r, .cases = r->cases, .n = r->n_cases, .cap = r->n_cases};
    int failed = file->size > RESULT_FILE_MAX ? EFBIG : logscan_map(file->path, &text);
    if (failed) {
        result_note(a, r, "%.*s cannot be read: %s", (int)file->name.n, file->name.p, strerror(failed));
        return ERR_OK;
    }
    XML_Parser x = XML_ParserCreate(NULL);
    if (!x) {
        logscan_unmap(text);
        return ERR_NOMEM;
    }
    XML_SetUserData(x, &p);
    XML_SetElementHandler(x, on_start, on_end);
    if (XML_Parse(x, text.p, (int)text.n, 1) != XML_STATUS_OK)
        result_note(a, r, "%.*s is damaged from line %lu on: %s", (int)file->name.n, file->name.p,
                    (unsigned long)XML_GetCurrentLineNumber(x), XML_ErrorString(XML_GetErrorCode(x)));
    XML_ParserFree(x);
    logscan_unmap(text);
    r->cases = p.cases;
    r->n_cases = p.n;
    r->cases_failed = 0;
    for (uint32_t i = 0; i < r->n_cases; i++)
        r->cases_failed += r->cases[i].verdict == VERDICT_FAILED;
    return p.failed ? ERR_NOMEM : ERR_OK;
}
