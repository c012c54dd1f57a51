// One HTML file that needs nothing else: the tables, and bars drawn as SVG.
#include "results/report.h"

static const char style[] =
    "<style>:root{color-scheme:light dark;--bar:#3b7dd8;--bad:#c8402f;--line:#8884}"
    "body{font:14px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem}"
    "h1{font-size:1.4rem}h2{font-size:1.05rem;margin:2rem 0 .5rem}"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums}"
    "th,td{border-bottom:1px solid var(--line);padding:.25rem .75rem .25rem 0;text-align:left;vertical-align:top}"
    "span,li,td{overflow-wrap:anywhere}.t{overflow-x:auto}.t td:not(.n){min-width:5rem}.n{text-align:right;white-space:nowrap}"
    ".bars{display:grid;grid-template-columns:minmax(8rem,22rem) 1fr auto;gap:.2rem .75rem;align-items:center}"
    ".bars svg{width:100%;height:14px}.bars line{stroke:currentColor;stroke-width:2;stroke-dasharray:4 3;"
    "vector-effect:non-scaling-stroke}"
    "@media(max-width:40rem){.bars{grid-template-columns:1fr auto}.bars span:first-child,.bars .n+span{grid-column:1/-1}}"
    ".miss{color:var(--bad);font-weight:600}.ok{font-weight:600}</style>\n";

struct bars {
    const char *title, *unit;
    int digits;
    double target; // a line; NaN: none
    bool low_is_bad;
    double (*value)(const struct result *x);
};

static double success_of(const struct result *x)
{
    return result_success(x);
}
static double latency_of(const struct result *x)
{
    return x->load.latency;
}
static double recovery_of(const struct result *x)
{
    return x->recovery;
}

// One bar across the whole of its cell, however wide that is, and the target as a line through it.
static void bar(const struct bars *b, double v, double top, struct buf *out)
{
    enum { WIDE = 1000 };
    bool bad = !isnan(b->target) && (b->low_is_bad ? v < b->target : v > b->target);
    int wide = (int)(v / top * WIDE);
    buf_printf(out,
               "<svg viewBox=\"0 0 %d 14\" preserveAspectRatio=\"none\"><rect width=\"%d\" height=\"14\" fill=\"var(--%s)\"/>",
               WIDE, wide > 0 ? wide : 1, bad ? "bad" : "bar");
    if (!isnan(b->target)) {
        int at = (int)(b->target / top * WIDE);
        buf_printf(out, "<line x1=\"%d\" x2=\"%d\" y1=\"0\" y2=\"14\"/>", at, at);
    }
    buf_str(out, "</svg>");
}

static void draw(const struct results *r, const struct bars *b, struct buf *out)
{
    double top = isnan(b->target) ? 0 : b->target;
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->n; i++) {
        double v = b->value(&r->item[i]);
        n += !isnan(v);
        top = v > top ? v : top;
    }
    if (n == 0 || top <= 0)
        return;
    buf_printf(out, "<h2>%s</h2>\n", b->title);
    if (!isnan(b->target))
        buf_printf(out, "<p>The line is the target of %.6g %s.</p>\n", b->target, b->unit);
    buf_str(out, "<div class=\"bars\">\n");
    for (uint32_t i = 0; i < r->n; i++) {
        double v = b->value(&r->item[i]);
        if (isnan(v))
            continue;
        buf_str(out, "<span>");
        table_html(out, r->item[i].label);
        buf_str(out, "</span>");
        bar(b, v, top, out);
        buf_printf(out, "<span class=\"n\">%.*f %s</span>\n", b->digits, v, b->unit);
    }
    buf_str(out, "</div>\n");
}

void report_page(struct slice title, struct buf *out)
{
    buf_str(out, "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" "
                 "content=\"width=device-width, initial-scale=1\">\n<title>");
    table_html(out, title);
    buf_str(out, "</title>\n");
    buf_str(out, style);
    buf_str(out, "<h1>");
    table_html(out, title);
    buf_str(out, "</h1>\n");
}

void report_page_end(struct buf *out)
{
    buf_str(out, "</html>\n");
}

void report_html(struct arena *a, const struct results *r, const struct results_options *o, struct buf *out)
{
    const struct bars plots[] = {
        {"Requests that succeeded", "%", 2, o->min_success > 0 ? o->min_success : NAN, true, success_of},
        {"Mean latency", "s", 3, o->sla > 0 ? o->sla : NAN, false, latency_of},
        {"Recovery", "s", 2, NAN, false, recovery_of},
    };
    struct buf misses;
    buf_init(&misses, (size_t)1 << 20);
    unsigned n = results_misses(r, o, &misses);
    report_page(arena_printf(a, "Results of %.*s", (int)r->path.n, r->path.p), out);
    if (o->sla > 0 || o->min_success > 0) {
        buf_printf(out, "<p class=\"%s\">%s</p>\n", n ? "miss" : "ok", n ? "Targets were missed:" : "All targets were met.");
        struct slice rest = buf_slice(&misses), line;
        if (n)
            buf_str(out, "<ul>\n");
        while (rest.n && slice_split(&rest, '\n', &line) && line.n) {
            buf_str(out, "<li>");
            table_html(out, line);
            buf_str(out, "</li>\n");
        }
        if (n)
            buf_str(out, "</ul>\n");
    }
    for (size_t i = 0; i < sizeof plots / sizeof *plots; i++)
        draw(r, &plots[i], out);
    report_tables(a, r, o, RESULTS_HTML, out);
    report_page_end(out);
    buf_free(&misses);
}
