// The catalogue is the directory itself: parts/<tenant in hex, "_" if empty>/<signal>-<first>-<last>.part
#include "base/alloc.h"
#include "store/store_int.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const signal_name[SIGNAL_COUNT] = {"log", "span", "sample"};

static void tenant_folder(struct slice tenant, char out[512])
{
    if (!tenant.n) {
        strcpy(out, "_");
        return;
    }
    hex_encode(out, tenant.p, tenant.n);
    out[2 * tenant.n] = 0;
}

char *catalog_path(const struct store *s, const struct table *t, uint64_t first, uint64_t last)
{
    char folder[512];
    size_t n = strlen(s->parts_dir) + sizeof folder + 80;
    char *path = mem_alloc(n);
    if (!path)
        return NULL;
    tenant_folder(t->tenant, folder);
    snprintf(path, n, "%s/%s", s->parts_dir, folder);
    if (mkdir(path, 0777) == 0) { // a failure shows when the part is made
        int fd = open(s->parts_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0) {
            fsync(fd); // the part may be the log's only heir
            close(fd);
        }
    }
    snprintf(path, n, "%s/%s/%s-%020llu-%020llu.part", s->parts_dir, folder, signal_name[t->signal], (unsigned long long)first,
             (unsigned long long)last);
    return path;
}

// A part that cannot be read is set aside once the log gives back what it still has of it (catalog_set_aside).
static enum errc note_lost(struct store *s, const char *path, const char *why)
{
    size_t n = strlen(path) + 1;
    struct lost_part *l = mem_alloc(sizeof *l + n);
    if (!l)
        return ERR_NOMEM;
    memcpy(l->path, path, n);
    l->next = s->lost;
    s->lost = l;
    fprintf(stderr, "sonde: %s; set aside as %s.damaged\n", why, path);
    return ERR_OK;
}

void catalog_set_aside(struct store *s)
{
    for (const struct lost_part *l = s->lost; l; l = l->next) {
        char kept[4200];
        snprintf(kept, sizeof kept, "%s.damaged", l->path);
        if (rename(l->path, kept) != 0)
            fprintf(stderr, "sonde: renaming %s: %s\n", l->path, strerror(errno));
    }
}

void catalog_forget_lost(struct store *s)
{
    for (struct lost_part *next, *l = s->lost; l; l = next) {
        next = l->next;
        mem_free(l);
    }
    s->lost = NULL;
}

static enum errc take_file(struct store *s, struct slice tenant, const char *path, uint64_t *next)
{
    size_t n = strlen(path);
    if (n > 4 && strcmp(path + n - 4, ".tmp") == 0) {
        fprintf(stderr, "sonde: %s: removed, it was not finished\n", path);
        unlink(path);
        return ERR_OK;
    }
    if (n < 5 || strcmp(path + n - 5, ".part") != 0)
        return ERR_OK;
    struct error err = {0};
    struct part *p;
    enum errc rc = part_open(path, &p, &err);
    if (rc == ERR_CORRUPT)
        return note_lost(s, path, err.msg);
    if (rc != ERR_OK) {
        fprintf(stderr, "sonde: %s\n", err.msg);
        return rc;
    }
    if (p->info.last >= *next)
        *next = p->info.last + 1;
    if (!slice_eq(p->info.tenant, tenant)) {
        part_unref(p);
        return note_lost(s, path, "a part lies in another tenant's folder");
    }
    struct table *t = table_get(s, tenant, p->info.signal);
    rc = t ? table_add_part(t, p) : ERR_NOMEM;
    if (rc != ERR_OK)
        part_unref(p);
    return rc;
}

static enum errc take_folder(struct store *s, struct slice tenant, const char *dir, uint64_t *next, struct error *err)
{
    DIR *d = opendir(dir);
    if (!d)
        return ERR(err, IO, "opening %s: %s", dir, strerror(errno));
    enum errc rc = ERR_OK;
    for (struct dirent *e; rc == ERR_OK && (e = readdir(d));) {
        char path[4096];
        if (e->d_name[0] == '.')
            continue;
        if (snprintf(path, sizeof path, "%s/%s", dir, e->d_name) >= (int)sizeof path)
            continue;
        rc = take_file(s, tenant, path, next);
        if (rc != ERR_OK)
            ERR(err, IO, "%s cannot be read: %s", path, errc_text(rc));
    }
    closedir(d);
    return rc;
}

enum errc catalog_open(struct store *s, uint64_t *next, struct error *err)
{
    *next = 1;
    DIR *d = opendir(s->parts_dir);
    if (!d)
        return ERR(err, IO, "opening %s: %s", s->parts_dir, strerror(errno));
    enum errc rc = ERR_OK;
    for (struct dirent *e; rc == ERR_OK && (e = readdir(d));) {
        char path[4096], tenant[256];
        struct slice name = slice_str(e->d_name);
        bool none = slice_eq(name, SLICE("_"));
        if (name.p[0] == '.' || (!none && (name.n > 2 * sizeof tenant || !hex_decode(tenant, name.n / 2, name))))
            continue;
        snprintf(path, sizeof path, "%s/%s", s->parts_dir, e->d_name);
        rc = take_folder(s, slice_of(tenant, none ? 0 : name.n / 2), path, next, err);
    }
    closedir(d);
    return rc;
}
