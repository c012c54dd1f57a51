// The four forms of Zipkin's span lists: v2 as JSON and protobuf (zipkin.proto), v1 as JSON and Thrift (zipkinCore.thrift, binary
// protocol). In v1 a kind is a pair of annotations, and what is called an address stands for the other side.
#include "base/pb.h"
#include "sdk/zipkin.h"
#include <endian.h>

// By OTLP's kind.
static const struct {
    const char *name, *begin, *end, *peer;
    unsigned char number; // v2's
} kinds[] = {[SONDE_KIND_SERVER] = {"SERVER", "sr", "ss", "ca", 2},
             [SONDE_KIND_CLIENT] = {"CLIENT", "cs", "cr", "sa", 1},
             [SONDE_KIND_PRODUCER] = {"PRODUCER", "ms", "ws", "ma", 3},
             [SONDE_KIND_CONSUMER] = {"CONSUMER", "wr", "mr", "ma", 4}};

static size_t kind_of(const struct zspan *s)
{
    return s->kind < sizeof kinds / sizeof *kinds && kinds[s->kind].name ? s->kind : 0;
}

// ---- JSON -----------------------------------------------------------------------------------------------------------
static void endpoint(struct jw *w, const char *key, struct slice service)
{
    jw_key(w, slice_str(key));
    jw_obj(w);
    JW_KEY(w, "serviceName");
    jw_str(w, service);
    jw_obj_end(w);
}

static void json_head(struct jw *w, const struct zspan *s)
{
    const struct slice *ids[] = {&s->trace, &s->id, &s->parent};
    static const char *const names[] = {"traceId", "id", "parentId"};
    for (int i = 0; i < 3; i++)
        if (ids[i]->n) {
            jw_key(w, slice_str(names[i]));
            jw_hex(w, ids[i]->p, ids[i]->n);
        }
    JW_KEY(w, "name");
    jw_str(w, s->name);
    JW_KEY(w, "timestamp");
    jw_u64(w, s->time);
    JW_KEY(w, "duration");
    jw_u64(w, s->duration);
}

static void json_note(struct jw *w, const struct zspan *s, uint64_t time, struct slice value, bool v1)
{
    jw_obj(w);
    JW_KEY(w, "timestamp");
    jw_u64(w, time);
    JW_KEY(w, "value");
    jw_str(w, value);
    if (v1)
        endpoint(w, "endpoint", s->service);
    jw_obj_end(w);
}

static void json_v2(struct jw *w, const struct zspan *s)
{
    size_t kind = kind_of(s);
    jw_obj(w);
    json_head(w, s);
    if (kind) {
        JW_KEY(w, "kind");
        jw_str(w, slice_str(kinds[kind].name));
    }
    endpoint(w, "localEndpoint", s->service);
    if (s->peer.n)
        endpoint(w, "remoteEndpoint", s->peer);
    JW_KEY(w, "annotations");
    jw_arr(w);
    for (size_t i = 0; i < s->n_notes; i++)
        json_note(w, s, s->note[i].time, s->note[i].value, false);
    jw_arr_end(w);
    JW_KEY(w, "tags");
    jw_obj(w);
    for (size_t i = 0; i < s->n_tags; i++) {
        jw_key(w, s->tag[i].key);
        jw_str(w, s->tag[i].value);
    }
    jw_obj_end(w);
    jw_obj_end(w);
}

static void json_v1(struct jw *w, const struct zspan *s)
{
    size_t kind = kind_of(s);
    jw_obj(w);
    json_head(w, s);
    JW_KEY(w, "annotations");
    jw_arr(w);
    if (kind) {
        json_note(w, s, s->time, slice_str(kinds[kind].begin), true);
        json_note(w, s, s->time + s->duration, slice_str(kinds[kind].end), true);
    }
    for (size_t i = 0; i < s->n_notes; i++)
        json_note(w, s, s->note[i].time, s->note[i].value, true);
    jw_arr_end(w);
    JW_KEY(w, "binaryAnnotations");
    jw_arr(w);
    for (size_t i = 0; i < s->n_tags + (s->peer.n != 0); i++) {
        bool tag = i < s->n_tags;
        jw_obj(w);
        JW_KEY(w, "key");
        jw_str(w, tag ? s->tag[i].key : slice_str(kinds[kind].peer));
        JW_KEY(w, "value");
        tag ? jw_str(w, s->tag[i].value) : jw_bool(w, true);
        endpoint(w, "endpoint", tag ? s->service : s->peer);
        jw_obj_end(w);
    }
    jw_arr_end(w);
    jw_obj_end(w);
}

// ---- protobuf -------------------------------------------------------------------------------------------------------
static void pb_endpoint(struct buf *b, uint32_t field, struct slice service)
{
    size_t at = pb_w_begin(b, field);
    pb_w_bytes(b, 1, service);
    pb_w_end(b, at);
}

static void protobuf(struct buf *b, const struct zspan *s)
{
    size_t top = pb_w_begin(b, 1), at, kind = kind_of(s);
    pb_w_bytes(b, 1, s->trace);
    if (s->parent.n)
        pb_w_bytes(b, 2, s->parent);
    pb_w_bytes(b, 3, s->id);
    if (kind)
        pb_w_u64(b, 4, kinds[kind].number);
    pb_w_bytes(b, 5, s->name);
    pb_w_fixed64(b, 6, s->time);
    pb_w_u64(b, 7, s->duration);
    pb_endpoint(b, 8, s->service);
    if (s->peer.n)
        pb_endpoint(b, 9, s->peer);
    for (size_t i = 0; i < s->n_notes; i++) {
        at = pb_w_begin(b, 10);
        pb_w_fixed64(b, 1, s->note[i].time);
        pb_w_bytes(b, 2, s->note[i].value);
        pb_w_end(b, at);
    }
    for (size_t i = 0; i < s->n_tags; i++) {
        at = pb_w_begin(b, 11);
        pb_w_bytes(b, 1, s->tag[i].key);
        pb_w_bytes(b, 2, s->tag[i].value);
        pb_w_end(b, at);
    }
    pb_w_end(b, top);
}

