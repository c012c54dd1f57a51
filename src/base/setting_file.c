// The file layer of settings: one flat TOML table, a key for each row.
#include "base/limits.h"
#include "base/setting_int.h"
#include "base/toml.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static enum errc read_file(const char *path, struct arena *arena, struct slice *out, struct error *err)
{
    enum errc rc = ERR_OK;
    struct stat st;
    char *p = NULL;
    size_t n = 0;
    ssize_t got = 1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ERR(err, INPUT, "cannot read %s: %s", path, strerror(errno));
    if (fstat(fd, &st) != 0 || S_ISDIR(st.st_mode))
        GO(ERR(err, INPUT, "cannot read %s: it is a directory", path));
    p = arena_alloc(arena, MAX_SETTINGS_FILE + 1);
    if (!p)
        GO(ERR(err, NOMEM, "no memory to read %s", path));
    while (n <= MAX_SETTINGS_FILE && ((got = read(fd, p + n, MAX_SETTINGS_FILE + 1 - n)) > 0 || (got < 0 && errno == EINTR)))
        n += got > 0 ? (size_t)got : 0;
    if (got < 0)
        GO(ERR(err, INPUT, "cannot read %s: %s", path, strerror(errno)));
    if (n > MAX_SETTINGS_FILE)
        GO(ERR(err, INPUT, "%s is larger than %zu bytes; is it a file of settings?", path, MAX_SETTINGS_FILE));
    *out = slice_of(p, n);
out:
    close(fd);
    return rc;
}

static bool is_key(const struct setting *row, struct slice key)
{
    if (row->type == SETTING_CONFIG || strlen(row->flag) != key.n)
        return false;
    for (size_t i = 0; i < key.n; i++)
        if (key.p[i] != (row->flag[i] == '-' ? '_' : row->flag[i]))
            return false;
    return true;
}

static enum errc unknown_key(const struct settings_load *l, struct slice key)
{
    struct buf accepted, near;
    const struct setting *best = NULL;
    buf_init(&accepted, MAX_SHORT_TEXT);
    buf_init(&near, MAX_SHORT_TEXT);
    for (size_t i = 0; i < l->n; i++) {
        const struct setting *row = &l->rows[i];
        if (row->type == SETTING_CONFIG)
            continue;
        if (accepted.n)
            buf_str(&accepted, ", ");
        setting_print_key(row, &accepted);
        if (word_is_near(key, slice_str(row->flag)) &&
            (!best || word_distance(key, slice_str(row->flag)) < word_distance(key, slice_str(best->flag))))
            best = row;
    }
    if (best) {
        buf_str(&near, "; did you mean ");
        setting_print_key(best, &near);
        buf_char(&near, '?');
    }
    enum errc rc = ERR(l->err, INPUT, "there is no setting \"%.*s\"%.*s%s Accepted: %.*s", (int)slice_cut(key, 60).n, key.p,
                       (int)near.n, near.p ? near.p : "", best ? "" : ".", (int)accepted.n, accepted.p ? accepted.p : "");
    buf_free(&accepted);
    buf_free(&near);
    return rc;
}

// The value as the text that the command line would give; null when its type is another.
static const char *text_of(const struct setting *row, const struct toml *value, struct arena *arena)
{
    bool number = value->type == TOML_INTEGER;
    switch (row->type) {
    case SETTING_BOOL:
        return value->type != TOML_BOOLEAN ? NULL : value->yes ? "true" : "false";
    case SETTING_INT:
        return number ? arena_printf(arena, "%lld", (long long)value->integer).p : NULL;
    case SETTING_SIZE:
        return number                       ? arena_printf(arena, "%lld", (long long)value->integer).p
               : value->type == TOML_STRING ? arena_dup(arena, value->text).p
                                            : NULL;
    case SETTING_DURATION: // a bare 0 needs no unit
        return number && value->integer == 0 ? "0" : value->type == TOML_STRING ? arena_dup(arena, value->text).p : NULL;
    default:
        return value->type == TOML_STRING ? arena_dup(arena, value->text).p : NULL;
    }
}

static enum errc set_entry(const struct settings_load *l, const struct toml *t)
{
    static const char *const accepted[] = {[SETTING_STR] = "a string in quotes",
                                           [SETTING_INT] = "an integer",
                                           [SETTING_SIZE] = "a size: \"64MiB\", \"10kB\" or a number of bytes",
                                           [SETTING_DURATION] = "a duration: \"500ms\", \"5s\", \"2m\", \"1h\" or \"7d\"",
                                           [SETTING_BOOL] = "true or false"};
    const struct setting *row = l->rows;
    while (row < l->rows + l->n && !is_key(row, t->key))
        row++;
    if (row == l->rows + l->n)
        return unknown_key(l, t->key);
    const char *text = text_of(row, t, l->arena);
    if (arena_failed(l->arena))
        return ERR(l->err, NOMEM, "no memory for the value of %.*s", (int)t->key.n, t->key.p);
    if (!text)
        return ERR(l->err, INPUT, "%.*s must be %s; found %s", (int)t->key.n, t->key.p, accepted[row->type],
                   toml_type_text(t->type));
    if (t->type == TOML_STRING && memchr(t->text.p, 0, t->text.n))
        return ERR(l->err, INPUT, "%.*s may not hold the character U+0000", (int)t->key.n, t->key.p);
    if (setting_set(row, l->out, text, l->err) != ERR_OK)
        return error_prefix(l->err, "%.*s: ", (int)t->key.n, t->key.p);
    setting_came(l, row, SETTING_FROM_FILE, t->line);
    return ERR_OK;
}

enum errc settings_load_toml(const struct settings_load *l, const struct setting *config)
{
    const char *path = *(const char *const *)((const char *)l->out + config->offset);
    struct slice text;
    struct toml *root;
    TRY(read_file(path, l->arena, &text, l->err));
    if (toml_parse(text, l->arena, &root, l->err) != ERR_OK)
        return error_prefix(l->err, "%s: ", path);
    for (const struct toml *t = root->first; t; t = t->next)
        if (set_entry(l, t) != ERR_OK)
            return error_prefix(l->err, "%s: line %d, column %d: ", path, t->line, t->column);
    return ERR_OK;
}
