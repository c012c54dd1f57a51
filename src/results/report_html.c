// One HTML file that needs nothing else: the tables, and bars drawn as SVG.
#include "results/report.h"

static const char style[] =
    "<style>:root{color-scheme:light dark;--bar:#3b7dd8;--bad:#c8402f;--line:#8884}"
    "body{font:14px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem}"
    "h1{font-size:1.4rem}h2{font-size:1.05rem;margin:2rem 0 .5rem}"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums}"
    "th,td{border-bottom:1px solid var(--line);padding:.25rem .75rem .25rem 0;text-align:left;vertical-align:top}"
    ".n{text-align:right}svg text{font:12px system-ui,sans-serif;fill:currentColor}"
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

static void draw(const struct results *r, const struct bars *b, struct buf *out)
{
    enum { ROW = 22, LEFT = 300, WIDE = 420, RIGHT = 90 };
    double top = isnan(b->target) ? 0 : b->target;
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->n; i++) {
        double v = b->value(&r->item[i]);
        n += !isnan(v);
        top = v > top ? v : top;
    }
    if (n == 0 || top <= 0)
        return;
    buf_printf(out, "<h2>%s</h2>\n<svg role=\"img\" width=\"%d\" height=\"%u\" viewBox=\"0 0 %d %u\"><title>%s</title>\n",
               b->title, LEFT + WIDE + RIGHT, n * ROW + 6, LEFT + WIDE + RIGHT, n * ROW + 6, b->title);
    for (uint32_t i = 0, row = 0; i < r->n; i++) {
        double v = b->value(&r->item[i]);
        if (isnan(v))
            continue;
        bool bad = !isnan(b->target) && (b->low_is_bad ? v < b->target : v > b->target);
        int y = (int)(row++ * ROW), wide = (int)(v / top * WIDE);
        struct slice name = r->item[i].name;
        buf_printf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">", LEFT - 8, y + 16);
        table_html(out, name.n > 44 ? slice_from(name, name.n - 44) : name);
        buf_printf(out, "</text><rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"2\" fill=\"var(--%s)\"/>", LEFT, y + 4,
                   wide > 0 ? wide : 1, ROW - 6, bad ? "bad" : "bar");
        buf_printf(out, "<text x=\"%d\" y=\"%d\">%.*f %s</text>\n", LEFT + wide + 6, y + 16, b->digits, v, b->unit);
    }
    if (!isnan(b->target))
        buf_printf(out, "<line x1=\"%d\" x2=\"%d\" y1=\"0\" y2=\"%u\" stroke=\"currentColor\" stroke-dasharray=\"4 3\"/>\n",
                   LEFT + (int)(b->target / top * WIDE), LEFT + (int)(b->target / top * WIDE), n * ROW + 6);
    buf_str(out, "</svg>\n");
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
    buf_str(out, "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" "
                 "content=\"width=device-width\">\n<title>");
    table_html(out, r->path);
    buf_str(out, "</title>\n");
    buf_str(out, style);
    buf_str(out, "<h1>Results of ");
    table_html(out, r->path);
    buf_str(out, "</h1>\n");
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
    buf_str(out, "</html>\n");
    buf_free(&misses);
}
