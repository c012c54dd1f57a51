// One line of any log: JSON (the keys of Dynamo, zap, zerolog, pino, Python) or text with a time and a level somewhere at its
// beginning. Escape sequences are skipped; a prefix "[NAME] " is the name of the writer.
#pragma once
#include "base/buf.h"
#include "results/stamp.h"

enum logline_level { LOGLINE_NONE, LOGLINE_TRACE, LOGLINE_DEBUG, LOGLINE_INFO, LOGLINE_WARN, LOGLINE_ERROR };

struct logline {
    bool json, timed;
    struct stamp time;
    enum logline_level level;
    struct slice who;     // prefix, "" if none
    struct slice message; // JSON: as written, escapes and all
};

enum { LOGLINE_LEVEL_REACH = 160, LOGLINE_JSON_REACH = 4096, LOGLINE_MESSAGE = 2048 };

// raw: without its line feed. plain: room for the line without escape sequences; out may refer to it.
void logline_read(struct slice raw, struct buf *plain, struct logline *out);
// Only the level, as fast as it goes; LOGLINE_NONE where the line has none. *crash: the text of a process that is about to end
// (Traceback, panic, segmentation fault, out of memory).
enum logline_level logline_level(struct slice raw, bool *crash);
// The message with what differs from one occurrence to the next masked: <n> numbers, <id> ids, <s> quoted texts with either.
void logline_shape(struct slice message, struct buf *out);
// The text of a JSON string as written: escapes read, those that are none left out.
void logline_unescape(struct slice written, struct buf *out);
// Whether text holds the words of a process that is about to end.
bool logline_crash(struct slice text);
