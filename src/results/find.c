// Walks a tree and finds the folders that are results. A file belongs to the nearest folder above it that is one, or to the root.
#include "results/find.h"
#include "results/textfile.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

struct entry {
    char *name;
    bool dir;
    uint64_t size;
};
struct entries {
    struct entry *v;
    uint32_t n, cap;
};

static int by_name(const void *x, const void *y)
{
    return strcmp(((const struct entry *)x)->name, ((const struct entry *)y)->name);
}

static bool push(struct arena *a, void **v, uint32_t n, uint32_t *cap, size_t size)
{
    if (n < *cap)
        return true;
    uint32_t more = *cap ? *cap * 2 : 32;
    void *p = more > FILES_MAX * 2 ? NULL : arena_grow(a, *v, *cap * size, more * size);
    if (!p)
        return false;
    *v = p;
    *cap = more;
    return true;
}

static enum errc list(struct arena *a, const char *path, struct entries *out, int *error)
{
    DIR *d = opendir(path);
    *error = d ? 0 : errno;
    if (!d)
        return ERR_OK;
    enum errc rc = ERR_OK;
    for (struct dirent *e; rc == ERR_OK && (e = readdir(d)) != NULL;) {
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        if (S_ISLNK(
                st.st_mode)) { // to a file: as if it lay here; to nowhere: named when it is read; to a folder: it has its place
            bool leads = fstatat(dirfd(d), e->d_name, &st, 0) == 0;
            if (leads ? !S_ISREG(st.st_mode) : errno != ENOENT)
                continue;
            st.st_mode = S_IFREG;
            st.st_size = leads ? st.st_size : 1;
        }
        if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
            continue;
        struct slice name = arena_dup(a, slice_str(e->d_name));
        if (!name.p || !push(a, (void **)&out->v, out->n, &out->cap, sizeof *out->v))
            rc = ERR_LIMIT;
        else
            out->v[out->n++] = (struct entry){(char *)name.p, S_ISDIR(st.st_mode), (uint64_t)st.st_size};
    }
    closedir(d);
    if (out->n)
        qsort(out->v, out->n, sizeof *out->v, by_name);
    return rc;
}

static bool has_attempts(struct arena *a, const char *dir, const char *client)
{
    struct slice path = arena_printf(a, "%s/%s", dir, client);
    struct entries e = {.n = 0};
    int error;
    if (!path.p || list(a, path.p, &e, &error) != ERR_OK)
        return false;
    for (uint32_t i = 0; i < e.n; i++)
        if (e.v[i].dir && strncmp(e.v[i].name, "attempt_", 8) == 0)
            return true;
    return false;
}

static bool is_junit(struct arena *a, const char *dir, const struct entry *e)
{
    struct textfile t;
    if (!name_ends(textfile_name(slice_str(e->name)), ".xml", NULL) || e->size == 0)
        return false;
    struct slice path = arena_printf(a, "%s/%s", dir, e->name);
    if (!path.p || textfile_open(path.p, &t) != 0)
        return false;
    bool yes = slice_find(slice_cut(t.text, 4096), SLICE("<testsuite")) >= 0;
    textfile_close(&t);
    return yes;
}

// What the folder's own entries make it.
static unsigned kinds_of(struct arena *a, const char *path, const struct entries *e)
{
    unsigned kinds = 0;
    for (uint32_t i = 0; i < e->n; i++) {
        struct slice name = textfile_name(slice_str(e->v[i].name));
        uint32_t number;
        bool client = client_number(name, &number);
        if (e->v[i].dir && client && has_attempts(a, path, e->v[i].name))
            kinds |= FOUND_AIPERF;
        else if (!e->v[i].dir && client && name_ends(name, ".log.txt", NULL))
            kinds |= FOUND_LEGACY;
        else if (!e->v[i].dir && slice_eq(name, SLICE("test.log.txt")))
            kinds |= FOUND_PYTEST;
        else if (!e->v[i].dir && is_junit(a, path, &e->v[i]))
            kinds |= FOUND_JUNIT;
    }
    return kinds;
}

struct walk {
    struct found *out;
    uint32_t files;
};

