// Span directives of the filter: what level a span gives to the records inside of it.
#include "sdk/span_int.h"
#include <stdio.h>

// By the filter that holds now.
void sdk_span_update_level(struct sonde_span *s)
{
    unsigned now = __atomic_load_n(&level_now.generation, __ATOMIC_ACQUIRE), level = 0;
    span_soil(s);
    if (__atomic_load_n(&s->level_of, __ATOMIC_RELAXED) != now)
        __atomic_store_n(&s->conditions, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&s->level_of, now, __ATOMIC_RELAXED);
    if (__atomic_load_n(&level_now.max_span_level, __ATOMIC_RELAXED)) {
        struct site *site = s->site ? site_get(&sdk.sites, s->site->number) : NULL;
        level =
            level_span(site ? site->target : SLICE_NONE, slice_str(s->name), __atomic_load_n(&s->conditions, __ATOMIC_RELAXED));
    }
    __atomic_store_n(&s->level, level, __ATOMIC_RELAXED);
}

unsigned sdk_span_level(void)
{
    unsigned level = 0, now = __atomic_load_n(&level_now.generation, __ATOMIC_ACQUIRE);
    for (struct sonde_span *s = tls_span; s; s = s->below) {
        if (__atomic_load_n(&s->level_of, __ATOMIC_RELAXED) != now)
            sdk_span_update_level(s);
        unsigned own = __atomic_load_n(&s->level, __ATOMIC_RELAXED);
        level = own > level ? own : level;
    }
    return level;
}

// An attribute may fulfil a directive's condition. Rare: only while a filter has one.
void sdk_span_fulfil(struct sonde_span *s, const char *key, enum sonde_type type, const struct sonde_arg *value)
{
    char text[64];
    struct slice v = slice_of(text, 0);
    switch (type) {
    case SONDE_TYPE_STR:
        v = slice_of(value->value.s, value->n == SIZE_MAX ? 0 : value->n);
        break;
    case SONDE_TYPE_F64:
        v.n = (size_t)snprintf(text, sizeof text, "%.17g", value->value.f);
        break;
    case SONDE_TYPE_BOOL:
        v = slice_str(value->value.u ? "true" : "false");
        break;
    case SONDE_TYPE_UINT:
        v.n = (size_t)snprintf(text, sizeof text, "%llu", (unsigned long long)value->value.u);
        break;
    case SONDE_TYPE_INT:
        v.n = (size_t)snprintf(text, sizeof text, "%lld", (long long)value->value.i);
        break;
    default:
        return;
    }
    unsigned now = __atomic_load_n(&level_now.generation, __ATOMIC_ACQUIRE);
    span_soil(s);
    if (__atomic_load_n(&s->level_of, __ATOMIC_RELAXED) != now) {
        __atomic_store_n(&s->conditions, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&s->level_of, now, __ATOMIC_RELAXED);
    }
    __atomic_fetch_or(&s->conditions, level_field(slice_str(key), v), __ATOMIC_RELAXED);
    sdk_span_update_level(s);
}
