// Where a configuration may be read from.
#pragma once
#include "base/buf.h"

struct config_ask {
    const char *token; // "": none
    int64_t timeout_ns;
};
// The text of a dump or of expected values as JSON, appended: from a URL (a status server, or the whole path), a process id of
// this machine (whose status server is looked for), a TOML or a JSON file, or - for stdin.
enum errc config_source_read(const char *source, const struct config_ask *ask, struct buf *out, struct error *err);
