// The resource inside the library: what is found about this process, and the Resource message. Public face: sonde/export.h.
// Thread rule: any thread; resource.c has one lock of its own, innermost, never held while a detector runs.
#pragma once
#include "base/buf.h"
#include <sonde/export.h>

enum { RESOURCE_DETECTORS = 16, RESOURCE_MAX = 1 << 20 };
#define RESOURCE_SCHEMA "https://opentelemetry.io/schemas/1.34.0"

// All of it: library, detectors, options ("k=v,k2=v2" of sonde_init), updates, environment, service name, later ones winning.
// Runs the detectors. Null without memory.
struct sonde_resource *resource_make(const char *service, const char *options);
void resource_encode(struct buf *out, const struct sonde_resource *r); // Resource message without its tag
// An attribute that another part of the library found (sonde.config.hash …); null value: none. True if that is news: the exporter
// makes its resource anew.
bool resource_note(const char *key, const char *value);
void resource_before_fork(void);
void resource_after_fork(void); // parent and child

// ---- inside ---------------------------------------------------------------------------------------------------------
// While attributes are gathered: packed fields (sdk/value.h).
void resource_str(struct buf *to, const char *key, const char *value); // null or "": nothing
void resource_int(struct buf *to, const char *key, int64_t value);
struct sonde_resource *resource_of(struct slice packed, const char *schema_url);
// "k=v,k2=v2", values percent-decoded. False: something in it is no k=v; nothing is appended then.
bool resource_list(struct buf *to, const char *list);
// resource_detect.c
typedef void resource_find_fn(struct buf *to);
struct resource_detector {
    const char *name;
    resource_find_fn *find;
};
extern const struct resource_detector resource_detectors[];
extern const size_t resource_n_detectors;
// The id of the container that /proc/self/cgroup or /proc/self/mountinfo tell of. False: none.
bool resource_container_id(struct slice cgroup, struct slice mountinfo, char out[65]);
