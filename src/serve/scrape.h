// Scraping, Prometheus' job: fetches pages of metrics at an interval and stores them, with job and instance as labels, the
// series up and scrape_* of each target, and stale markers for what has gone.
#pragma once
#include "serve/serve.h"

enum { MAX_SCRAPE_TARGETS = 256 };

struct scraper;
// list: "[JOB=]URL" with commas between; a URL may be HOST:PORT (then http, path /metrics), a missing path is /metrics, a missing
// job "scrape". Begins at once on a thread of its own. *out is null when the list is empty. ERR_INPUT says which part is wrong.
enum errc scrape_start(struct scraper **out, struct server *s, const char *list, int64_t interval_ns, struct error *err);
// Ends what is under way. Null is fine. Before the store closes.
void scrape_stop(struct scraper *s);
