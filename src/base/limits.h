// Every named maximum of a buffer, in one list. A buffer without a line here is a mistake.
#pragma once
#include <stddef.h>
#define KIB(n) ((size_t)(n) << 10)
#define MIB(n) ((size_t)(n) << 20)
enum {
    MAX_HTTP_HEAD = 64 << 10,      // request line and headers
    MAX_HTTP_HEADERS = 200,        // header lines
    MAX_HTTP_TARGET = 32 << 10,    // path and query
    MAX_CHUNK_LINE = 256,          // a chunk-size line with extensions
    MAX_JSON_DEPTH = 128,
    MAX_PB_DEPTH = 64,             // nesting of AnyValue and friends
    MAX_LABELS = 64,               // labels of one stream
    MAX_LABEL_NAME = 1024,
    MAX_LABEL_VALUE = 2048,
    MAX_QUERY_TEXT = 131071,       // as in Loki
    MAX_TENANT = 150,
};
#define MAX_HTTP_BODY MIB(64)          // after decompression, receivers
#define MAX_HTTP_REPLY MIB(256)        // what a client accepts
#define MAX_BATCH_MEMORY MIB(512)      // arena of one decoded request
#define MAX_LOG_LINE KIB(256)          // one entry of a Loki push
#define MAX_QUERY_MEMORY MIB(512)      // arena of one query
#define MAX_WAL_RECORD MIB(80)         // one request in the write-ahead log
#define MAX_CLI_OUTPUT MIB(64)
