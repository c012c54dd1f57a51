// What tls.c (connections) and tls_context.c (contexts) share.
#pragma once
#include "base/alloc.h"
#include "net/tls.h"
#include "net/tls_lib.h"
#include <stdatomic.h>

struct tls_context {
    atomic_int refs;
    SSL_CTX *ssl;
    char *server_name; // null: the host's
};

struct tls_context *tls_server_context(struct tls_server *s); // the one of now; the caller's reference
