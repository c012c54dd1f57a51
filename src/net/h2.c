#include "net/h2.h"
#include "base/limits.h"

enum { HEADER_OVERHEAD = 32, FIRST_HEADERS = 16 }; // RFC 9113 §6.5.2: what a header counts beyond its bytes

enum errc h2_session(nghttp2_session **out, bool server, const struct h2_callbacks *calls, const nghttp2_settings_entry *set,
                     size_t n_set, int32_t window, void *arg)
{
    nghttp2_session_callbacks *cb;
    if (nghttp2_session_callbacks_new(&cb) != 0)
        return ERR_NOMEM;
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, calls->begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cb, calls->header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, calls->frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, calls->data);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, calls->close);
    int rc = server ? nghttp2_session_server_new(out, cb, arg) : nghttp2_session_client_new(out, cb, arg);
    nghttp2_session_callbacks_del(cb);
    if (rc == 0)
        rc = nghttp2_submit_settings(*out, NGHTTP2_FLAG_NONE, set, n_set);
    if (rc == 0)
        rc = nghttp2_session_set_local_window_size(*out, NGHTTP2_FLAG_NONE, 0, window);
    return rc == 0 ? ERR_OK : ERR_NOMEM;
}

nghttp2_nv h2_nv(struct slice name, struct slice value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name.p, (uint8_t *)(uintptr_t)value.p, name.n, value.n, NGHTTP2_NV_FLAG_NONE};
}

enum errc h2_headers_add(struct h2_headers *h, struct arena *a, struct slice name, struct slice value)
{
    size_t bytes = h->bytes + name.n + value.n + HEADER_OVERHEAD;
    if (bytes > MAX_HTTP_HEAD || h->n == MAX_HTTP_HEADERS)
        return ERR_LIMIT;
    if (h->n == h->cap) {
        size_t cap = h->cap ? h->cap * 2 : FIRST_HEADERS, size = sizeof *h->at;
        struct http_header *more = arena_grow(a, h->at, h->n * size, cap * size);
        if (!more)
            return ERR_NOMEM;
        h->at = more;
        h->cap = cap;
    }
    struct http_header copy = {arena_dup(a, name), arena_dup(a, value)};
    if (!copy.name.p || !copy.value.p)
        return ERR_NOMEM;
    h->at[h->n++] = copy;
    h->bytes = bytes;
    return ERR_OK;
}
