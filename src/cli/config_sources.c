#include "cli/config_sources.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/toml.h"
#include "net/http.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// ---- status servers -------------------------------------------------------------------------------------------------
static enum errc from_url(const char *url, const struct config_ask *ask, struct buf *out, struct error *err)
{
    struct http_answer a = {0};
    enum errc rc = ERR_OK;
    char whole[4096], bearer[512];
    size_t n = strlen(url);
    bool path = strstr(url, "/debug/config") != NULL;
    while (!path && n && url[n - 1] == '/')
        n--;
    snprintf(whole, sizeof whole, "%.*s%s", (int)n, url, path ? "" : "/debug/config");
    snprintf(bearer, sizeof bearer, "Bearer %s", ask->token);
    struct http_header h = {SLICE("authorization"), slice_str(bearer)};
    struct http_fetch f = {.url = whole, .headers = &h, .n_headers = *ask->token ? 1 : 0, .timeout_ns = ask->timeout_ns};
    GO(http_fetch(NULL, &f, &a, err));
    if (a.status == 403)
        rc = ERR(err, DENIED, "%s: refused; from another machine it takes --token or SONDE_DEBUG_TOKEN", whole);
    else if (a.status != 200)
        rc = ERR(err, IO, "%s: answered %d; is this the status server (DYN_SYSTEM_PORT)?", whole, a.status);
    else
        buf_add(out, buf_slice(&a.body));
out:
    http_answer_free(&a);
    return rc;
}

// ---- processes ------------------------------------------------------------------------------------------------------
static bool owns(const char *pid, unsigned long inode)
{
    char path[64], want[64], is[64];
    DIR *d;
    struct dirent *e;
    bool found = false;
    snprintf(path, sizeof path, "/proc/%.20s/fd", pid);
    snprintf(want, sizeof want, "socket:[%lu]", inode);
    d = opendir(path);
    while (d && !found && (e = readdir(d))) {
        ssize_t n = readlinkat(dirfd(d), e->d_name, is, sizeof is - 1);
        is[n > 0 ? n : 0] = 0;
        found = strcmp(is, want) == 0;
    }
    if (d)
        closedir(d);
    return found;
}

// Asks each port that the process listens on until one answers with a dump.
static bool ask_ports(const char *pid, const char *table, const struct config_ask *ask, struct buf *out, int *asked)
{
    char path[64], line[512], url[64];
    bool six = table[3] == '6', found = false;
    snprintf(path, sizeof path, "/proc/%.20s/net/%s", pid, table);
    FILE *f = fopen(path, "re");
    while (f && !found && fgets(line, sizeof line, f)) {
        char address[40];
        unsigned port, state;
        unsigned long inode;
        struct error err = {0};
        if (sscanf(line, " %*d: %39[0-9A-F]:%x %*[0-9A-F]:%*x %x %*x:%*x %*x:%*x %*x %*u %*d %lu", address, &port, &state,
                   &inode) != 4 ||
            state != 10 || !owns(pid, inode))
            continue;
        ++*asked;
        size_t before = out->n;
        snprintf(url, sizeof url, "http://%s:%u", six && strspn(address, "0") != 32 ? "[::1]" : "127.0.0.1", port);
        found = from_url(url, ask, out, &err) == ERR_OK && out->n > before && out->p[before] == '{';
        out->n = found ? out->n : before;
    }
    if (f)
        fclose(f);
    return found;
}

static enum errc from_pid(const char *pid, const struct config_ask *ask, struct buf *out, struct error *err)
{
    char path[64];
    int asked = 0;
    snprintf(path, sizeof path, "/proc/%.20s/fd", pid);
    if (access(path, R_OK) != 0)
        return ERR(err, INPUT, "process %s: %s", pid, strerror(errno));
    struct config_ask quick = *ask;
    quick.timeout_ns = quick.timeout_ns < 2000000000 ? quick.timeout_ns : 2000000000;
    if (ask_ports(pid, "tcp", &quick, out, &asked) || ask_ports(pid, "tcp6", &quick, out, &asked))
        return ERR_OK;
    return asked ? ERR(err, IO, "process %s: none of the %d ports it listens on gives a dump at /debug/config", pid, asked)
                 : ERR(err, INPUT, "process %s listens on no port; start it with DYN_SYSTEM_PORT=0 or another port", pid);
}

// ---- files ----------------------------------------------------------------------------------------------------------
static void toml_json(const struct toml *t, struct jw *w)
{
    struct buf b;
    switch (t->type) {
    case TOML_STRING:
        jw_str(w, t->text);
        break;
    case TOML_INTEGER:
        jw_i64(w, t->integer);
        break;
    case TOML_FLOAT:
        jw_f64(w, t->number);
        break;
    case TOML_BOOLEAN:
        jw_bool(w, t->yes);
        break;
    case TOML_ARRAY:
        jw_arr(w);
        for (const struct toml *k = t->first; k; k = k->next)
            toml_json(k, w);
        jw_arr_end(w);
        break;
    case TOML_TABLE:
        jw_obj(w);
        for (const struct toml *k = t->first; k; k = k->next) {
            jw_key(w, k->key);
            toml_json(k, w);
        }
        jw_obj_end(w);
        break;
    default: // times
        buf_init(&b, MAX_SHORT_TEXT);
        toml_print(t, &b);
        jw_str(w, buf_slice(&b));
        buf_free(&b);
    }
}

static enum errc from_toml(const char *path, struct slice text, struct buf *out, struct error *err)
{
    struct arena arena;
    struct toml *root;
    arena_init(&arena, MAX_CLI_MEMORY);
    enum errc rc = toml_parse(text, &arena, &root, err);
    if (rc == ERR_OK) {
        struct jw w = jw_to(out);
        toml_json(root, &w);
    } else {
        error_prefix(err, "%s: ", path);
    }
    arena_free(&arena);
    return rc;
}

static enum errc from_file(const char *path, struct buf *out, struct error *err)
{
    bool in = strcmp(path, "-") == 0;
    size_t len = strlen(path);
    struct buf text;
    enum errc rc = ERR_OK;
    ssize_t n = 1;
    int fd = in ? 0 : open(path, O_RDONLY | O_CLOEXEC);
    buf_init(&text, MAX_CLI_OUTPUT);
    for (char *to; fd >= 0 && n > 0 && (to = buf_reserve(&text, 65536));) {
        n = read(fd, to, 65536);
        text.n += n > 0 ? (size_t)n : 0;
    }
    if (fd < 0 || n < 0)
        rc = ERR(err, INPUT, "%s: %s", path, strerror(errno));
    else if (n > 0)
        rc = ERR(err, LIMIT, "%s: larger than %zu MiB", path, (size_t)MAX_CLI_OUTPUT >> 20);
    else if (len > 5 && strcmp(path + len - 5, ".toml") == 0)
        rc = from_toml(path, text.n ? buf_slice(&text) : SLICE(""), out, err);
    else
        buf_add(out, buf_slice(&text));
    if (fd > 0)
        close(fd);
    buf_free(&text);
    return rc;
}

enum errc config_source_read(const char *source, const struct config_ask *ask, struct buf *out, struct error *err)
{
    size_t digits = strspn(source, "0123456789");
    if (strncmp(source, "http://", 7) == 0 || strncmp(source, "https://", 8) == 0)
        return from_url(source, ask, out, err);
    if (digits && !source[digits] && access(source, F_OK) != 0)
        return from_pid(source, ask, out, err);
    return from_file(source, out, err);
}
