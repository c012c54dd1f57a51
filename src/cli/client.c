// What the commands that ask a server have in common: options, one GET, times, the terminal.
#include "base/clock.h"
#include "base/limits.h"
#include "cli/cli.h"
#include "net/http.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

const struct setting client_settings[CLIENT_SETTINGS_N] = {
    CLIENT_ROW("since", NULL, SETTING_STR, "1h", "TIME", "from when: 15m, 3h, 2d back, or 2026-01-31T12:00:00Z", since),
    CLIENT_ROW("until", NULL, SETTING_STR, "", "TIME", "until when, likewise; now by default", until),
    CLIENT_ROWS("text json jsonl", "output: text, json (one document) or jsonl (a line each)", "how many at most"),
};

int cli_fail(const struct error *err)
{
    fprintf(stderr, "sonde: %s\n", err->msg);
    switch (err->code) {
    case ERR_INPUT:
    case ERR_SYNTAX:
        return EXIT_USAGE;
    case ERR_NET:
    case ERR_TIMEOUT:
    case ERR_CLOSED:
    case ERR_DENIED:
        return EXIT_SERVER;
    case ERR_LIMIT:
        return EXIT_PARTIAL;
    default:
        return EXIT_DATA;
    }
}

static void write_all(struct slice s)
{
    while (s.n) {
        ssize_t n = write(STDOUT_FILENO, s.p, s.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            exit(errno == EPIPE ? 0 : EXIT_DATA);
        s = slice_from(s, (size_t)n);
    }
}

// Bytes at the front of s that a terminal may get as they are: no control characters but tab, line end and the setting of
// colours (ESC [ digits ; … m), which log lines of many programs hold.
static size_t harmless(struct slice s)
{
    size_t i = 0;
    while (i < s.n) {
        unsigned char c = (unsigned char)s.p[i];
        size_t end = i + 2;
        if (c == 0x1b && s.n - i > 2 && s.p[i + 1] == '[') {
            while (end < s.n && (s.p[end] == ';' || (s.p[end] >= '0' && s.p[end] <= '9')))
                end++;
            if (end == s.n || s.p[end] != 'm')
                return i;
            i = end + 1;
            continue;
        }
        bool c1 = c == 0xc2 && i + 1 < s.n && (unsigned char)s.p[i + 1] < 0xa0;
        if ((c < 0x20 && c != '\t' && c != '\n') || c == 0x7f || c1)
            return i;
        i++;
    }
    return i;
}

void cli_write(struct slice s)
{
    if (!isatty(STDOUT_FILENO)) {
        write_all(s);
        return;
    }
    while (s.n) { // what came from somebody's log must not drive the terminal: it is shown as a picture
        size_t n = harmless(s);
        write_all(slice_cut(s, n));
        s = slice_from(s, n);
        if (!s.n)
            return;
        unsigned char c = (unsigned char)s.p[0];
        const char picture[] = {(char)0xe2, (char)0x90, (char)(c == 0x7f ? 0xa1 : 0x80 + c)}; // U+2400 + c; DEL U+2421
        write_all(c == 0xc2 ? SLICE("\xef\xbf\xbd") : slice_of(picture, sizeof picture));
        s = slice_from(s, c == 0xc2 ? 2 : 1);
    }
}

bool client_load(struct client_settings *s, enum output *output, const struct command *c, int argc, char **argv, int *words,
                 int *code)
{
    struct error err = {0};
    memset(s, 0, sizeof *s);
    if (settings_load(client_settings, CLIENT_SETTINGS_N, s, argc, argv, words, &err) != ERR_OK) {
        *code = cli_fail(&err);
        return false;
    }
    *output = strcmp(s->output, "json") == 0 ? OUTPUT_JSON : strcmp(s->output, "jsonl") == 0 ? OUTPUT_JSONL : OUTPUT_TEXT;
    return true;
}

static int refused(const struct client_settings *s, const struct http_answer *a)
{
    struct slice body = slice_trim(buf_slice(&a->body));
    struct arena arena;
    arena_init(&arena, MAX_CLI_MEMORY);
    struct tree *t = tree_parse(body, &arena, NULL);
    struct slice why = tree_text(t, "error");
    if (why.n == 0)
        why = tree_text(t, "message");
    if (why.n == 0)
        why = slice_cut(body, 2000);
    // Sonde says what it did not find as JSON; any other 404 comes from a path that is none of a server of ours.
    bool elsewhere = a->status == 404 && !t;
    if (elsewhere)
        fprintf(stderr, "sonde: %s answers, but not as a Sonde server: HTTP 404; name its address alone, as http://HOST:3100\n",
                s->url);
    else
        fprintf(stderr, "sonde: %.*s\n", (int)why.n, why.p);
    arena_free(&arena);
    if (a->status == 404)
        return elsewhere ? EXIT_SERVER : EXIT_NOTHING;
    return a->status == 400 ? EXIT_USAGE : a->status < 500 || a->status == 503 ? EXIT_SERVER : EXIT_DATA;
}

static enum errc fetch(const struct client_settings *s, const struct http_fetch *f, struct http_answer *a, struct error *err)
{
    const struct tls_options tls = {.ca_file = s->ca, .cert_file = s->cert, .key_file = s->key};
    bool wanted = *s->ca || *s->cert || *s->key;
    struct http_session *session = http_session_new();
    enum errc rc = session ? ERR_OK : ERR(err, NOMEM, "no memory for a connection");
    if (rc == ERR_OK && wanted)
        rc = http_session_tls(session, &tls, err);
    if (rc == ERR_OK)
        rc = http_fetch(session, f, a, err);
    http_session_free(session);
    return rc;
}

int client_get(const struct client_settings *s, struct slice path, struct buf *out)
{
    struct error err = {0};
    struct http_answer a = {0};
    char url[4096 + MAX_HTTP_TARGET];
    struct http_header org = {SLICE("x-scope-orgid"), slice_str(s->org)};
    size_t base = strlen(s->url);
    struct url parts;
    if (url_parse(s->url, &parts, NULL) != ERR_OK) {
        fprintf(stderr, "sonde: --url %s: write http://HOST:PORT or https://HOST:PORT\n", s->url);
        return EXIT_USAGE;
    }
    while (base && s->url[base - 1] == '/')
        base--;
    if (base + path.n + 1 > sizeof url) {
        fprintf(stderr, "sonde: the query is too long: at most %d bytes are accepted\n", MAX_HTTP_TARGET);
        return EXIT_USAGE;
    }
    snprintf(url, sizeof url, "%.*s%.*s", (int)base, s->url, (int)path.n, path.p);
    struct http_fetch f = {
        .url = url, .headers = &org, .n_headers = *s->org ? 1 : 0, .timeout_ns = s->timeout, .accept_gzip = true};
    if (fetch(s, &f, &a, &err) != ERR_OK) {
        http_answer_free(&a);
        if (err.code == ERR_INPUT || err.code == ERR_UNSUPPORTED || err.code == ERR_DENIED)
            return cli_fail(&err);
        fprintf(stderr,
                "sonde: cannot reach %.*s: %s\n       is `sonde serve` running? --url or SONDE_URL names another server\n",
                (int)base, s->url, err.msg);
        return EXIT_SERVER;
    }
    int code = a.status == 200 ? EXIT_FOUND : refused(s, &a);
    if (code == EXIT_FOUND)
        buf_add(out, buf_slice(&a.body));
    http_answer_free(&a);
    if (out->err) {
        fprintf(stderr, "sonde: the answer is larger than %zu MiB; narrow the time range or lower --limit\n", out->max >> 20);
        return EXIT_PARTIAL;
    }
    return code;
}

static bool read_time(const char *text, const char *flag, int64_t now, int64_t *out, struct error *err)
{
    int64_t v;
    struct slice s = slice_trim(slice_str(text));
    struct slice back = s.n && s.p[0] == '-' ? slice_from(s, 1) : s;
    if (time_parse(s.p, s.n, out))
        return true;
    if (slice_to_i64(s, &v) && v >= 0) {
        *out = v < 10000000000 ? v * 1000000000 : v;
        return true;
    }
    if (setting_parse_duration(back, &v, NULL) == ERR_OK) {
        *out = now - v;
        return true;
    }
    ERR(err, INPUT, "option --%s %s: write 15m, 3h or 2d (back from now), seconds since 1970, or 2026-01-31T12:00:00Z", flag,
        text);
    return false;
}

bool client_range(const struct client_settings *s, int64_t *from, int64_t *to, struct error *err)
{
    int64_t now = clock_wall_ns();
    *to = now + 1000000000; // clocks of senders may be a little ahead
    if (!read_time(s->since, "since", now, from, err) || (*s->until && !read_time(s->until, "until", now, to, err)))
        return false;
    if (*from < *to)
        return true;
    ERR(err, INPUT, "--since %s is not before --until %s", s->since, s->until);
    return false;
}

int client_run(const struct client_ask *a, int argc, char **argv)
{
    struct client_settings s;
    struct error err = {0};
    enum output output;
    struct buf path, body;
    int words, code;
    int64_t from, to;
    if (!client_load(&s, &output, a->command, argc, argv, &words, &code))
        return code;
    if (words < a->min_words || words > a->max_words) {
        fprintf(stderr, "sonde: %s\n", a->usage);
        return EXIT_USAGE;
    }
    if (!client_range(&s, &from, &to, &err))
        return cli_fail(&err);
    buf_init(&path, MAX_HTTP_TARGET);
    buf_init(&body, MAX_HTTP_REPLY);
    a->path(&path, &s, from, to, words ? argv[1] : NULL);
    code = client_get(&s, buf_slice(&path), &body);
    if (code == EXIT_FOUND)
        code = a->show(&s, output, buf_slice(&body));
    buf_free(&path);
    buf_free(&body);
    return code;
}

bool term_color(const char *when)
{
    const char *no = getenv("NO_COLOR"), *force = getenv("FORCE_COLOR"), *term = getenv("TERM");
    if (strcmp(when, "always") == 0)
        return true;
    if (strcmp(when, "never") == 0 || (no && *no))
        return false;
    if (force && *force)
        return true;
    return isatty(STDOUT_FILENO) && !(term && strcmp(term, "dumb") == 0);
}

int term_width(void)
{
    struct winsize w;
    const char *columns = getenv("COLUMNS");
    int n = columns ? atoi(columns) : 0;
    if (n >= 40 && n <= 1000)
        return n;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col >= 40 ? w.ws_col : 100;
}
