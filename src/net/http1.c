#include "net/http1.h"

// Character classes: 1 tchar, 2 allowed in a field value, 4 allowed in a request target.
enum { TOKEN = 1, VALUE = 2, TARGET = 4 };
static unsigned class_of(unsigned char c)
{
    unsigned k = 0;
    if ((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || (c && strchr("!#$%&'*+-.^_`|~", c)))
        k |= TOKEN;
    if (c == '\t' || (c >= 0x20 && c != 0x7f))
        k |= VALUE;
    if (c > 0x20 && c < 0x7f && c != '#')
        k |= TARGET;
    return k;
}

static uint8_t classes[256];
__attribute__((constructor)) static void classes_init(void)
{
    for (int c = 0; c < 256; c++)
        classes[c] = (uint8_t)class_of((unsigned char)c);
}

static bool is_class(char c, unsigned k)
{
    return classes[(unsigned char)c] & k;
}

bool http_token_char(unsigned char c)
{
    return classes[c] & TOKEN;
}

static bool all_class(struct slice s, unsigned k)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!is_class(s.p[i], k))
            return false;
    }
    return true;
}

bool http_list_has(struct slice list, struct slice token)
{
    for (struct slice part; slice_split(&list, ',', &part);) {
        struct slice word;
        if (slice_split(&part, ';', &word) && slice_ieq(slice_trim(word), token))
            return true;
    }
    return false;
}

// ---- the end of a head ----------------------------------------------------------------------------------------------
static enum h1_result scan_bad(struct h1_scan *s, int status, const char *why)
{
    s->status = status;
    s->why = why;
    return H1_BAD;
}

enum h1_result h1_scan(struct h1_scan *s, const char *p, size_t n, size_t *head_n)
{
    while (s->at < n) {
        const char *lf = memchr(p + s->at, '\n', n - s->at);
        size_t stop = lf ? (size_t)(lf - p) : n;
        if (!s->first_done && s->line < stop && p[s->line] != '\r' && !is_class(p[s->line], TOKEN))
            return scan_bad(s, 400, "this is not HTTP: the first byte cannot begin a request");
        if (!s->first_done && stop - s->line > MAX_HTTP_TARGET + 64)
            return scan_bad(s, 414, "the request line is longer than 32 KiB");
        if (stop >= MAX_HTTP_HEAD)
            return scan_bad(s, 431, "the headers are longer than 64 KiB");
        s->at = stop;
        if (!lf)
            return H1_MORE;
        if (stop == s->line || p[stop - 1] != '\r')
            return scan_bad(s, 400, "a line ends in LF without CR");
        s->at = stop + 1;
        if (stop - s->line == 1 && s->first_done) {
            *head_n = stop + 1;
            return H1_DONE;
        }
        if (stop - s->line > 1)
            s->first_done = true;
        else if (stop > 8) // RFC 9112 §2.2 lets a server ignore an empty line; not an endless row of them
            return scan_bad(s, 400, "empty lines before the request");
        s->line = stop + 1;
    }
    return H1_MORE;
}

// ---- the head -------------------------------------------------------------------------------------------------------
static int bad(struct h1_head *h, int status, const char *why)
{
    h->why = why;
    return status;
}

// Takes the next line (without CRLF) from the text; a CR inside is refused by the character classes.
static bool next_line(struct slice *rest, struct slice *line)
{
    const char *lf = memchr(rest->p, '\n', rest->n);
    if (!lf || lf == rest->p || lf[-1] != '\r')
        return false;
    *line = slice_of(rest->p, (size_t)(lf - 1 - rest->p));
    *rest = slice_from(*rest, (size_t)(lf + 1 - rest->p));
    return true;
}

static int version_of(struct slice v)
{
    return slice_eq(v, SLICE("HTTP/1.1")) ? 11 : slice_eq(v, SLICE("HTTP/1.0")) ? 10 : 0;
}

