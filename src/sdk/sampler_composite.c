// Composable samplers: each states an intent (a threshold, whether that may be told to others, what to add), and the composite
// decides once with the trace's randomness.
#include "base/alloc.h"
#include "sdk/context.h"
#include "sdk/sampler.h"
#include <stdio.h>

struct intent {
    uint64_t threshold;
    bool known; // the threshold is the share's own; false: it stands for a decision only
    const struct sonde_composable *annotating[4];
    size_t n_annotating;
};
typedef void intent_fn(const struct sonde_composable *c, const struct sonde_sample_in *in, struct intent *out);
struct sonde_composable {
    intent_fn *fn;
    uint64_t threshold;
    const struct sonde_composable *inner;
    const struct sonde_field *fields;
    size_t n;
    struct sonde_rule *rules;
    struct sonde_composable *next;
};
static _Atomic(struct sonde_composable *) all;

static struct sonde_composable *composable_new(intent_fn *fn)
{
    struct sonde_composable *c = mem_zalloc(sizeof *c);
    if (!c)
        return NULL;
    c->fn = fn;
    c->next = atomic_load(&all);
    while (!atomic_compare_exchange_weak(&all, &c->next, c)) {
    }
    return c;
}

static void fixed(const struct sonde_composable *c, const struct sonde_sample_in *in, struct intent *out)
{
    (void)in;
    out->threshold = c->threshold;
    out->known = c->threshold != THRESHOLD_NEVER;
}

const struct sonde_composable *sonde_composable_always_on(void)
{
    static const struct sonde_composable c = {.fn = fixed};
    return &c;
}
const struct sonde_composable *sonde_composable_always_off(void)
{
    static const struct sonde_composable c = {.fn = fixed, .threshold = THRESHOLD_NEVER};
    return &c;
}
const struct sonde_composable *sonde_composable_ratio(double ratio)
{
    struct sonde_composable *c = composable_new(fixed);
    if (c)
        c->threshold = threshold_of(ratio);
    return c;
}

static void parent_threshold(const struct sonde_composable *c, const struct sonde_sample_in *in, struct intent *out)
{
    if (!sonde_context_valid(in->parent)) {
        c->inner->fn(c->inner, in, out);
        return;
    }
    out->known = ot_threshold(in->parent->tracestate, &out->threshold);
    if (!out->known)
        out->threshold = in->parent->flags & 1 ? 0 : THRESHOLD_NEVER;
}
const struct sonde_composable *sonde_composable_parent_threshold(const struct sonde_composable *root)
{
    struct sonde_composable *c = composable_new(parent_threshold);
    if (c)
        c->inner = root;
    return c;
}

static bool rule_holds(const struct sonde_rule *r, const struct sonde_sample_in *in)
{
    bool parent = sonde_context_valid(in->parent);
    if ((r->name && strcmp(r->name, in->name) != 0) || (r->kind && r->kind != in->kind) || (r->parent == 1 && !parent) ||
        (r->parent == 2 && parent) || (r->parent == 3 && !(parent && in->parent->remote)))
        return false;
    if (!r->key)
        return true;
    for (size_t i = 0; i < in->n_attributes; i++) {
        const struct sonde_field *f = &in->attributes[i];
        if (f->key && strcmp(f->key, r->key) == 0)
            return !r->value || (f->type == SONDE_TYPE_STR && f->arg.n != SIZE_MAX &&
                                 slice_eq(slice_of(f->arg.value.s, f->arg.n), slice_str(r->value)));
    }
    return false;
}

static void by_rules(const struct sonde_composable *c, const struct sonde_sample_in *in, struct intent *out)
{
    out->threshold = THRESHOLD_NEVER;
    out->known = false;
    for (size_t i = 0; i < c->n; i++) {
        if (rule_holds(&c->rules[i], in)) {
            c->rules[i].use->fn(c->rules[i].use, in, out);
            return;
        }
    }
}
const struct sonde_composable *sonde_composable_rules(const struct sonde_rule *rules, size_t n)
{
    struct sonde_composable *c = composable_new(by_rules);
    c = c && (c->rules = mem_alloc((n + 1) * sizeof *rules)) ? c : NULL;
    if (c) {
        memcpy(c->rules, rules, n * sizeof *rules);
        c->n = n;
    }
    return c;
}

static void annotate(const struct sonde_composable *c, const struct sonde_sample_in *in, struct intent *out)
{
    c->inner->fn(c->inner, in, out);
    if (out->n_annotating < 4)
        out->annotating[out->n_annotating++] = c;
}
const struct sonde_composable *sonde_composable_annotating(const struct sonde_composable *inner,
                                                           const struct sonde_field *attributes, size_t n)
{
    struct sonde_composable *c = composable_new(annotate);
    if (c) {
        c->inner = inner;
        c->fields = attributes;
        c->n = n;
    }
    return c;
}

static enum sonde_decision composite(const struct sonde_sampler *s, const struct sonde_sample_in *in,
                                     struct sonde_sample_out *out)
{
    struct intent intent = {0};
    uint64_t r = trace_randomness(in->trace_id);
    s->composable->fn(s->composable, in, &intent);
    ot_randomness(out->tracestate, &r);
    bool pass = r >= intent.threshold;
    ot_set_threshold(out->tracestate, intent.threshold, pass && intent.known);
    if (!pass)
        return SONDE_DROP;
    for (size_t i = 0; i < intent.n_annotating; i++)
        for (size_t k = 0; k < intent.annotating[i]->n && out->n_attributes < 8; k++)
            out->attributes[out->n_attributes++] = intent.annotating[i]->fields[k];
    return SONDE_RECORD_SAMPLE;
}

const struct sonde_sampler *sonde_sampler_composite(const struct sonde_composable *c)
{
    struct sonde_sampler *s = sampler_new(composite, "CompositeSampler");
    if (s)
        s->composable = c;
    return s;
}
