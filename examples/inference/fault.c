#include "fault.h"
#include "service.h"

const char *const fault_names[FAULT_COUNT] = {
#define X(id, name, about) name,
    FAULT_LIST(X)
#undef X
};

bool fault_parse(struct slice name, enum fault *out)
{
    for (int i = 0; i < FAULT_COUNT; i++)
        if (slice_eq(name, slice_str(fault_names[i]))) {
            *out = (enum fault)i;
            return true;
        }
    return false;
}

enum errc fault_mix_parse(const char *text, struct fault_mix *out, struct error *err)
{
    *out = (struct fault_mix){0};
    struct slice rest = slice_str(text), part;
    double sum = 0;
    while (text && *text && slice_split(&rest, ',', &part)) {
        struct slice name, share = part;
        double value = 1;
        enum fault f;
        if (!slice_split(&share, '=', &name) || !fault_parse(slice_trim(name), &f))
            return ERR(err, INPUT, "\"%.*s\" names no fault; see the list in --help", (int)part.n, part.p);
        if (name.n < part.n && (!slice_to_f64(slice_trim(share), &value) || !(value >= 0 && value <= 1)))
            return ERR(err, INPUT, "share of \"%.*s\": a number from 0 to 1 is wanted", (int)part.n, part.p);
        out->share[f] = value;
        sum += value;
    }
    return sum <= 1 + 1e-9 ? ERR_OK : ERR(err, INPUT, "the shares in \"%s\" add up to %g; at most 1 can go wrong", text, sum);
}

enum fault fault_draw(const struct fault_mix *mix)
{
    double at = chance_uniform();
    for (int i = 1; i < FAULT_COUNT; i++) {
        if (at < mix->share[i])
            return (enum fault)i;
        at -= mix->share[i];
    }
    return FAULT_NONE;
}

enum fault fault_of_request(const struct http_req *r, const struct fault_mix *mix)
{
    enum fault f = FAULT_NONE;
    struct slice name = http_req_header(r, SLICE("x-sonde-fault"));
    if (name.n)
        fault_parse(slice_trim(name), &f);
    else
        f = fault_draw(mix);
    return f;
}
