// The record path: call site to ring.
#include "sdk/sdk.h"

bool sonde_site_enabled(struct sonde_site *site)
{
    uint32_t state = __atomic_load_n(&site->state, __ATOMIC_ACQUIRE);
    if (state == SONDE_SITE_NEW) {
        sdk_register(site);
        state = __atomic_load_n(&site->state, __ATOMIC_ACQUIRE);
    }
    return state == SONDE_SITE_ON || (state == SONDE_SITE_ASK && site->level <= sdk_span_level());
}

void sonde_log_write(struct sonde_site *site, const struct sonde_arg *args)
{
    if (__builtin_expect(__atomic_load_n(&site->state, __ATOMIC_ACQUIRE) != SONDE_SITE_ON, 0) && !sonde_site_enabled(site))
        return;
    struct ring_thread *t = tls_ring;
    if (__builtin_expect(!t, 0) && !(t = sdk_thread()))
        return;
    const uint8_t *ids = tls_span ? sdk_span_ids() : NULL;
    ring_push(t, site->number, ids, site->types, args, site->n_fields, site->level == SONDE_LEVEL_ERROR ? RING_WAIT : RING_DROP);
    sdk_wrote();
}
