// A call site out of a dictionary and one of its records, both as they may stand in a damaged ring file: read, then written as
// text, as JSON and as an OTLP record. Input: u16 bytes of the dictionary entry, the entry, the record. A JSON line must be one
// line of valid UTF-8.
#include "base/limits.h"
#include "base/utf8.h"
#include "sdk/encode.h"
#include "sdk/pipeline.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_log(void *arg, const struct line *l)
{
    encode_log(arg, l, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint16_t n;
    size_t used;
    struct rec r;
    if (size < 2)
        return 0;
    memcpy(&n, data, 2);
    const char *entry = (const char *)data + 2;
    size_t rest = size - 2;
    struct site *site = n <= rest ? site_parse(entry, n, &used) : NULL;
    for (int jsonl = 0; site && jsonl < 2; jsonl++) {
        if (!rec_read(&r, entry + n, rest - n, site->type, site->n, false))
            break;
        struct pipeline p;
        struct buf otlp;
        pipeline_init(&p);
        buf_init(&otlp, MIB(64));
        p.style.jsonl = jsonl;
        p.on_log = on_log;
        p.arg = &otlp;
        r.kind = REC_LOG;
        pipeline_record(&p, &r, site, 1768465812004217000);
        struct slice out = buf_slice(&p.out);
        if (jsonl && p.out.err == ERR_OK && (!utf8_valid(out) || !out.n || memchr(out.p, '\n', out.n) != out.p + out.n - 1))
            abort();
        buf_free(&otlp);
        pipeline_free(&p);
    }
    site_free(site);
    return 0;
}
