// A log segment of arbitrary bytes: walked with and without its checksums compared.
#include "store/wal.h"

static uint64_t sum;

static bool record(void *arg, const struct wal_record *r, uint64_t offset)
{
    (void)arg;
    sum += offset + r->sequence + r->rows;
    for (uint32_t i = 0; i < r->n_dropped; i++) {
        uint32_t v;
        memcpy(&v, (const char *)r->dropped + 4 * (size_t)i, sizeof v);
        sum += v;
    }
    for (size_t i = 0; i < r->tenant.n; i++)
        sum += (unsigned char)r->tenant.p[i];
    for (size_t i = 0; i < r->payload.n; i++)
        sum += (unsigned char)r->payload.p[i];
    return true;
}

static void damage(void *arg, uint64_t from, uint64_t to, bool tail)
{
    (void)arg;
    sum += to - from + tail;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    wal_walk(slice_of(data, size), true, record, damage, NULL);
    wal_walk(slice_of(data, size), false, record, damage, NULL);
    return 0;
}
