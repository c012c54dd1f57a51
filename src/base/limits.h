// The named maxima of buffers and arenas, in one list; a buffer without a name is a mistake. What one folder alone knows (how
// deep its parser goes, how long a cell of its tables is) stands there.
#pragma once
#include <stddef.h>
#define KIB(n) ((size_t)(n) << 10)
#define MIB(n) ((size_t)(n) << 20)
enum {
    MAX_HTTP_HEAD = 64 << 10,   // request line and headers
    MAX_HTTP_HEADERS = 200,     // header lines
    MAX_HTTP_TARGET = 32 << 10, // path and query
    MAX_CHUNK_LINE = 256,       // a chunk-size line with extensions
    MAX_JSON_DEPTH = 128,
    MAX_TOML_DEPTH = 128,       // tables and arrays within each other
    MAX_PB_DEPTH = 64,          // nesting of AnyValue and friends
    MAX_STREAM_LABELS = 15,     // labels of a pushed stream, as in Loki; a discovered service_name comes on top
    MAX_SERIES_LABELS = 128,    // labels of one series of samples, __name__ among them
    MAX_METADATA_ENTRIES = 128, // structured metadata of one pushed entry, as in Loki
    MAX_LABEL_NAME = 1024,
    MAX_LABEL_VALUE = 2048,
    MAX_QUERY_TEXT = 131071, // as in Loki
    MAX_TENANT = 150,
};
#define MAX_HTTP_BODY        MIB(64)  // after decompression, receivers
#define MAX_HTTP_REPLY       MIB(256) // what a client accepts
#define MAX_BATCH_MEMORY     MIB(512) // arena of one decoded request
#define MAX_LOG_LINE         KIB(256) // one entry of a Loki push
#define MAX_METADATA_BYTES   KIB(64)  // structured metadata of one pushed entry, names and values
#define MAX_QUERY_MEMORY     MIB(512) // arena of one query
#define MAX_WAL_RECORD       MIB(80)  // one request in the write-ahead log
#define MAX_CLI_OUTPUT       MIB(64)
#define MAX_CLI_MEMORY       MIB(2048)    // arena of one command: an answer as a tree
#define MAX_HELP_TEXT        MIB(1)       // help, a page of the manual, a completion
#define MAX_INSPECT_TEXT     MIB(1024)    // what sonde inspect prints
#define MAX_SHORT_TEXT       KIB(16)      // a message, a cell, a name that is put together
#define MAX_STATUS_TEXT      KIB(256)     // a page on which a server tells of itself
#define MAX_QUERY_PRINTED    MIB(16)      // a query printed again
#define MAX_VALUE_TEXT       MIB(1)       // one value of an attribute as text
#define MAX_TAGS_MEMORY      MIB(64)      // names or values of tags, and the answer made of them
#define MAX_REQUEST_ANSWER   MIB(256)     // one request, or a list of them, as JSON
#define MAX_TEMPO_ANSWER     MIB(256)     // a trace, or what a search found
#define MAX_HISTOGRAM_MEMORY MIB(64)      // arena in which native histograms are added
#define MAX_HISTOGRAM_BYTES  MIB(8)       // one of them, encoded
#define MAX_WAL_QUEUE        MIB(64)      // requests waiting for the log's thread
#define MAX_DEDUP_ROWS       (512u << 10) // row hashes in one generation of the filter of repeated requests
#define MAX_FLUSH_MEMORY     MIB(4096)    // arena in which a head is merged before it becomes a part
#define MAX_PART_BLOCK_ROWS  8192u        // rows of one block of a part
#define MAX_PART_BLOCK_BYTES MIB(8)       // text of one block; one row may be larger
#define MAX_PART_PIECE       MIB(256)     // one column of a block, one table of resources, one footer, uncompressed
#define MAX_REQUEST_HEAD     MIB(1)       // request line and headers that a client sends
#define MAX_REPLY_HEAD       MIB(4)       // arena of the headers that it gets
#define CODEC_SLACK          KIB(64)      // room that a body may need beyond its own size when it is packed
#define MAX_HTTP_IGNORED     KIB(64)      // a body that its path has no use for
#define MAX_HTTP_BODIES      MIB(1024)    // all request bodies a server holds at one time
#define MAX_HTTP_PENDING     MIB(64)      // unsent bytes of a streamed reply
#define MAX_HTTP_LINGER      MIB(128)     // read away after a refusal, so that the client sees the answer
#define MAX_REQUEST_MEMORY   MIB(512)     // arena of one HTTP request
#define MAX_COMPACT_BYTES    MIB(32)      // parts merged at once, as they lie on disk
#define MAX_TOML_TEXT        MIB(64)
#define MAX_SETTINGS_FILE    MIB(1)   // a TOML file of settings
#define MAX_SETTINGS_MEMORY  MIB(8)   // arena of what such a file says
#define MAX_METRIC_MEMORY    MIB(256) // names, labels and series of one root registry of metrics
#define MAX_METRIC_TEXT      MIB(64)  // one page of metrics
#define MAX_EXPORT_TEXT      MIB(512) // one batch as JSON
