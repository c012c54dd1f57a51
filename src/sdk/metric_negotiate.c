// Which form of a page a scraper wants.
#include "sdk/metric.h"

const char *sonde_exposition_content_type(enum sonde_exposition e)
{
    switch (e) {
    case SONDE_EXPOSITION_OPENMETRICS:
        return "application/openmetrics-text; version=1.0.0; charset=utf-8";
    case SONDE_EXPOSITION_PROTOBUF:
        return "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
    default:
        return "text/plain; version=0.0.4; charset=utf-8";
    }
}

struct wish {
    struct slice type, version, proto, encoding;
    double q;
};

static struct wish wish_read(struct slice text)
{
    struct wish w = {.q = 1};
    struct slice part, rest = text;
    bool first = true;
    while (rest.p && slice_split(&rest, ';', &part)) {
        part = slice_trim(part);
        if (first) {
            w.type = part;
            first = false;
            continue;
        }
        struct slice value = part, key;
        if (!slice_split(&value, '=', &key) || !value.p)
            continue;
        key = slice_trim(key);
        value = slice_trim(value);
        if (value.n >= 2 && value.p[0] == '"' && value.p[value.n - 1] == '"')
            value = slice_of(value.p + 1, value.n - 2);
        if (slice_ieq(key, SLICE("version")))
            w.version = value;
        else if (slice_ieq(key, SLICE("proto")))
            w.proto = value;
        else if (slice_ieq(key, SLICE("encoding")))
            w.encoding = value;
        else if (slice_ieq(key, SLICE("q")) && (!slice_to_f64(value, &w.q) || !(w.q >= 0 && w.q <= 1)))
            w.q = 0; // not understood: not wanted
    }
    return w;
}

enum sonde_exposition sonde_exposition_negotiate(const char *accept)
{
    double text = 0, om = 0, proto = 0;
    struct slice rest = slice_str(accept), part;
    while (rest.p && slice_split(&rest, ',', &part)) {
        struct wish w = wish_read(part);
        if (slice_ieq(w.type, SLICE("application/openmetrics-text"))) {
            bool known = w.version.n == 0 || slice_eq(w.version, SLICE("1.0.0")) || slice_eq(w.version, SLICE("0.0.1"));
            om = known && w.q > om ? w.q : om;
        } else if (slice_ieq(w.type, SLICE("application/vnd.google.protobuf"))) {
            bool known =
                slice_eq(w.proto, SLICE("io.prometheus.client.MetricFamily")) && slice_eq(w.encoding, SLICE("delimited"));
            proto = known && w.q > proto ? w.q : proto;
        } else if (slice_ieq(w.type, SLICE("text/plain")) || slice_ieq(w.type, SLICE("text/*")) ||
                   slice_eq(w.type, SLICE("*/*"))) {
            bool known = w.version.n == 0 || slice_eq(w.version, SLICE("0.0.4"));
            text = known && w.q > text ? w.q : text;
        }
    }
    if (proto > 0 && proto >= om && proto >= text)
        return SONDE_EXPOSITION_PROTOBUF;
    return om > 0 && om >= text ? SONDE_EXPOSITION_OPENMETRICS : SONDE_EXPOSITION_TEXT;
}
