// The model of a configuration file, and how it is read.
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include <sonde/config.h>

enum { CONFIG_NODES_MAX = 10000, CONFIG_DEPTH = 64, CONFIG_TEXT_MAX = 4 << 20 };

struct sonde_config {
    struct arena arena;
    struct sonde_config_node *root;
    size_t nodes;
};
// config_yaml.c: fills c->root. ERR_UNSUPPORTED: libyaml is not there; ERR_SYNTAX with the line.
enum errc config_yaml(struct sonde_config *c, struct slice yaml, struct error *err);
// config_value.c: the text with ${…} put in; false with *err when a reference is malformed. *put: whether there was any.
bool config_substitute(struct slice text, struct arena *arena, struct slice *out, bool *put, struct error *err);
// What a plain scalar is by YAML 1.2's core schema.
enum sonde_node_type config_scalar_type(struct slice text);
// config_map.c: onto the settings. Notes what it leaves out.
bool config_map(const struct sonde_config *c, struct sonde_config_parts *parts, struct buf *notes, struct error *err);

// config_part.c: what config_map is made of.
struct mapping {
    const struct sonde_config *c;
    struct sonde_config_parts *parts;
    struct buf *notes;
    bool failed;  // no memory
    bool otlp[3]; // traces, logs, metrics: an OTLP exporter has been seen
};
// The scalar at path below n becomes the setting; absent or null: nothing.
void map_scalar(struct mapping *m, const struct sonde_config_node *n, const char *path, const char *setting);
void map_put(struct mapping *m, const char *setting, struct slice value, int line, bool join);
void map_note(struct mapping *m, const struct sonde_config_node *n, const char *what);
// Percent-encodes what separates entries of k=v lists.
void map_encode(struct buf *out, const char *text);
// "name: …" of a map with one entry (a component), or a bare text; null if it is neither.
const char *map_component(const struct sonde_config_node *n, const struct sonde_config_node **properties);
// A component that the library does not know: asks its provider.
void map_other(struct mapping *m, const char *kind, const char *name, const struct sonde_config_node *properties,
               const struct sonde_config_node *where);
// config_export.c: one exporter. signal: "TRACES", "METRICS" or "LOGS".
void map_exporter(struct mapping *m, const char *signal, const char *kind, const struct sonde_config_node *n);
// config_views.c: the default meter provider, when the model has views; else null.
struct sonde_meter_provider *config_views(const struct sonde_config_node *root);
bool component_make(const char *kind, const char *name, const struct sonde_config_node *properties, bool *known);
