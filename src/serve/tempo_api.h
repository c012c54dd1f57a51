// Tempo's HTTP API, in three files: a trace by its id (tempo_trace.c), search (tempo_search.c), tags (tempo_tags.c). Reading
// happens on the query pool; every trace is put together whole before it is judged, so counts, durations and roots are those of
// the whole.
#pragma once
#include "base/limits.h"
#include "serve/query_job.h"

// Start and end of a request in ns; defaults stand in *from and *to. False: *err says why (400).
bool tempo_time_range(struct http_req *r, int64_t *from, int64_t *to, struct error *err);

// A whole number in min … max; absent leaves *out. False: *err says why (400).
bool tempo_param_int(struct http_req *r, const char *name, int64_t min, int64_t max, int64_t *out, struct error *err);

// Handlers of tempo_routes().
void tempo_search(struct query_job *job);
void tempo_tags_v1(struct query_job *job);
void tempo_tags_v2(struct query_job *job);
void tempo_tag_values_v1(struct query_job *job);
void tempo_tag_values_v2(struct query_job *job);
