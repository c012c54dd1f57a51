// Which folders of a tree are results, and which files belong to each.
#pragma once
#include "results/results_int.h"

enum { FOUND_AIPERF = 1, FOUND_LEGACY = 2, FOUND_PYTEST = 4, FOUND_JUNIT = 8, FOUND_UNREAD = 8 };

struct found_unread {
    const char *path;
    int error;
};
struct found_folder {
    const char *path, *name;
    unsigned kinds; // FOUND_…; 0: nothing but other files
    struct folder files;
    uint32_t cap;
    uint32_t *client; // files.client, while it grows
    uint32_t clients_cap;
    struct found_unread unread[FOUND_UNREAD]; // folders that could not be listed
    uint32_t n_unread;
};
struct found {
    struct arena *arena;
    struct found_folder *v; // [0] is the root
    uint32_t n, cap;
};
enum errc results_find(struct arena *a, const char *dir, struct found *out, struct error *err);
