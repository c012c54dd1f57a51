// Views of a configuration file: a meter provider that has them becomes the default one.
#include "base/limits.h"
#include "sdk/config_model.h"
#include "sdk/env.h"
#include <sonde/meter.h>

enum { VIEWS_MAX = 256 };

static const char *text_at(const struct sonde_config_node *n, const char *path)
{
    const struct sonde_config_node *at = sonde_config_get(n, path);
    return at && at->type != SONDE_NODE_NULL && !at->first ? at->text : NULL;
}

static enum sonde_instrument_kind kind_of(const char *word)
{
    static const struct {
        char word[28];
        unsigned char kind;
    } rows[] = {{"counter", SONDE_INSTRUMENT_COUNTER},
                {"up_down_counter", SONDE_INSTRUMENT_UPDOWN_COUNTER},
                {"histogram", SONDE_INSTRUMENT_HISTOGRAM},
                {"gauge", SONDE_INSTRUMENT_GAUGE},
                {"observable_counter", SONDE_INSTRUMENT_ASYNC_COUNTER},
                {"observable_up_down_counter", SONDE_INSTRUMENT_ASYNC_UPDOWN_COUNTER},
                {"observable_gauge", SONDE_INSTRUMENT_ASYNC_GAUGE}};
    for (size_t i = 0; word && i < sizeof rows / sizeof *rows; i++)
        if (strcmp(word, rows[i].word) == 0)
            return rows[i].kind;
    return 0;
}

static size_t count(const struct sonde_config_node *list)
{
    size_t n = 0;
    for (const struct sonde_config_node *k = list && list->type == SONDE_NODE_LIST ? list->first : NULL; k; k = k->next)
        n++;
    return n;
}

static const char *const *texts(const struct sonde_config_node *list, struct arena *arena, size_t *n)
{
    *n = count(list);
    const char **out = list ? ARENA_ARRAY(arena, const char *, *n + 1) : NULL;
    size_t i = 0;
    for (const struct sonde_config_node *k = out && *n ? list->first : NULL; k; k = k->next)
        out[i++] = k->text;
    *n = out ? *n : 0;
    return out;
}

static void aggregation(struct sonde_view *v, const struct sonde_config_node *n, struct arena *arena)
{
    static const struct {
        char word[36];
        unsigned char aggregation;
    } rows[] = {{"default", SONDE_AGGREGATION_DEFAULT},
                {"drop", SONDE_AGGREGATION_DROP},
                {"sum", SONDE_AGGREGATION_SUM},
                {"last_value", SONDE_AGGREGATION_LAST_VALUE},
                {"explicit_bucket_histogram", SONDE_AGGREGATION_EXPLICIT_HISTOGRAM},
                {"base2_exponential_bucket_histogram", SONDE_AGGREGATION_EXPONENTIAL_HISTOGRAM}};
    const struct sonde_config_node *properties;
    const char *name = map_component(n, &properties);
    for (size_t i = 0; name && i < sizeof rows / sizeof *rows; i++)
        if (strcmp(name, rows[i].word) == 0)
            v->aggregation = rows[i].aggregation;
    const char *extremes = text_at(properties, "record_min_max");
    v->no_min_max = extremes && strcmp(extremes, "false") == 0;
    const struct sonde_config_node *list = sonde_config_get(properties, "boundaries");
    size_t n_bounds = count(list);
    double *bounds = n_bounds ? ARENA_ARRAY(arena, double, n_bounds) : NULL;
    for (const struct sonde_config_node *k = bounds ? list->first : NULL; k; k = k->next)
        if (slice_to_f64(slice_str(k->text), &bounds[v->n_bounds]))
            v->n_bounds++;
    v->bounds = bounds;
}

struct sonde_meter_provider *config_views(const struct sonde_config_node *root)
{
    const struct sonde_config_node *list = sonde_config_get(root, "meter_provider.views");
    struct sonde_meter_provider_options o = {.n_views = count(list)};
    struct sonde_meter_provider *p = NULL;
    struct arena arena;
    uint64_t limit;
    size_t i = 0;
    if (!o.n_views || o.n_views > VIEWS_MAX)
        return NULL;
    arena_init(&arena, MIB(8));
    struct sonde_view *views = ARENA_ARRAY(&arena, struct sonde_view, o.n_views);
    for (const struct sonde_config_node *n = views ? list->first : NULL; n; n = n->next) {
        struct sonde_view *v = &views[i++];
        const char *cardinality = text_at(n, "stream.aggregation_cardinality_limit");
        v->instrument_name = text_at(n, "selector.instrument_name");
        v->kind = kind_of(text_at(n, "selector.instrument_type"));
        v->unit = text_at(n, "selector.unit");
        v->meter_name = text_at(n, "selector.meter_name");
        v->meter_version = text_at(n, "selector.meter_version");
        v->meter_schema_url = text_at(n, "selector.meter_schema_url");
        v->name = text_at(n, "stream.name");
        v->description = text_at(n, "stream.description");
        v->keep = texts(sonde_config_get(n, "stream.attribute_keys.included"), &arena, &v->n_keep);
        v->leave_out = texts(sonde_config_get(n, "stream.attribute_keys.excluded"), &arena, &v->n_leave_out);
        v->cardinality = cardinality && slice_to_u64(slice_str(cardinality), &limit) && limit <= UINT32_MAX ? (unsigned)limit : 0;
        aggregation(v, sonde_config_get(n, "stream.aggregation"), &arena);
    }
    o.views = views;
    if (!arena_failed(&arena))
        p = sonde_meter_provider_new(&o);
    arena_free(&arena);
    if (p)
        sonde_meter_provider_set_default(p);
    if (p && env_on("SONDE_SELF_METRICS"))
        sonde_meter_provider_add_self(p);
    return p;
}
