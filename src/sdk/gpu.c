// The GPUs of the machine: NVML where its library can be loaded, else the program nvidia-smi. Both may hang with a broken driver,
// so both run where they can be left behind: NVML on a thread of its own, nvidia-smi as a process.
#include "base/alloc.h"
#include "base/clock.h"
#include "base/limits.h"
#include "sdk/dump.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/wait.h>
#include <unistd.h>

int gpu_timeout_ms = GPU_TIMEOUT_MS;

// What was found: JSON text, kept for good.
static char *_Atomic known;

static void row(struct jw *w, struct slice name, struct slice driver, struct slice memory)
{
    jw_obj(w);
    JW_KEY(w, "driver_version");
    jw_str(w, driver);
    JW_KEY(w, "memory_total");
    jw_str(w, memory);
    JW_KEY(w, "name");
    jw_str(w, name);
    jw_obj_end(w);
}

static void finish(struct jw *w, unsigned n)
{
    jw_arr_end(w);
    JW_KEY(w, "count");
    jw_u64(w, n);
    jw_obj_end(w);
}

// ---- NVML -----------------------------------------------------------------------------------------------------------
struct nvml_memory {
    unsigned long long total, free, used;
};
struct nvml_work {
    atomic_int users; // the asker and the thread; the last one frees
    struct buf out;
    bool ok;
};

static void nvml_let_go(struct nvml_work *k)
{
    if (atomic_fetch_sub(&k->users, 1) == 1) {
        buf_free(&k->out);
        mem_free(k);
    }
}

static void *nvml_run(void *arg)
{
    struct nvml_work *k = arg;
    struct jw w = jw_to(&k->out);
    char driver[96] = "", name[128], memory[48];
    unsigned n = 0;
    void *lib = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    int (*init)(void) = lib ? (int (*)(void))dlsym(lib, "nvmlInit_v2") : NULL;
    int (*end)(void) = lib ? (int (*)(void))dlsym(lib, "nvmlShutdown") : NULL;
    int (*count)(unsigned *) = lib ? (int (*)(unsigned *))dlsym(lib, "nvmlDeviceGetCount_v2") : NULL;
    int (*version)(char *, unsigned) = lib ? (int (*)(char *, unsigned))dlsym(lib, "nvmlSystemGetDriverVersion") : NULL;
    int (*at)(unsigned, void **) = lib ? (int (*)(unsigned, void **))dlsym(lib, "nvmlDeviceGetHandleByIndex_v2") : NULL;
    int (*get_name)(void *, char *, unsigned) = lib ? (int (*)(void *, char *, unsigned))dlsym(lib, "nvmlDeviceGetName") : NULL;
    int (*get_memory)(void *, struct nvml_memory *) =
        lib ? (int (*)(void *, struct nvml_memory *))dlsym(lib, "nvmlDeviceGetMemoryInfo") : NULL;
    if (init && end && count && version && at && get_name && get_memory && init() == 0) {
        k->ok = count(&n) == 0;
        version(driver, sizeof driver);
        jw_obj(&w);
        JW_KEY(&w, "gpus");
        jw_arr(&w);
        for (unsigned i = 0; i < n && i < 256; i++) {
            void *device;
            struct nvml_memory m = {0};
            k->ok &= at(i, &device) == 0 && get_name(device, name, sizeof name) == 0 && get_memory(device, &m) == 0;
            snprintf(memory, sizeof memory, "%llu MiB", m.total >> 20);
            if (k->ok)
                row(&w, slice_str(name), slice_str(driver), slice_str(memory));
        }
        finish(&w, n);
        end();
    }
    if (lib)
        dlclose(lib);
    nvml_let_go(k);
    return NULL;
}

