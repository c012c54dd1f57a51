// A worker's side of libsonde's status server (DYN_SYSTEM_PORT): readiness of the endpoint "generate" with a canary, metadata,
// and what /engine/ answers: pause, resume (POST), kv (GET).
#pragma once
#include "service.h"

#define PHASES_ABOUT "how a request's phases are told: a span each, or marks (events) on the one span of the request"

// canary: the body of a POST /generate that costs little. resumed: called on the loop when work may go on.
void work_status_start(struct service *s, const char *component, const char *canary, void (*resumed)(void));
bool work_paused(void); // by /engine/pause: nothing that waits is begun
void work_served(void); // a request was answered
