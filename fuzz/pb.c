// Any bytes through the protobuf reader: the first byte's bits choose how each field is read, every message is entered.
#include "base/pb.h"
#include <stdlib.h>

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void read_message(struct pb *r, unsigned way)
{
    while (pb_next(r)) {
        uint64_t u;
        uint32_t w;
        double d;
        struct slice s;
        struct pb child;
        must(r->field > 0 && r->tag < r->p && r->p <= r->end);
        switch ((way + r->field) % 4) {
        case 0:
            pb_skip(r);
            break;
        case 1:
            must(pb_raw_field(r, &s) ? s.n > 1 : r->failed);
            break;
        case 2:
            if (r->wire == PB_LEN && pb_message(r, &child))
                read_message(&child, way);
            else
                pb_skip(r);
            break;
        case 3:
            if (r->wire == PB_VARINT    ? pb_u64(r, &u)
                : r->wire == PB_FIXED32 ? pb_fixed32(r, &w)
                                        : r->wire == PB_FIXED64 && pb_double(r, &d))
                break;
            pb_bytes(r, &s);
            break;
        }
    }
}

// Copies the fields; whatever could be read, its copy can be read, and a second copy is the same.
static void copy_message(struct pb *r, struct buf *b)
{
    while (pb_next(r)) {
        uint64_t u;
        uint32_t w;
        struct slice s;
        if (r->wire == PB_VARINT && pb_u64(r, &u))
            pb_w_u64(b, r->field, u);
        else if (r->wire == PB_FIXED64 && pb_fixed64(r, &u))
            pb_w_fixed64(b, r->field, u);
        else if (r->wire == PB_FIXED32 && pb_fixed32(r, &w))
            pb_w_fixed32(b, r->field, w);
        else if (r->wire == PB_LEN && pb_bytes(r, &s)) {
            size_t mark = pb_w_begin(b, r->field);
            buf_add(b, s);
            pb_w_end(b, mark);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct slice text = slice_of(data + 1, size - 1);
    struct error e = {0};
    struct pb r;
    pb_init(&r, text, &e);
    read_message(&r, data[0]);
    must(r.failed == (e.code != ERR_OK) && (r.failed || r.p == r.end));
    struct buf once, twice;
    buf_init(&once, 64 << 20);
    buf_init(&twice, 64 << 20);
    pb_init(&r, text, NULL);
    copy_message(&r, &once);
    pb_init(&r, buf_slice(&once), NULL);
    copy_message(&r, &twice);
    must(!r.failed && slice_eq(buf_slice(&once), buf_slice(&twice)));
    buf_free(&once);
    buf_free(&twice);
    return 0;
}
