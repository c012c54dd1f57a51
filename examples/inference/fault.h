// Faults on demand: by the header x-sonde-fault of one request, or by --fault NAME[=SHARE][,…] for a share of all requests
// that a process sees. The frontend passes a request's fault on to the workers, each acts on its own ones.
#pragma once
#include "net/http.h"

#define FAULT_LIST(X)                                                                                                 \
    X(NONE, "none", "nothing goes wrong")                                                                             \
    X(SLOW_PREFILL, "slow-prefill", "the prefill worker takes many times as long")                                    \
    X(KV_TIMEOUT, "kv-timeout", "the KV transfer stalls until the decode worker gives up: 504")                       \
    X(CUDA_OOM, "cuda-oom", "the decode engine runs out of GPU memory: 500")                                          \
    X(CRASH, "crash", "the decode worker dies by SIGSEGV in the middle of the request: 503 or an error event")        \
    X(HANG, "hang", "the decode worker stops answering the request; the frontend gives up: 504 or an error event")    \
    X(RETRY_STORM, "retry-storm", "the decode worker refuses as overloaded, the frontend tries again and again: 529") \
    X(LOST_WORKER, "lost-worker", "the decode worker is killed in the middle of the request: 503 or an error event")

enum fault {
#define X(id, name, about) FAULT_##id,
    FAULT_LIST(X)
#undef X
        FAULT_COUNT
};

extern const char *const fault_names[FAULT_COUNT];

// False: no such name.
bool fault_parse(struct slice name, enum fault *out);

// Shares of requests: "crash=0.01,hang=0.02"; a name alone means every request.
struct fault_mix {
    double share[FAULT_COUNT];
};
enum errc fault_mix_parse(const char *text, struct fault_mix *out, struct error *err); // null or "": nothing
enum fault fault_draw(const struct fault_mix *mix);

// The request's header wins over the mix; an unknown name in the header counts as none.
enum fault fault_of_request(const struct http_req *r, const struct fault_mix *mix);
