// JUnit XML: pytest's, and what other runners write in its likeness.
#include "results/results_int.h"
#include "results/stamp.h"
#include "results/textfile.h"
#include <errno.h>
#include <expat.h>
#include <stdlib.h>

enum { CASES_MAX = 1000000, MESSAGE_MAX = 2000, SUITE_MAX_S = 10000000 };

struct parse {
    struct arena *arena;
    struct result *r;
    struct result_case *cases;
    uint32_t n, cap;
    bool inside, failed; // in a <testcase>; no memory
    bool telling;        // in a <failure> or <error> without a message: its text is one
    struct buf told;
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

// When the tests ran: the earliest of the suites, and the end of the last.
static void suite_time(struct parse *p, const char **attrs)
{
    struct stamp t;
    double seconds;
    if (!stamp_read(slice_str(attribute(attrs, "timestamp")), &t))
        return;
    if (!p->r->start_ns || t.ns < p->r->start_ns)
        p->r->start_ns = t.ns;
    if (slice_to_f64(slice_str(attribute(attrs, "time")), &seconds) && seconds >= 0 && seconds < SUITE_MAX_S) {
        int64_t end = t.ns + (int64_t)(seconds * 1e9);
        p->r->end_ns = end > p->r->end_ns ? end : p->r->end_ns;
    }
}

static void XMLCALL on_start(void *arg, const XML_Char *name, const XML_Char **attrs)
{
    struct parse *p = arg;
    if (strcmp(name, "testcase") == 0) {
        begin_case(p, attrs);
        return;
    }
    if (strcmp(name, "testsuite") == 0)
        suite_time(p, attrs);
    if (!p->inside || p->failed)
        return;
    struct result_case *c = &p->cases[p->n - 1];
    bool bad = strcmp(name, "failure") == 0 || strcmp(name, "error") == 0;
    if (!bad && strcmp(name, "skipped") != 0)
        return;
    c->verdict = bad ? VERDICT_FAILED : VERDICT_SKIPPED;
    c->message = arena_dup(p->arena, slice_cut(slice_str(attribute(attrs, "message")), MESSAGE_MAX));
    p->telling = bad && c->message.n == 0;
    buf_reset(&p->told);
}

static void XMLCALL on_text(void *arg, const XML_Char *s, int n)
{
    struct parse *p = arg;
    if (p->telling)
        buf_put(&p->told, s, (size_t)n);
}

static void XMLCALL on_end(void *arg, const XML_Char *name)
{
    struct parse *p = arg;
    if (strcmp(name, "testcase") == 0)
        p->inside = false;
    if (p->telling && p->n) {
        p->cases[p->n - 1].message = arena_dup(p->arena, slice_trim(slice_cut(buf_slice(&p->told), MESSAGE_MAX)));
        p->telling = false;
    }
}

enum errc junit_read(struct arena *a, struct result *r, const struct file *file)
{
    struct textfile t;
    struct parse p = {.arena = a, .r = r, .cases = r->cases, .n = r->n_cases, .cap = r->n_cases};
    int failed = file->size > RESULT_FILE_MAX ? EFBIG : textfile_open(file->path, &t);
    if (failed) {
        result_unreadable(a, r, file->name, "cannot be read: %s", textfile_error(failed));
        return ERR_OK;
    }
    XML_Parser x = XML_ParserCreate(NULL);
    if (!x) {
        textfile_close(&t);
        return ERR_NOMEM;
    }
    buf_init(&p.told, RESULT_FILE_MAX);
    XML_SetUserData(x, &p);
    XML_SetElementHandler(x, on_start, on_end);
    XML_SetCharacterDataHandler(x, on_text);
    if (XML_Parse(x, t.text.p, (int)t.text.n, 1) != XML_STATUS_OK)
        result_unreadable(a, r, file->name, "is damaged from line %lu on: %s", (unsigned long)XML_GetCurrentLineNumber(x),
                          XML_ErrorString(XML_GetErrorCode(x)));
    XML_ParserFree(x);
    textfile_close(&t);
    buf_free(&p.told);
    r->cases = p.cases;
    r->n_cases = p.n;
    r->cases_failed = r->cases_skipped = 0;
    for (uint32_t i = 0; i < r->n_cases; i++) {
        r->cases_failed += r->cases[i].verdict == VERDICT_FAILED;
        r->cases_skipped += r->cases[i].verdict == VERDICT_SKIPPED;
    }
    return p.failed ? ERR_NOMEM : ERR_OK;
}