// ---- Thrift ---------------------------------------------------------------------------------------------------------
enum thrift { T_STOP, T_BOOL = 2, T_I16 = 6, T_I32 = 8, T_I64 = 10, T_STRING = 11, T_STRUCT = 12, T_LIST = 15 };
enum { BINARY_BOOL = 0, BINARY_STRING = 6 }; // types of binary annotations

static void t_u32(struct buf *b, uint64_t v)
{
    uint32_t be = htobe32((uint32_t)v);
    buf_put(b, &be, 4);
}
static void t_field(struct buf *b, enum thrift type, int id)
{
    buf_put(b, (char[]){(char)type, 0, (char)id}, 3);
}
static void t_i64(struct buf *b, int id, uint64_t v)
{
    uint64_t be = htobe64(v);
    t_field(b, T_I64, id);
    buf_put(b, &be, 8);
}
static void t_string(struct buf *b, int id, struct slice s)
{
    t_field(b, T_STRING, id);
    t_u32(b, s.n);
    buf_add(b, s);
}
static void t_list(struct buf *b, int id, size_t n)
{
    t_field(b, T_LIST, id);
    buf_char(b, T_STRUCT);
    t_u32(b, n);
}

// Endpoint {1 ipv4, 2 port, 3 service name}
static void t_endpoint(struct buf *b, int id, struct slice service)
{
    t_field(b, T_STRUCT, id);
    t_field(b, T_I32, 1);
    t_u32(b, 0);
    t_field(b, T_I16, 2);
    buf_put(b, "\0\0", 2);
    t_string(b, 3, service);
    buf_char(b, T_STOP);
}

// Annotation {1 time, 2 value, 3 host}
static void t_note(struct buf *b, const struct zspan *s, uint64_t time, struct slice value)
{
    t_i64(b, 1, time);
    t_string(b, 2, value);
    t_endpoint(b, 3, s->service);
    buf_char(b, T_STOP);
}

// BinaryAnnotation {1 key, 2 value, 3 type, 4 host}
static void t_tag(struct buf *b, struct slice key, struct slice value, uint32_t type, struct slice host)
{
    t_string(b, 1, key);
    t_string(b, 2, value);
    t_field(b, T_I32, 3);
    t_u32(b, type);
    t_endpoint(b, 4, host);
    buf_char(b, T_STOP);
}

static uint64_t number(const char *p)
{
    uint64_t be;
    memcpy(&be, p, 8);
    return be64toh(be);
}

// Span {1 low half of the trace's id, 3 name, 4 id, 5 parent, 6 annotations, 8 binary annotations, 10 time, 11 duration, 12 high
// half}
static void thrift(struct buf *b, const struct zspan *s)
{
    size_t kind = kind_of(s);
    t_i64(b, 1, number(s->trace.p + 8));
    t_string(b, 3, s->name);
    t_i64(b, 4, number(s->id.p));
    if (s->parent.n == 8)
        t_i64(b, 5, number(s->parent.p));
    t_list(b, 6, s->n_notes + (kind ? 2 : 0));
    if (kind) {
        t_note(b, s, s->time, slice_str(kinds[kind].begin));
        t_note(b, s, s->time + s->duration, slice_str(kinds[kind].end));
    }
    for (size_t i = 0; i < s->n_notes; i++)
        t_note(b, s, s->note[i].time, s->note[i].value);
    t_list(b, 8, s->n_tags + (s->peer.n != 0));
    for (size_t i = 0; i < s->n_tags; i++)
        t_tag(b, s->tag[i].key, s->tag[i].value, BINARY_STRING, s->service);
    if (s->peer.n)
        t_tag(b, slice_str(kinds[kind].peer), slice_of("\1", 1), BINARY_BOOL, s->peer);
    t_i64(b, 10, s->time);
    t_i64(b, 11, s->duration);
    t_i64(b, 12, number(s->trace.p));
    buf_char(b, T_STOP);
}

// ---- the list -------------------------------------------------------------------------------------------------------
void zipkin_begin(struct zwriter *w, struct buf *out, enum zipkin_form form)
{
    *w = (struct zwriter){.out = out, .form = form, .w = jw_to(out)};
    if (form == ZIPKIN_V1_THRIFT) {
        buf_char(out, T_STRUCT);
        w->count_at = out->n;
        t_u32(out, 0);
    } else if (form != ZIPKIN_PROTOBUF) {
        jw_arr(&w->w);
    }
}

void zipkin_write(struct zwriter *w, const struct zspan *s)
{
    w->n++;
    switch (w->form) {
    case ZIPKIN_JSON:
        json_v2(&w->w, s);
        break;
    case ZIPKIN_PROTOBUF:
        protobuf(w->out, s);
        break;
    case ZIPKIN_V1_JSON:
        json_v1(&w->w, s);
        break;
    case ZIPKIN_V1_THRIFT:
        thrift(w->out, s);
        break;
    }
}

void zipkin_end(struct zwriter *w)
{
    uint32_t be = htobe32(w->n);
    if (w->form == ZIPKIN_V1_THRIFT && w->out->err == ERR_OK)
        memcpy(w->out->p + w->count_at, &be, 4);
    else if (w->form == ZIPKIN_JSON || w->form == ZIPKIN_V1_JSON)
        jw_arr_end(&w->w);
}
