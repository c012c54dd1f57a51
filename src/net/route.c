// Finds the row of the route table for a request. Specific rows win over general ones whatever their order: segment by
// segment, a literal before {name} before {*}.
#include "net/server.h"

enum { REST = 1, CAPTURE = 2, LITERAL = 3, SEGMENTS = 30 };

// Does the pattern match? Returns its rank (0: no), two bits for each segment, and fills the captures.
static uint64_t match(struct slice pattern, struct slice path, struct arena *a, struct slice param[4])
{
    uint64_t rank = 0;
    int n_param = 0;
    pattern = slice_from(pattern, 1);
    path = slice_from(path, 1);
    bool more = true, path_more = true;
    for (int seg = 0; seg < SEGMENTS && more; seg++) {
        const char *slash = memchr(pattern.p, '/', pattern.n);
        struct slice want = slice_cut(pattern, slash ? (size_t)(slash - pattern.p) : pattern.n);
        more = slash;
        pattern = slice_from(pattern, want.n + (slash ? 1 : 0));
        int shift = 2 * (SEGMENTS - seg);
        if (slice_eq(want, SLICE("{*}"))) {
            if (n_param < 4 && !percent_decode(a, path_more ? path : SLICE(""), false, &param[n_param]))
                return 0;
            return path_more ? rank | (uint64_t)REST << shift : 0;
        }
        if (!path_more)
            return 0;
        slash = memchr(path.p, '/', path.n);
        struct slice raw = slice_cut(path, slash ? (size_t)(slash - path.p) : path.n), got;
        path_more = slash;
        path = slice_from(path, raw.n + (slash ? 1 : 0));
        if (!memchr(raw.p, '%', raw.n))
            got = raw;
        else if (!percent_decode(a, raw, false, &got))
            return 0;
        if (want.n > 1 && want.p[0] == '{') {
            if (!got.n || n_param == 4)
                return 0;
            param[n_param++] = got;
            rank |= (uint64_t)CAPTURE << shift;
        } else if (slice_eq(want, got)) {
            rank |= (uint64_t)LITERAL << shift;
        } else {
            return 0;
        }
    }
    return more || path_more ? 0 : rank;
}

static bool answers(const struct http_route *row, struct slice method)
{
    struct slice m = slice_str(row->method);
    return slice_eq(m, method) || (slice_eq(method, SLICE("HEAD")) && slice_eq(m, SLICE("GET")));
}

static void allow_add(struct slice *allow, struct slice method, struct arena *a)
{
    if (http_list_has(*allow, method))
        return;
    struct slice both =
        allow->n ? arena_printf(a, "%.*s, %.*s", (int)allow->n, allow->p, (int)method.n, method.p) : arena_dup(a, method);
    if (slice_eq(method, SLICE("GET")) && both.p)
        both = arena_printf(a, "%.*s, HEAD", (int)both.n, both.p);
    if (both.p)
        *allow = both;
}

const struct http_route *route_find(const struct http_server_options *o, struct slice method, struct slice raw_path,
                                    struct arena *a, struct slice param[4], struct slice *allow)
{
    const struct http_route *best = NULL;
    uint64_t best_rank = 0;
    *allow = SLICE_NONE;
    for (size_t i = 0; i < o->n_routes; i++) {
        const struct http_route *row = &o->routes[i];
        struct slice got[4] = {SLICE_NONE};
        uint64_t rank = match(slice_str(row->path), raw_path, a, got);
        if (!rank)
            continue;
        if (!answers(row, method)) {
            if (strcmp(row->method, "GRPC") != 0) // to other clients a gRPC method does not exist
                allow_add(allow, slice_str(row->method), a);
        } else if (rank > best_rank) {
            best = row;
            best_rank = rank;
            memcpy(param, got, sizeof got);
        }
    }
    return best;
}