static bool looks_like_version(struct slice v)
{
    return v.n == 8 && slice_starts(v, SLICE("HTTP/")) && v.p[5] >= '0' && v.p[5] <= '9' && v.p[6] == '.' && v.p[7] >= '0' &&
           v.p[7] <= '9';
}

static bool known_method(struct slice m)
{
    static const char *const names[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (slice_eq(m, slice_str(names[i])))
            return true;
    }
    return false;
}

static bool valid_host(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!is_class(c, TOKEN) && !strchr("()[]:;,=@", c))
            return false;
        if (c == '@') // user information has no place here
            return false;
    }
    return true;
}

static int request_target(struct h1_head *h)
{
    struct slice t = h->target;
    if (t.n > MAX_HTTP_TARGET)
        return bad(h, 414, "the request target is longer than 32 KiB");
    if (!t.n || !all_class(t, TARGET))
        return bad(h, 400, "the request target is empty or holds a character that must be percent-encoded");
    if (t.p[0] == '/' || (t.n == 1 && t.p[0] == '*' && slice_eq(h->method, SLICE("OPTIONS"))))
        return 0;
    if (t.n > 7 && slice_ieq(slice_cut(t, 7), SLICE("http://"))) { // absolute form, as sent to a proxy
        struct slice rest = slice_from(t, 7);
        const char *slash = memchr(rest.p, '/', rest.n);
        h->authority = slice_cut(rest, slash ? (size_t)(slash - rest.p) : rest.n);
        h->target = slash ? slice_from(rest, h->authority.n) : SLICE("/");
        if (h->authority.n && valid_host(h->authority))
            return 0;
    }
    return bad(h, 400, "the request target must begin with '/'");
}

static int request_line(struct h1_head *h, struct slice line)
{
    struct slice word[3];
    for (int i = 0; i < 3; i++) {
        const char *sp = i < 2 ? memchr(line.p, ' ', line.n) : NULL;
        if (i < 2 && !sp)
            return bad(h, 400, "the request line is not METHOD TARGET VERSION");
        word[i] = slice_cut(line, sp ? (size_t)(sp - line.p) : line.n);
        line = slice_from(line, word[i].n + (sp ? 1 : 0));
    }
    h->method = word[0];
    h->target = word[1];
    if (!h->method.n || h->method.n > 32 || !all_class(h->method, TOKEN))
        return bad(h, 400, "the method is not a token");
    if (!looks_like_version(word[2]))
        return bad(h, 400, "the request line does not end in an HTTP version");
    h->version = version_of(word[2]);
    if (!h->version)
        return bad(h, 505, "only HTTP/1.0, HTTP/1.1 and HTTP/2 are spoken here");
    if (!known_method(h->method))
        return bad(h, 501, "the method is not implemented");
    return request_target(h);
}

static int header_line(struct h1_head *h, struct slice line)
{
    if (line.n && (line.p[0] == ' ' || line.p[0] == '\t'))
        return bad(h, 400, "a header is folded over two lines");
    if (h->n_headers == MAX_HTTP_HEADERS)
        return bad(h, 431, "more than 200 headers");
    size_t colon = 0;
    char *p = (char *)line.p; // the caller's text, which is ours to write
    for (; colon < line.n && is_class(p[colon], TOKEN); colon++) {
        if (p[colon] >= 'A' && p[colon] <= 'Z')
            p[colon] |= 0x20;
    }
    if (colon == 0 || colon == line.n || p[colon] != ':')
        return bad(h, 400, "a header name is empty, holds a bad character, or has no colon right after it");
    struct slice value = slice_from(line, colon + 1);
    if (!all_class(value, VALUE))
        return bad(h, 400, "a header value holds a control character");
    h->headers[h->n_headers++] = (struct http_header){slice_cut(line, colon), slice_trim(value)};
    return 0;
}

static int content_length(struct h1_head *h, struct slice v)
{
    if (h->content_length >= 0)
        return bad(h, 400, "more than one Content-Length");
    if (!v.n || v.n > 18)
        return bad(h, 400, "Content-Length is empty or too large");
    int64_t n = 0;
    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i] < '0' || v.p[i] > '9')
            return bad(h, 400, "Content-Length is not a number");
        n = n * 10 + (v.p[i] - '0');
    }
    h->content_length = n;
    return 0;
}

