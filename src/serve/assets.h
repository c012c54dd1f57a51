// The page (web/), compressed and embedded at build time by scripts/embed.py: one table of files, one run of bytes.
//   GET /        to /ui/
//   GET /ui/…    the file of that name, else index.html: the page's own router reads the path
// Names that carry a hash may be kept for ever; index.html is asked for anew each time and answered 304 while unchanged.
// Clients that do not accept gzip get the file decompressed. Every reply has the content security policy of web/csp.txt.
#pragma once
#include "net/http.h"

struct asset {
    const char *name, *type;
    const char *etag;             // weak, by content: the same for both encodings
    uint32_t at, gzip_size, size; // place in assets_bytes, bytes there, bytes when decompressed
    bool immutable;               // the name carries a hash
};
extern const struct asset assets_table[];
extern const size_t assets_count;
extern const char assets_csp[];
extern const unsigned char assets_bytes[];

// Appends the routes to a table with room for max rows; returns how many there are (0 if max is too small).
// Handlers may run on any thread.
size_t assets_routes(struct http_route *out, size_t max);
