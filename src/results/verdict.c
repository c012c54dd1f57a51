// Whether a result meets its targets.
#include "results/results_int.h"

double result_success(const struct result *x)
{
    uint32_t ran = x->n_cases - x->cases_skipped;
    if (x->load.total)
        return 100.0 * (double)x->load.ok / (double)x->load.total;
    return ran ? 100.0 * (double)(ran - x->cases_failed) / (double)ran : NAN;
}

// The first target that a result misses, said to `out`; whether it does.
static bool miss_sla(const struct result *x, double sla, struct buf *out)
{
    bool load = x->kind == RESULT_AIPERF || x->kind == RESULT_LEGACY;
    if (isnan(x->load.latency) && load)
        buf_printf(out, "%.*s: nothing was measured, wanted is a mean latency of at most %.6g s\n", (int)x->label.n, x->label.p,
                   sla);
    else if (x->load.latency > sla)
        buf_printf(out, "%.*s: mean latency %.3f s is above %.6g s\n", (int)x->label.n, x->label.p, x->load.latency, sla);
    else
        return false;
    return true;
}

static bool miss_success(const struct result *x, double wanted, struct buf *out)
{
    double success = result_success(x);
    bool load = x->kind == RESULT_AIPERF || x->kind == RESULT_LEGACY;
    if (isnan(success) && load)
        buf_printf(out, "%.*s: nothing was measured, wanted are %.6g %% that succeed\n", (int)x->label.n, x->label.p, wanted);
    else if (success < wanted)
        buf_printf(out, "%.*s: %.2f %% succeeded, wanted are %.6g %%\n", (int)x->label.n, x->label.p, success, wanted);
    else
        return false;
    return true;
}

unsigned results_misses(const struct results *r, const struct results_options *o, struct buf *out)
{
    unsigned misses = 0;
    struct buf unread;
    buf_init(&unread, 0);
    out = out ? out : &unread;
    for (uint32_t i = 0; i < r->n; i++) {
        misses += o->sla > 0 && miss_sla(&r->item[i], o->sla, out);
        misses += o->min_success > 0 && miss_success(&r->item[i], o->min_success, out);
    }
    buf_free(&unread);
    return misses;
}
