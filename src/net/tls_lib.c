#include "net/tls_lib.h"
#include "net/lib.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

struct tls_library ssl;
static char missing[250];
static pthread_once_t once = PTHREAD_ONCE_INIT;
// OpenSSL takes itself apart at exit. Where the host program loaded it before us we cannot ask it not to, and an exporter's
// thread may be in the middle of it: from `over` on nobody enters.
static pthread_rwlock_t life = PTHREAD_RWLOCK_INITIALIZER;
static bool over;

static void end(void)
{
    pthread_rwlock_wrlock(&life);
    over = true;
    pthread_rwlock_unlock(&life);
}

static void load(void)
{
    static const char *const names[] = {
#define X(name) #name,
        TLS_FUNCTIONS(X)
#undef X
    };
    bool hosts = dlopen("libcrypto.so.3", RTLD_NOLOAD | RTLD_LAZY);
    void *lib = lib_open("libssl.so.3"), **to = (void **)&ssl;
    if (!lib) {
        const char *why = dlerror();
        snprintf(missing, sizeof missing, "libssl.so.3 (OpenSSL 3) is not installed here (%.120s)", why ? why : "not found");
        return;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        to[i] = dlsym(lib, names[i]);
        if (!to[i]) {
            snprintf(missing, sizeof missing, "libssl.so.3 has no function %s", names[i]);
            return;
        }
    }
    if (!ssl.OPENSSL_init_ssl(OPENSSL_INIT_NO_ATEXIT, NULL))
        snprintf(missing, sizeof missing, "libssl.so.3 does not start");
    else if (hosts)
        atexit(end);
}

enum errc tls_library(struct error *err)
{
    pthread_once(&once, load);
    return missing[0] ? ERR(err, UNSUPPORTED, "https needs OpenSSL: %s", missing) : ERR_OK;
}

bool tls_enter(void)
{
    pthread_rwlock_rdlock(&life);
    if (!over)
        return true;
    pthread_rwlock_unlock(&life);
    return false;
}

void tls_leave(void)
{
    pthread_rwlock_unlock(&life);
}