static int transfer_encoding(struct h1_head *h, struct slice v)
{
    if (h->chunked)
        return bad(h, 400, "more than one Transfer-Encoding");
    if (h->version == 10)
        return bad(h, 400, "Transfer-Encoding in HTTP/1.0");
    if (!slice_ieq(v, SLICE("chunked")))
        return bad(h, 501, "the only transfer coding here is chunked");
    h->chunked = true;
    return 0;
}

// What both kinds of heads share: lines, framing, keep-alive.
static int headers(struct h1_head *h, struct slice rest)
{
    struct slice line = SLICE("?"); // not empty, so that a text without lines is refused
    int rc = 0;
    h->content_length = -1;
    h->n_headers = 0;
    h->keep_alive = h->version == 11;
    while (next_line(&rest, &line) && line.n) {
        if ((rc = header_line(h, line)))
            return rc;
        struct http_header *x = &h->headers[h->n_headers - 1];
        if (slice_eq(x->name, SLICE("content-length")))
            rc = content_length(h, x->value);
        else if (slice_eq(x->name, SLICE("transfer-encoding")))
            rc = transfer_encoding(h, x->value);
        else if (slice_eq(x->name, SLICE("connection")) && http_list_has(x->value, SLICE("close")))
            h->keep_alive = false;
        else if (slice_eq(x->name, SLICE("connection")) && h->version == 10 && http_list_has(x->value, SLICE("keep-alive")))
            h->keep_alive = true;
        if (rc)
            return rc;
    }
    if (rest.n || line.n)
        return bad(h, 400, "the head is not whole");
    if (h->chunked && h->content_length >= 0)
        return bad(h, 400, "Content-Length together with Transfer-Encoding");
    return 0;
}

static int host_and_expect(struct h1_head *h)
{
    int hosts = 0;
    for (size_t i = 0; i < h->n_headers; i++) {
        struct http_header *x = &h->headers[i];
        if (slice_eq(x->name, SLICE("host"))) {
            if (hosts++)
                return bad(h, 400, "more than one Host");
            if (!valid_host(x->value))
                return bad(h, 400, "Host holds a bad character");
            if (!h->authority.n)
                h->authority = x->value;
        } else if (slice_eq(x->name, SLICE("expect"))) {
            if (!slice_ieq(x->value, SLICE("100-continue")))
                return bad(h, 417, "the only expectation met here is 100-continue");
            h->expect_continue = h->version == 11;
        }
    }
    return hosts || h->version == 10 ? 0 : bad(h, 400, "HTTP/1.1 needs a Host header");
}

int h1_parse_request(char *text, size_t n, struct h1_head *h)
{
    struct slice rest = slice_of(text, n), line = SLICE_NONE;
    struct http_header *store = h->headers;
    *h = (struct h1_head){.headers = store, .content_length = -1};
    do {
        if (!next_line(&rest, &line))
            return bad(h, 400, "the head is not whole");
    } while (!line.n && rest.n);
    int rc = request_line(h, line);
    if (!rc)
        rc = headers(h, rest);
    return rc ? rc : host_and_expect(h);
}

int h1_parse_response(char *text, size_t n, struct h1_head *h)
{
    struct slice rest = slice_of(text, n), line;
    struct http_header *store = h->headers;
    *h = (struct h1_head){.headers = store, .content_length = -1};
    if (!next_line(&rest, &line) || line.n < 12 || !(h->version = version_of(slice_cut(line, 8))) || line.p[8] != ' ' ||
        (line.n > 12 && line.p[12] != ' '))
        return bad(h, 502, "the reply does not begin with an HTTP/1 status line");
    for (int i = 9; i < 12; i++) {
        if (line.p[i] < '0' || line.p[i] > '9')
            return bad(h, 502, "the reply's status is not a number");
        h->status = h->status * 10 + (line.p[i] - '0');
    }
    if (h->status < 100 || !all_class(line, VALUE))
        return bad(h, 502, "the reply's status line is damaged");
    return headers(h, rest) ? 502 : 0;
}

