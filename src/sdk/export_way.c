// How a destination is spoken to: protocol, headers, TLS, its URL. By the variables of its signal, or by what stands behind the
// URL in a list of further destinations, URL;key=value;key=value, which then has nothing of the variables.
#include "base/alloc.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/limits.h"
#include "sdk/env.h"
#include "sdk/export_int.h"
#include "sdk/sdk.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

// What can be said of a destination; ENDPOINT stands apart.
enum what { PROTOCOL, HEADERS, COMPRESSION, TIMEOUT, INSECURE, CERTIFICATE, CLIENT_CERTIFICATE, CLIENT_KEY, WHATS };
static const char *const words[WHATS] = {"protocol", "headers",     "compression",        "timeout",
                                         "insecure", "certificate", "client_certificate", "client_key"};
static const char *const names[WHATS] = {"PROTOCOL", "HEADERS",     "COMPRESSION",        "TIMEOUT",
                                         "INSECURE", "CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"};

// Where a way is read from.
struct source {
    const struct export_queue *q;
    const char *list; // the setting whose entry it is; null: the signal's variables
    struct slice said[WHATS];
};

// The name that counts: OTEL_EXPORTER_OTLP_<signal>_<what> when it is set and not blank (*own), else OTEL_EXPORTER_OTLP_<what>.
static const char *otlp_name(const char *signal, const char *what, bool *own, char name[96])
{
    snprintf(name, 96, "OTEL_EXPORTER_OTLP_%s_%s", signal, what);
    const char *v = env_get(name);
    *own = slice_trim(slice_str(v ? v : "")).n > 0;
    if (!*own)
        snprintf(name, 96, "OTEL_EXPORTER_OTLP_%s", what);
    return name;
}

struct slice export_endpoint(const struct export_queue *q, bool *own)
{
    char name[96];
    const char *v = env_get(otlp_name(q->env, "ENDPOINT", own, name));
    return slice_trim(slice_str(v ? v : ""));
}

static struct slice told(const struct source *from, enum what w)
{
    bool own;
    char name[96];
    const char *v = from->list ? NULL : env_get(otlp_name(from->q->env, names[w], &own, name));
    return from->list ? from->said[w] : slice_trim(slice_str(v ? v : ""));
}

// shown: of the value what is no secret.
static void complain(const struct export_queue *q, const char *list, const char *what, struct slice shown, const char *why)
{
    char text[400], name[64];
    snprintf(name, sizeof name, "OTEL_EXPORTER_OTLP_[%s_]%s", q->env, what);
    int n = snprintf(text, sizeof text, "sonde: %s: '%.*s' %s\n", list ? list : name, (int)slice_cut(shown, 100).n, shown.p, why);
    sdk_note(text, (size_t)n);
}

// ---- headers --------------------------------------------------------------------------------------------------------
static size_t unescape(char *out, struct slice in)
{
    size_t o = 0;
    for (size_t i = 0; i < in.n; i++) {
        uint8_t byte = (uint8_t)in.p[i];
        if (byte == '%' && i + 2 < in.n && hex_decode(&byte, 1, slice_of(in.p + i + 1, 2)))
            i += 2;
        out[o++] = (char)byte;
    }
    return o;
}

static bool header_ok(struct slice name, const char *value, size_t n)
{
    for (size_t i = 0; i < name.n; i++)
        if (!isalnum((unsigned char)name.p[i]) && !memchr("!#$%&'*+-.^_`|~", name.p[i], 15))
            return false;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)value[i] < 0x20 || value[i] == 0x7f)
            return false;
    return name.n > 0;
}

// Headers that say how the message is sent, which is not the user's to choose.
static bool header_ours(struct slice name)
{
    static const char list[] = " content-type content-length content-encoding transfer-encoding te trailer connection keep-alive "
                               "upgrade expect accept-encoding grpc-encoding grpc-accept-encoding grpc-timeout ";
    char word[40];
    int n = snprintf(word, sizeof word, " %.*s ", (int)slice_cut(name, 36).n, name.p);
    return name.n <= 36 && slice_find(slice_str(list), slice_of(word, (size_t)n)) >= 0;
}

static void add_header(struct export_way *w, const struct source *from, struct slice part, size_t *used)
{
    ptrdiff_t eq = slice_find(part, SLICE("="));
    struct slice name = eq > 0 ? slice_trim(slice_cut(part, (size_t)eq)) : SLICE_NONE;
    struct slice value = eq > 0 ? slice_trim(slice_from(part, (size_t)eq + 1)) : SLICE_NONE;
    struct slice shown = slice_cut(part, 0); // values are secrets, and what has no = may be one
    while (shown.n < part.n && (isalnum((unsigned char)part.p[shown.n]) || part.p[shown.n] == '-'))
        shown.n++;
    if (eq <= 0 && shown.n == part.n)
        shown.n = 0;
    if (w->n_headers == HEADERS_MAX || *used + name.n + value.n > sizeof w->header_text) {
        complain(from->q, from->list, names[HEADERS], shown, "is left out: too many headers");
        return;
    }
    char *at = w->header_text + *used;
    for (size_t i = 0; i < name.n; i++)
        at[i] = (char)tolower((unsigned char)name.p[i]);
    size_t n = unescape(at + name.n, value);
    struct slice low = slice_of(at, name.n);
    if (!header_ok(low, at + name.n, n)) {
        complain(from->q, from->list, names[HEADERS], shown, "is left out: a header is name=value");
    } else if (header_ours(low)) {
        complain(from->q, from->list, names[HEADERS], shown, "is left out: this header is set by who sends");
    } else {
        w->header[w->n_headers++] = (struct http_header){low, slice_of(at + name.n, n)};
        *used += name.n + n;
    }
}

