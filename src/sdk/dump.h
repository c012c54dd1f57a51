// The parts of the configuration dump (sonde/config.h).
#pragma once
#include "base/buf.h"
#include "base/json.h"
#include <sonde/config.h>

enum { DUMP_MAX = 16 << 20 };
#define DUMP_REDACTED "<REDACTED>"

// ---- redact.c ----
struct redact {
    const char *const *more; // further name parts; null at the end; may be null
    bool off;
};
bool redact_name(const struct redact *r, struct slice name);
// The value of a text under that name ("" for none) as it may be shown: redacted whole, in part or not at all. Appended.
void redact_text(const struct redact *r, struct slice name, struct slice value, struct buf *out);
// The words of a command line as a JSON array.
void redact_words(const struct redact *r, const char *words, size_t n, struct jw *w); // words: each ended by a 0

// ---- dump_json.c ----
// Any JSON in compact form, keys sorted by their bytes, the last of equal ones kept; r null: nothing redacted. False with *err
// when it is none; what was appended is undone.
bool dump_sort(struct slice json, const struct redact *r, struct buf *out, struct error *err);

// ---- dump_system.c, gpu.c ----
void dump_system(struct jw *w);                          // the object system_info
void dump_runtime(const struct redact *r, struct jw *w); // keys of runtime_info, inside its object
// The object gpu_info or null. NVML, else nvidia-smi, each within GPU_TIMEOUT_MS; kept for good once it is known.
void dump_gpu(struct jw *w);
enum { GPU_TIMEOUT_MS = 5000 };
extern int gpu_timeout_ms;

// ---- dump.c ----
// The dump, sorted and redacted; the hash with it. False without memory.
void dump_note_hash(void); // makes it an attribute of the resource (resource_note)
// The dump of what the last caller told, once more, appended.
bool dump_again(bool no_gpu, struct buf *out);
