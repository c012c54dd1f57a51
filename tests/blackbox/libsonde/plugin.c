/* A plug-in that brings libsonde.so into a host which has a libsonde of its own. */
#include <pthread.h>
#include <sonde/sonde.h>
#include <string.h>

void plugin_work(int i);

static void *on_a_thread(void *arg)
{
    SONDE_INFO("plugin thread", SONDE_INT("i", *(int *)arg));
    return NULL;
}

__attribute__((visibility("default"))) void plugin_work(int i)
{
    struct sonde_options o;
    pthread_t t;
    int k;
    memset(&o, 0, sizeof o);
    o.service = "plugin";
    sonde_init(&o);
    SONDE_INFO("plugin works", SONDE_INT("i", i));
    pthread_create(&t, NULL, on_a_thread, &i);
    pthread_join(t, NULL);
    sonde_flush(2000);
    for (k = 0; k < 3; k++) /* what is held back is told after the plug-in has gone */
        SONDE_INFO_LIMIT(SONDE_ONCE_PER(3600), "plugin busy", SONDE_INT("i", i));
}