static bool nvml(struct buf *out)
{
    struct nvml_work *k = mem_zalloc(sizeof *k);
    pthread_t thread;
    sigset_t all, old;
    struct timespec until;
    bool ok = false;
    if (!k)
        return false;
    buf_init(&k->out, MIB(1));
    k->users = 2;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&thread, NULL, nvml_run, k);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc != 0) {
        nvml_let_go(k);
    } else {
        int64_t at = clock_wall_ns() + (int64_t)gpu_timeout_ms * 1000000;
        until = (struct timespec){at / 1000000000, at % 1000000000};
        if (pthread_timedjoin_np(thread, NULL, &until) != 0) {
            pthread_detach(thread);
        } else if (k->ok && k->out.err == ERR_OK) {
            buf_add(out, buf_slice(&k->out));
            ok = true;
        }
    }
    nvml_let_go(k);
    return ok;
}

// ---- nvidia-smi -----------------------------------------------------------------------------------------------------
// What nvidia-smi printed; false: nothing usable.
static bool smi_lines(struct slice text, struct jw *w)
{
    struct slice line, name, driver;
    unsigned n = 0;
    jw_obj(w);
    JW_KEY(w, "gpus");
    jw_arr(w);
    while (text.p && slice_split(&text, '\n', &line)) {
        line = slice_trim(line);
        if (line.n && slice_split(&line, ',', &name) && line.p && slice_split(&line, ',', &driver) && line.p) {
            row(w, slice_trim(name), slice_trim(driver), slice_trim(line));
            n++;
        }
    }
    finish(w, n);
    return n > 0;
}

extern char **environ;

// Waits for our child by its id alone, a little if it closed its output, and kills what lives on. Where the host lets the system
// take its children away there is no status: the output alone counts then. True: it ended well.
static bool smi_end(pid_t pid, bool ended)
{
    int status = 0;
    pid_t got = 0;
    for (int i = 0; i < (ended ? 100 : 1) && (got = waitpid(pid, &status, WNOHANG)) == 0; i++)
        usleep(2000);
    if (got != 0)
        return ended && (got < 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
    kill(pid, SIGKILL);
    for (int i = 0; i < 500 && waitpid(pid, &status, WNOHANG) == 0; i++) // in a driver it may not even die
        usleep(2000);
    return false;
}

// Its output until it ends or the time is over.
static bool smi_read(int fd, pid_t pid, struct buf *out)
{
    int64_t until = clock_mono_ns() + (int64_t)gpu_timeout_ms * 1000000;
    bool ended = false;
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int64_t left = (until - clock_mono_ns()) / 1000000;
        char *to = buf_reserve(out, 4096);
        int rc = left > 0 && to ? poll(&p, 1, (int)left) : 0;
        if (rc < 0 && errno == EINTR)
            continue;
        ssize_t n = rc > 0 ? read(fd, to, 4096) : -1;
        ended = n == 0;
        if (n <= 0)
            break;
        out->n += (size_t)n;
    }
    return smi_end(pid, ended);
}

static bool smi(struct buf *text)
{
    static char *argv[] = {"nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader", NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none, most;
    int fds[2];
    pid_t pid;
    bool ok = false;
    if (getauxval(AT_SECURE) || pipe2(fds, O_CLOEXEC) != 0) // PATH is its user's choice
        return false;
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attr);
    sigemptyset(&none);
    sigfillset(&most);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &most);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, fds[1], 1);
    posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addclosefrom_np(&files, 3); // descriptors that the host left open
    int rc = posix_spawnp(&pid, argv[0], &files, &attr, argv, environ);
    close(fds[1]);
    if (rc == 0)
        ok = smi_read(fds[0], pid, text);
    close(fds[0]);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attr);
    return ok;
}

void dump_gpu(struct jw *w)
{
    struct buf out, text;
    char *json = known;
    if (json) {
        jw_raw(w, slice_str(json));
        return;
    }
    buf_init(&out, MIB(1));
    buf_init(&text, MIB(1));
    struct jw own = jw_to(&out);
    if (!nvml(&out) && !(smi(&text) && smi_lines(buf_slice(&text), &own))) {
        buf_reset(&out);
        buf_str(&out, "null");
    }
    buf_char(&out, 0);
    if (out.err == ERR_OK) {
        jw_raw(w, slice_str(out.p));
        if (atomic_compare_exchange_strong(&known, &json, out.p))
            out = (struct buf){0};
    } else {
        jw_null(w);
    }
    buf_free(&out);
    buf_free(&text);
}