static void read_headers(struct export_way *w, const struct source *from)
{
    struct slice rest = told(from, HEADERS), part;
    size_t used = 0;
    while (rest.n && slice_split(&rest, ',', &part)) {
        part = slice_trim(part);
        if (part.n)
            add_header(w, from, part, &used);
    }
}

// ---- the rest -------------------------------------------------------------------------------------------------------
static void read_protocol(struct export_way *w, const struct source *from)
{
    static const char *const protocols[] = {"grpc", "http/protobuf", "http/json"};
    struct slice v = told(from, PROTOCOL);
    for (unsigned i = 0; i < 3; i++)
        if (slice_ieq(v, slice_str(protocols[i])))
            w->protocol = (enum protocol)i;
    if (v.n && w->protocol == PROTOCOL_GRPC && !slice_ieq(v, SLICE("grpc")))
        complain(from->q, from->list, names[PROTOCOL], v, "is neither grpc nor http/protobuf nor http/json; grpc is used");
    v = told(from, COMPRESSION);
    w->gzip = slice_ieq(v, SLICE("gzip"));
    if (v.n && !w->gzip && !slice_ieq(v, SLICE("none")))
        complain(from->q, from->list, names[COMPRESSION], v, "is neither gzip nor none; none is used");
    w->insecure = slice_ieq(told(from, INSECURE), SLICE("true"));
}

static void read_timeout(struct export_way *w, const struct source *from)
{
    bool own;
    char name[96];
    struct slice v = from->said[TIMEOUT];
    uint64_t ms = 10000;
    if (from->list && v.n && !(slice_to_u64(v, &ms) && ms >= 1 && ms <= 600000)) {
        complain(from->q, from->list, names[TIMEOUT], v, "is no number of milliseconds from 1 to 600000; 10000 is used");
        ms = 10000;
    }
    int64_t ns = (from->list ? (int64_t)ms : env_int(otlp_name(from->q->env, names[TIMEOUT], &own, name))) * 1000000;
    w->timeout_ns = ns < from->q->timeout_max_ns ? ns : from->q->timeout_max_ns;
}

// Names of files that are kept as they stand in the environment's copy, or in the entry's.
static void read_tls(struct export_way *w, const struct source *from)
{
    const char **to[] = {&w->tls.ca_file, &w->tls.cert_file, &w->tls.key_file};
    bool own;
    char name[96];
    for (int i = 0; i < 3; i++) {
        enum what what = (enum what)(CERTIFICATE + i);
        const char *v = from->list ? from->said[what].p : env_get_path(otlp_name(from->q->env, names[what], &own, name));
        *to[i] = v && *v ? v : NULL;
    }
    if (!w->tls.cert_file != !w->tls.key_file)
        complain(from->q, from->list, names[w->tls.key_file ? CLIENT_KEY : CLIENT_CERTIFICATE],
                 slice_str(w->tls.key_file ? w->tls.key_file : w->tls.cert_file),
                 "is of no use without the other of key and certificate");
}

void export_way_read(struct export_queue *q, bool whole)
{
    struct source from = {.q = q};
    read_protocol(&q->way, &from);
    read_timeout(&q->way, &from);
    if (whole) {
        read_headers(&q->way, &from);
        read_tls(&q->way, &from);
    }
}

// key=value;key=value, values percent-encoded; kept behind the way, each ended by a 0.
struct export_way *export_way_new(const struct export_queue *q, const char *list, struct slice text)
{
    struct export_way *w = mem_zalloc(sizeof *w + text.n + 1);
    struct source from = {.q = q, .list = list};
    struct slice rest = text, part;
    if (!w)
        return NULL;
    char *at = (char *)(w + 1);
    while (rest.n && slice_split(&rest, ';', &part)) {
        ptrdiff_t eq = slice_find(part, SLICE("="));
        struct slice key = slice_trim(slice_cut(part, eq < 0 ? part.n : (size_t)eq)), value;
        size_t i = 0;
        while (i < WHATS && !slice_ieq(key, slice_str(words[i])))
            i++;
        if (eq < 0 || i == WHATS) {
            if (slice_trim(part).n)
                complain(q, list, "", key,
                         "is left out; known are protocol, headers, compression, timeout, insecure, certificate, "
                         "client_certificate and client_key, each with =value");
            continue;
        }
        value = slice_trim(slice_from(part, (size_t)eq + 1));
        from.said[i] = slice_of(at, unescape(at, value));
        at += from.said[i].n;
        *at++ = 0;
    }
    read_protocol(w, &from);
    read_timeout(w, &from);
    read_headers(w, &from);
    read_tls(w, &from);
    return w;
}

