// The table of the half that touches sockets: in libsonde-net.so, in libsonde.a and in programs that link libsonde's parts.
#include "net/codec.h"
#include "sdk/net_serve.h"

static const struct net_part table = {
    .version = NET_PART_VERSION,
    .build = SONDE_VERSION,
    .session_new = http_session_new,
    .session_tls = http_session_tls,
    .session_free = http_session_free,
    .fetch = http_fetch,
    .answer_free = http_answer_free,
    .grpc = grpc_send,
    .grpc_free = grpc_answer_free,
    .has_gzip = codec_has_gzip,
    .serve = net_serve,
    .port = net_serve_port,
    .close = net_serve_close,
    .forget = net_serve_forget,
};

#ifdef SONDE_NET_PART
__attribute__((visibility("default")))
#endif
const struct net_part *
sonde_net_part(unsigned version)
{
    return version == NET_PART_VERSION ? &table : NULL;
}