static enum errc add_folder(struct walk *w, const char *path, const char *name, unsigned kinds, uint32_t *index)
{
    struct found *f = w->out;
    if (!push(f->arena, (void **)&f->v, f->n, &f->cap, sizeof *f->v))
        return ERR_LIMIT;
    *index = f->n;
    f->v[f->n++] = (struct found_folder){.path = path, .name = name, .kinds = kinds};
    return ERR_OK;
}

static enum errc add_file(struct walk *w, uint32_t owner, const char *path, uint64_t size)
{
    struct found_folder *f = &w->out->v[owner];
    if (w->files++ == FILES_MAX || !push(w->out->arena, (void **)&f->files.file, f->files.n, &f->cap, sizeof *f->files.file))
        return ERR_LIMIT;
    struct slice name = slice_str(path + strlen(f->path) + 1);
    f->files.file[f->files.n++] = (struct file){path, name, textfile_name(name), size};
    return ERR_OK;
}

// Clients that have a folder of attempts, whatever is in it.
static enum errc add_clients(struct walk *w, uint32_t owner, const struct entries *e)
{
    struct found_folder *f = &w->out->v[owner];
    uint32_t number;
    for (uint32_t i = 0; i < e->n && f->files.n_clients < CLIENTS_MAX; i++) {
        if (!e->v[i].dir || !client_number(slice_str(e->v[i].name), &number) ||
            !has_attempts(w->out->arena, f->path, e->v[i].name))
            continue;
        if (!push(w->out->arena, (void **)&f->client, f->files.n_clients, &f->clients_cap, sizeof *f->client))
            return ERR_LIMIT;
        f->client[f->files.n_clients++] = number;
    }
    f->files.client = f->client;
    return ERR_OK;
}

static enum errc step(struct walk *w, const char *path, const char *name, uint32_t owner, int depth)
{
    struct arena *a = w->out->arena;
    struct entries e = {.n = 0};
    int error;
    TRY(list(a, path, &e, &error));
    if (error || depth > DEPTH_MAX) {
        struct found_folder *f = &w->out->v[owner];
        if (f->n_unread < FOUND_UNREAD)
            f->unread[f->n_unread++] = (struct found_unread){path, error ? error : ELOOP};
        return ERR_OK;
    }
    unsigned kinds = kinds_of(a, path, &e);
    if (kinds && depth > 0)
        TRY(add_folder(w, path, name, kinds, &owner));
    else if (depth == 0)
        w->out->v[owner].kinds = kinds;
    if (kinds & FOUND_AIPERF)
        TRY(add_clients(w, owner, &e));
    bool marked = false;
    for (uint32_t i = 0; i < e.n; i++)
        marked = marked || strcmp(e.v[i].name, RESULT_MARK) == 0;
    for (uint32_t i = 0; i < e.n; i++) {
        if (marked && e.v[i].dir && strncmp(e.v[i].name, "attempt-", 8) == 0)
            continue; // of a test that was run again, which its last attempt speaks for
        struct slice child = arena_printf(a, "%s/%s", path, e.v[i].name);
        if (!child.p)
            return ERR_NOMEM;
        TRY(e.v[i].dir ? step(w, child.p, e.v[i].name, owner, depth + 1) : add_file(w, owner, child.p, e.v[i].size));
    }
    return ERR_OK;
}

enum errc results_find(struct arena *a, const char *dir, struct found *out, struct error *err)
{
    struct walk w = {.out = out};
    struct stat st;
    uint32_t root;
    *out = (struct found){.arena = a};
    if (stat(dir, &st) != 0)
        return ERR(err, NOTFOUND, "%s: %s", dir, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return ERR(err, INPUT, "%s is no folder; give the folder that holds the results", dir);
    size_t n = strlen(dir);
    while (n > 1 && dir[n - 1] == '/')
        n--;
    struct slice path = arena_dup(a, slice_of(dir, n));
    const char *slash = path.p ? strrchr(path.p, '/') : NULL;
    if (!path.p)
        return ERR(err, NOMEM, "no memory for the names of files");
    enum errc rc = add_folder(&w, path.p, slash && slash[1] ? slash + 1 : path.p, 0, &root);
    rc = rc == ERR_OK ? step(&w, path.p, out->v[root].name, root, 0) : rc;
    if (rc != ERR_OK)
        return ERR(err, LIMIT, "%s: more than %d files, or no memory for their names; give a smaller tree", dir, FILES_MAX);
    return ERR_OK;
}
