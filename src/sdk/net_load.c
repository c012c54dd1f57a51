// In libsonde.so: finds, loads and checks libsonde-net.so, once a process. First the file beside this library, so that a program
// with two copies of libsonde gives each its own half; then wherever the system looks.
#include "sdk/net_part.h"
#include "sdk/sdk.h"
#include <dlfcn.h>
#include <stdio.h>

#define PART "libsonde-net.so.0"

static const struct net_part *part;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void complain(const char *where, const char *why)
{
    char text[1200];
    int n =
        snprintf(text, sizeof text,
                 "sonde: " PART " cannot be used: %.500s (looked for %.300s, then where the system keeps its libraries); nothing "
                 "is exported and there is no status server. Install it beside libsonde.so.0, in version " SONDE_VERSION "\n",
                 why, where);
    sdk_note(text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

static void beside(char *path, size_t n)
{
    Dl_info us;
    const char *name = dladdr((void *)(uintptr_t)net_part, &us) && us.dli_fname ? us.dli_fname : "";
    const char *slash = strrchr(name, '/');
    snprintf(path, n, "%.*s" PART, slash ? (int)(slash - name + 1) : 0, name);
}

static void load(void)
{
    char path[512], why[400] = "";
    const struct net_part *(*entry)(unsigned) = NULL;
    beside(path, sizeof path);
    void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const char *e = lib ? NULL : dlerror();
    snprintf(why, sizeof why, "%s", e ? e : "");
    if (!lib)
        lib = dlopen(PART, RTLD_NOW | RTLD_LOCAL);
    if (!lib) {
        complain(path, why);
        return;
    }
    *(void **)&entry = dlsym(lib, NET_PART_SYMBOL);
    const struct net_part *p = entry ? entry(NET_PART_VERSION) : NULL;
    if (!p || p->version != NET_PART_VERSION || strcmp(p->build, SONDE_VERSION) != 0) {
        snprintf(why, sizeof why, "it is of version %.50s", p ? p->build : "unknown");
        complain(path, why);
        return;
    }
    part = p;
}

const struct net_part *net_part(void)
{
    pthread_once(&once, load);
    return part;
}
