// The status server's parts (sonde/status.h). status.c: readiness; status_serve.c: server and pages; status_engine.c: callbacks;
// status_debug.c: /debug/.
// Locks: each file has one for its tables, never held while a callback runs.
#pragma once
#include "base/json.h"
#include "sdk/net_part.h"
#include <sonde/status.h>

// The environment's servers, when the library is started by sonde_init. No lock may be held: a file may be loaded.
void status_from_environment(void);

bool status_health(struct buf *out); // the body; whether all is ready
void status_canaries(void);          // those that have no thread, as in a forked child
void status_child(void);             // status.c, in a forked child
void status_engine_child(void);
// Answers when the path is a registered one (which: for /engine/ also when it is not).
bool status_engine(const struct net_request *q, struct net_reply *out);
void status_debug(const struct net_request *q, struct net_reply *out); // paths below /debug/
// Value of a parameter of the query, not decoded; false: absent.
bool status_param(struct slice query, const char *name, struct slice *value);
struct slice status_header(const struct net_request *q, const char *name); // "" if absent
bool status_get(const struct net_request *q);                              // GET or HEAD
void status_method(struct net_reply *out, const char *allow);              // 405; allow: the methods that there are, a constant
void status_text(struct net_reply *out, int status, const char *text);