// ---- chunks ---------------------------------------------------------------------------------------------------------
enum { C_SIZE, C_EXT, C_SIZE_LF, C_DATA, C_DATA_CR, C_DATA_LF, C_LINE, C_NAME, C_VALUE, C_VALUE_LF, C_END_LF, C_DONE };

static const char *size_char(struct h1_chunks *c, char ch)
{
    int d = hex_of_char(ch);
    if (d >= 0) {
        if (++c->digits > 12)
            return "a chunk size is too large";
        c->left = c->left << 4 | (unsigned)d;
        return NULL;
    }
    if (!c->digits || (ch != '\r' && ch != ';'))
        return "a chunk size is not a hexadecimal number";
    c->state = ch == ';' ? C_EXT : C_SIZE_LF;
    return NULL;
}

// One byte of framing. Returns what is wrong, or null.
static const char *frame_char(struct h1_chunks *c, char ch)
{
    bool in_size = c->state <= C_SIZE_LF;
    if (++c->line > (in_size ? MAX_CHUNK_LINE : (size_t)MAX_HTTP_HEAD))
        return in_size ? "a chunk size line is longer than 256 bytes" : "the trailers are longer than 64 KiB";
    switch (c->state) {
    case C_SIZE:
        return size_char(c, ch);
    case C_EXT:
        if (ch == '\r')
            c->state = C_SIZE_LF;
        else if (!is_class(ch, VALUE))
            return "a chunk extension holds a control character";
        return NULL;
    case C_SIZE_LF:
        c->state = c->left ? C_DATA : C_LINE;
        c->line = 0;
        return ch == '\n' ? NULL : "a chunk size line does not end in CRLF";
    case C_DATA_CR:
        c->state = C_DATA_LF;
        return ch == '\r' ? NULL : "a chunk does not end in CRLF";
    case C_DATA_LF:
        c->state = C_SIZE;
        c->digits = 0;
        c->line = 0;
        return ch == '\n' ? NULL : "a chunk does not end in CRLF";
    case C_LINE:
        c->state = ch == '\r' ? C_END_LF : C_NAME;
        return ch == '\r' || is_class(ch, TOKEN) ? NULL : "a trailer begins with a bad character";
    case C_NAME:
        if (ch == ':')
            c->state = C_VALUE;
        return ch == ':' || is_class(ch, TOKEN) ? NULL : "a trailer name holds a bad character";
    case C_VALUE:
        if (ch == '\r')
            c->state = C_VALUE_LF;
        return ch == '\r' || is_class(ch, VALUE) ? NULL : "a trailer holds a control character";
    case C_VALUE_LF:
        c->state = C_LINE;
        return ch == '\n' ? NULL : "a trailer does not end in CRLF";
    default: // C_END_LF
        c->state = C_DONE;
        return ch == '\n' ? NULL : "the last chunk does not end in CRLF";
    }
}

enum h1_result h1_chunks_next(struct h1_chunks *c, struct slice *in, struct slice *data)
{
    while (in->n) {
        if (c->state == C_DATA) {
            *data = slice_cut(*in, c->left < in->n ? (size_t)c->left : in->n);
            *in = slice_from(*in, data->n);
            c->left -= data->n;
            if (!c->left)
                c->state = C_DATA_CR;
            return H1_DATA;
        }
        if (c->why || (c->why = frame_char(c, *in->p)))
            return H1_BAD;
        *in = slice_from(*in, 1);
        if (c->state == C_DONE)
            return H1_DONE;
    }
    return H1_MORE;
}

const char *http_status_text(int status)
{
    static const struct {
        int status;
        const char *text;
    } table[] = {
        {100, "Continue"},
        {101, "Switching Protocols"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {206, "Partial Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {425, "Too Early"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {499, "Client Closed Request"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (table[i].status == status)
            return table[i].text;
    }
    return "Status";
}
