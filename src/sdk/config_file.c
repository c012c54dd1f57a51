// Which settings the file says; how they get there stands in config_map.c.
#include "sdk/config_file.h"
#include "base/alloc.h"
#include "sdk/env.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static struct said {
    struct said *next;
    int row, line;
    char text[];
} * said; // kept for good: env_get hands the texts out
static char file[1024];
static atomic_bool rules;

bool config_file_active(void)
{
    return atomic_load_explicit(&rules, memory_order_acquire);
}

static struct said **find(int row)
{
    struct said **at = &said;
    while (*at && (*at)->row != row)
        at = &(*at)->next;
    return at;
}

bool config_file_setting(const char *name, struct setting_found *out)
{
    const struct said *s = *find(sdk_setting_find(name));
    if (s)
        *out = (struct setting_found){s->text, file, s->line};
    return s != NULL;
}

bool config_file_put(const char *name, struct slice text, int line, bool join)
{
    int row = sdk_setting_find(name);
    struct said **at = find(row), *old = *at;
    size_t before = join && old ? strlen(old->text) + 1 : 0;
    if (row < 0 || text.n > 1 << 20)
        return false;
    struct said *s = mem_alloc(sizeof *s + before + text.n + 1);
    if (!s)
        return false;
    if (before) {
        memcpy(s->text, old->text, before - 1);
        s->text[before - 1] = ',';
    }
    memcpy(s->text + before, text.p, text.n);
    s->text[before + text.n] = 0;
    s->row = row;
    s->line = before ? old->line : line;
    s->next = old ? old->next : NULL;
    *at = s;
    mem_free(old);
    return true;
}

void config_file_rule(const char *path)
{
    snprintf(file, sizeof file, "%s", path);
    atomic_store_explicit(&rules, true, memory_order_release);
}

void config_file_clear(void)
{
    atomic_store(&rules, false);
    while (said) {
        struct said *s = said;
        said = s->next;
        mem_free(s);
    }
}
