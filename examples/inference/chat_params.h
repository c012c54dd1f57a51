// The body of POST /v1/chat/completions: what of it matters here, checked.
#pragma once
#include "base/arena.h"
#include "base/slice.h"

struct chat_limits {
    const char *model;
    int64_t context; // tokens of prompt and answer together
};

struct chat_params {
    struct slice model;
    int64_t prompt_tokens;
    int64_t max_tokens; // always set: the request's, or a drawn length
    bool drawn;         // max_tokens was drawn: the model stopped by itself
    bool stream, include_usage;
    bool has_temperature, has_top_p;
    double temperature, top_p;
    int64_t messages;
};

// Why a request is refused, in OpenAI's terms.
struct chat_refusal {
    int status;               // 400 or 404
    const char *param, *code; // may be null
    char message[320];
};

// Slices point into the body or the arena. False: *no tells why.
bool chat_params_read(struct slice body, const struct chat_limits *limits, struct arena *a, struct chat_params *out,
                      struct chat_refusal *no);

// Tokens of a text: about four bytes each, at least one.
int64_t chat_tokens(struct slice text);
