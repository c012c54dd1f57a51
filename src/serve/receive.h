// What the two halves of the receivers share: the way in (receive.c) and the answers (receive_answer.c).
#pragma once
#include "serve/serve.h"

// The shape of an answer.
enum receive_answer {
    ANSWER_OTLP, // Export…ServiceResponse with a partial success
    ANSWER_LOKI, // 204, or 400 with the reasons: what was good is kept
    ANSWER_WRITE // as Loki's, with counts in headers
};

struct receive_kind {
    enum receiver receiver;
    enum wire_format protobuf, json; // json 0: none. Remote write 2.0 is told apart by its content type
    bool grpc;
    enum receive_answer answer;
    const char *rejected_json; // ANSWER_OTLP: name of the count of what was refused
};

// One receiver of one server: the argument of its route.
struct receive_route {
    struct server *server;
    const struct receive_kind *kind;
};

// A request between its arrival and its acknowledgement.
struct receive {
    const struct receive_route *route;
    struct http_req *req;
    enum wire_format format;
    bool json;
    size_t bytes;
    struct wire_report report;
};

struct receiver_stats *receive_stats(const struct receive *r);
void receive_answer_ok(struct receive *r);
void receive_answer_error(struct receive *r, const struct error *err);