// ---- URLs -----------------------------------------------------------------------------------------------------------
bool export_is_url(const char *url)
{
    struct slice s = slice_str(url);
    if (slice_ieq(slice_cut(s, 7), SLICE("http://")))
        s = slice_from(s, 7);
    else if (slice_ieq(slice_cut(s, 8), SLICE("https://")))
        s = slice_from(s, 8);
    else
        return false;
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= 0x20 || s.p[i] == 0x7f)
            return false;
    size_t host = strcspn(s.p, ":/?#");
    if (s.p[0] == '[')
        host = strcspn(s.p, "]") + 1;
    if (!host || host > s.n)
        return false;
    if (s.p[host] == ':') {
        size_t digits = strspn(s.p + host + 1, "0123456789");
        char end = s.p[host + 1 + digits];
        long port = digits && digits < 6 ? atol(s.p + host + 1) : 0;
        return port > 0 && port < 65536 && (!end || strchr("/?#", end));
    }
    return true;
}

// "user:password" as the header of basic authentication.
static bool basic(char *out, size_t size, struct slice user)
{
    char text[256];
    struct buf b;
    if (user.n + 1 >= sizeof text)
        return false;
    size_t n_text = unescape(text, user);
    if (!memchr(text, ':', n_text))
        text[n_text++] = ':';
    user = slice_of(text, n_text);
    buf_init(&b, 1024);
    struct jw w = jw_to(&b);
    jw_base64(&w, user);
    int n = b.err == ERR_OK ? snprintf(out, size, "Basic %.*s", (int)b.n - 2, b.p + 1) : -1; // without quotes
    buf_free(&b);
    return n > 0 && n < (int)size;
}

bool export_set_url(struct export_dest *d, struct slice v, const char *scheme, const char *path, bool whole)
{
    ptrdiff_t slashes = slice_find(v, SLICE("://"));
    struct slice given = slice_cut(v, slashes < 0 ? 0 : (size_t)slashes + 3), s = slice_from(v, given.n), user = SLICE_NONE;
    size_t n = 0;
    while (n < s.n && !strchr("/?#", s.p[n]))
        n++;
    for (size_t i = n; i-- > 0 && !user.p;)
        if (s.p[i] == '@')
            user = slice_cut(s, i);
    if (user.p) {
        s = slice_from(s, user.n + 1);
        n -= user.n + 1;
    }
    struct slice host = slice_cut(s, n), rest = slice_from(s, n), query = SLICE("");
    for (n = 0; n < rest.n && rest.p[n] != '#';) // a fragment is nothing that is sent
        n++;
    rest = slice_cut(rest, n);
    for (n = 0; n < rest.n && rest.p[n] != '?';)
        n++;
    query = slice_from(rest, n);
    rest = slice_cut(rest, n);
    while (!whole && rest.n && rest.p[rest.n - 1] == '/')
        rest.n--;
    if (whole && query.n && !rest.n)
        rest = SLICE("/");
    if (!path && !whole) // gRPC's path is its own
        rest = query = SLICE("");
    int len = snprintf(d->url, sizeof d->url, "%.*s%.*s%.*s%s%.*s", (int)(given.n ? given.n : strlen(scheme)),
                       given.n ? given.p : scheme, (int)host.n, host.p, (int)rest.n, rest.p, path ? path : "", (int)query.n,
                       query.p ? query.p : "");
    bool ok = len < (int)sizeof d->url && export_is_url(d->url) && (!user.p || basic(d->auth, sizeof d->auth, user));
    if (!ok)
        d->url[0] = 0;
    return ok;
}

bool export_otlp_url(struct export_dest *d, const char *list, struct slice v, bool as_given)
{
    const struct export_queue *q = d->q;
    bool grpc = d->way->protocol == PROTOCOL_GRPC;
    char path[16];
    snprintf(path, sizeof path, "/v1/%s", q->word);
    // Without a scheme: gRPC's word for TLS; of HTTP no standard speaks.
    if (export_set_url(d, v, grpc && !d->way->insecure ? "https://" : "http://", grpc || as_given ? NULL : path,
                       !grpc && as_given))
        return true;
    ptrdiff_t at = 0; // a password is not shown
    for (size_t i = 0; i < v.n; i++)
        at = v.p[i] == '@' ? (ptrdiff_t)i + 1 : at;
    complain(q, list, "ENDPOINT", slice_from(v, (size_t)at), "is no URL of the form http://host:port; nothing is exported there");
    return false;
}
