// libsonde.so as a plug-in brings it: loaded twice by dlopen beside another copy, closed while a thread that logged still lives.
// And what it shows to others: sonde_* alone.
#include <dlfcn.h>
#include <pthread.h>
#include <sonde/sonde.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void (*log_write)(struct sonde_site *, const struct sonde_arg *);
static pthread_barrier_t barrier;

static void *logger(void *arg)
{
    static const char *const keys[] = {"n", 0};
    static const unsigned char types[] = {SONDE_TYPE_INT, 0};
    static struct sonde_site site = {0, 0, 1, SONDE_LEVEL_INFO, 1, 0, 0, "from a plug-in", "plugin", "p.c", keys, types, 0};
    struct sonde_arg a[] = {sonde_arg_int(7)};
    (void)arg;
    log_write(&site, a);
    pthread_barrier_wait(&barrier); // logged
    pthread_barrier_wait(&barrier); // closed
    return NULL;
}

static int exported_names(const char *path)
{
    char command[600], line[200];
    int ours = 0, others = 0;
    snprintf(command, sizeof command, "nm -D --defined-only '%s'", path);
    FILE *f = popen(command, "r");
    while (f && fgets(line, sizeof line, f)) {
        char name[100] = "", type;
        if (sscanf(line, "%*x %c %99s", &type, name) == 2 && type != 'A')
            strncmp(name, "sonde_", 6) == 0 ? ours++ : (others++, fprintf(stderr, "exported: %s", line));
    }
    if (f)
        pclose(f);
    return ours > 20 && others == 0;
}

int main(int argc, char **argv)
{
    pthread_t t;
    if (argc < 2 || !exported_names(argv[1]))
        return 1;
    SONDE_INFO("of the program itself"); // the copy that is linked in
    void *lib = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (!lib) {
        fprintf(stderr, "%s\n", dlerror());
        return 2;
    }
    *(void **)&log_write = dlsym(lib, "sonde_log_write");
    if (!log_write || log_write == sonde_log_write)
        return 3;
    pthread_barrier_init(&barrier, NULL, 2);
    pthread_create(&t, NULL, logger, NULL);
    pthread_barrier_wait(&barrier);
    bool (*flush)(unsigned);
    *(void **)&flush = dlsym(lib, "sonde_flush");
    if (!flush(2000))
        return 4;
    dlclose(lib);
    pthread_barrier_wait(&barrier);
    pthread_join(t, NULL); // its destructors run in the closed library
    pid_t pid = fork();    // and so do the fork handlers
    if (pid == 0)
        _exit(0);
    SONDE_INFO("after it");
    return sonde_flush(2000) ? 0 : 5;
}
