// A span as Zipkin knows it (exporter_zipkin.c), and the forms it is sent in (zipkin_forms.c).
#pragma once
#include "base/json.h"
#include "sdk/export_int.h"

struct znote {
    uint64_t time; // microseconds
    struct slice value;
};
struct ztag {
    struct slice key, value;
};
struct zspan {
    struct slice trace, id, parent; // bytes: 16, 8, 8 or none
    struct slice name, service, peer;
    uint64_t kind;           // of OTLP
    uint64_t time, duration; // microseconds
    struct znote *note;
    struct ztag *tag;
    size_t n_notes, n_tags;
};
struct zwriter {
    struct buf *out;
    enum zipkin_form form;
    struct jw w;
    uint32_t n;
    size_t count_at; // of the Thrift list
};
void zipkin_begin(struct zwriter *w, struct buf *out, enum zipkin_form form);
void zipkin_write(struct zwriter *w, const struct zspan *s);
void zipkin_end(struct zwriter *w);
