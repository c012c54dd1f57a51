// What the HTTP/2 sides of server and client share: sessions of nghttp2, and lists of headers while they arrive.
#pragma once
#include "net/http.h"
#include <nghttp2/nghttp2.h>

// The callbacks of a session, as nghttp2 names them.
struct h2_callbacks {
    nghttp2_on_begin_headers_callback begin_headers;
    nghttp2_on_header_callback header;
    nghttp2_on_frame_recv_callback frame;
    nghttp2_on_data_chunk_recv_callback data;
    nghttp2_on_stream_close_callback close;
};

// A session with its SETTINGS queued; window: of the whole connection. *out is set as soon as there is a session, also on
// failure, and is the caller's to delete. ERR_NOMEM.
enum errc h2_session(nghttp2_session **out, bool server, const struct h2_callbacks *calls, const nghttp2_settings_entry *set,
                     size_t n_set, int32_t window, void *arg);

// Refers to both texts; nghttp2 copies them when it takes the list.
nghttp2_nv h2_nv(struct slice name, struct slice value);

struct h2_headers { // zeroed is empty
    struct http_header *at;
    size_t n, cap;
    size_t bytes; // as SETTINGS_MAX_HEADER_LIST_SIZE counts them
};
// Appends copies in the arena. ERR_LIMIT beyond MAX_HTTP_HEAD or MAX_HTTP_HEADERS, ERR_NOMEM; then the list is as it was.
enum errc h2_headers_add(struct h2_headers *h, struct arena *a, struct slice name, struct slice value);
