#include "net/http.h"
#include <stdio.h>

bool percent_decode(struct arena *a, struct slice in, bool plus, struct slice *out)
{
    char *to = arena_alloc(a, in.n + 1);
    size_t n = 0;
    if (!to)
        return false;
    for (size_t i = 0; i < in.n; i++) {
        char c = in.p[i];
        if (c == '%') {
            int hi = i + 2 < in.n ? hex_of_char(in.p[i + 1]) : -1, lo = i + 2 < in.n ? hex_of_char(in.p[i + 2]) : -1;
            if (hi < 0 || lo < 0)
                return false;
            c = (char)(hi << 4 | lo);
            i += 2;
        } else if (plus && c == '+') {
            c = ' ';
        }
        to[n++] = c;
    }
    to[n] = 0;
    *out = slice_of(to, n);
    return true;
}

void percent_encode(struct buf *b, struct slice s)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if ((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || (c && strchr("-._~", c))) {
            buf_char(b, (char)c);
        } else {
            char esc[3] = {'%', hex[c >> 4], hex[c & 15]};
            buf_put(b, esc, 3);
        }
    }
}

static enum errc authority(struct slice a, const char *text, struct url *out, struct error *err)
{
    struct slice host = a, port = SLICE_NONE;
    if (a.n && a.p[0] == '[') {
        const char *close = memchr(a.p, ']', a.n);
        if (!close)
            return ERR(err, INPUT, "URL %s: '[' without ']'", text);
        host = slice_of(a.p + 1, (size_t)(close - a.p - 1));
        struct slice rest = slice_from(a, host.n + 2);
        if (rest.n && rest.p[0] != ':')
            return ERR(err, INPUT, "URL %s: only a port may follow ']'", text);
        port = slice_from(rest, 1);
    } else {
        const char *colon = memchr(a.p, ':', a.n);
        host = slice_cut(a, colon ? (size_t)(colon - a.p) : a.n);
        port = slice_from(a, host.n + 1);
    }
    int64_t n = out->tls ? 443 : 80;
    if (port.n && (!slice_to_i64(port, &n) || n < 1 || n > 65535 || port.p[0] == '+'))
        return ERR(err, INPUT, "URL %s: the port must be a number from 1 to 65535", text);
    if (!host.n || host.n >= sizeof out->host)
        return ERR(err, INPUT, "URL %s: the host is %s", text, host.n ? "too long" : "missing");
    for (size_t i = 0; i < host.n; i++) {
        if ((unsigned char)host.p[i] <= 0x20 || host.p[i] == '@' || host.p[i] == 0x7f)
            return ERR(err, INPUT, "URL %s: the host holds a bad character (user names are not supported)", text);
    }
    memcpy(out->host, host.p, host.n);
    out->host[host.n] = 0;
    out->port = (int)n;
    return ERR_OK;
}

enum errc url_parse(const char *text, struct url *out, struct error *err)
{
    struct slice s = slice_str(text);
    *out = (struct url){0};
    if (slice_ieq(slice_cut(s, 8), SLICE("https://")))
        out->tls = true;
    else if (!slice_ieq(slice_cut(s, 7), SLICE("http://")))
        return ERR(err, INPUT, "URL %.200s: must begin with http:// or https://", text);
    s = slice_from(s, out->tls ? 8 : 7);
    size_t n = 0;
    while (n < s.n && s.p[n] != '/' && s.p[n] != '?' && s.p[n] != '#')
        n++;
    TRY(authority(slice_cut(s, n), text, out, err));
    out->path = slice_from(s, n);
    for (size_t i = 0; i < out->path.n; i++) {
        unsigned char c = (unsigned char)out->path.p[i];
        if (c <= 0x20 || c >= 0x7f || c == '#')
            return ERR(err, INPUT, "URL %.200s: byte %zu must be percent-encoded", text, (size_t)(out->path.p + i - text));
    }
    if (!out->path.n)
        out->path = SLICE("/");
    else if (out->path.p[0] == '?')
        return ERR(err, INPUT, "URL %.200s: needs a '/' before the '?'", text);
    return ERR_OK;
}
