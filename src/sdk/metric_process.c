// Families about the process and about libsonde itself, read at each scrape.
#include "base/clock.h"
#include "sdk/metric.h"
#include "sdk/sdk.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    CPU,
    RSS,
    VIRTUAL,
    OPEN_FDS,
    MAX_FDS,
    STARTED,
    THREADS,
    LOST,
    LOGS_SENT,
    LOGS_DROPPED,
    SPANS_SENT,
    SPANS_DROPPED,
    UPDATES_LOST,
    ROWS
};
static const struct {
    enum sonde_metric_type type;
    const char *name, *help, *unit;
} rows[ROWS] = {
    [CPU] = {SONDE_COUNTER, "process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", "seconds"},
    [RSS] = {SONDE_INT_GAUGE, "process_resident_memory_bytes", "Resident memory size in bytes.", "bytes"},
    [VIRTUAL] = {SONDE_INT_GAUGE, "process_virtual_memory_bytes", "Virtual memory size in bytes.", "bytes"},
    [OPEN_FDS] = {SONDE_INT_GAUGE, "process_open_fds", "Number of open file descriptors.", NULL},
    [MAX_FDS] = {SONDE_INT_GAUGE, "process_max_fds", "Maximum number of open file descriptors.", NULL},
    [STARTED] = {SONDE_GAUGE, "process_start_time_seconds", "Start time of the process since unix epoch in seconds.", "seconds"},
    [THREADS] = {SONDE_INT_GAUGE, "process_threads", "Number of OS threads in the process.", NULL},
    [LOST] = {SONDE_INT_COUNTER, "sonde_records_lost_total", "Log records that found the ring full.", NULL},
    [LOGS_SENT] = {SONDE_INT_COUNTER, "sonde_export_logs_sent_total", "Log records that a collector took.", NULL},
    [LOGS_DROPPED] = {SONDE_INT_COUNTER, "sonde_export_logs_dropped_total", "Log records that the exporter dropped.", NULL},
    [SPANS_SENT] = {SONDE_INT_COUNTER, "sonde_export_spans_sent_total", "Spans that a collector took.", NULL},
    [SPANS_DROPPED] = {SONDE_INT_COUNTER, "sonde_export_spans_dropped_total", "Spans that the exporter dropped.", NULL},
    [UPDATES_LOST] = {SONDE_INT_COUNTER, "sonde_metrics_updates_lost_total", "Metric updates for which there was no memory.",
                      NULL},
};

struct process {
    struct sonde_registry *root;
    struct metric_series *row[ROWS], *uptime;
};

static void set(struct metric_series *s, uint64_t v)
{
    atomic_store_explicit(&s->value, v, memory_order_relaxed);
}

static size_t file_read(const char *path, char *to, size_t max)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, to, max - 1);
    if (fd >= 0)
        close(fd);
    to[n > 0 ? n : 0] = 0;
    return n > 0 ? (size_t)n : 0;
}

// When the machine started, seconds since 1970.
static double boot_time(void)
{
    char text[8192]; // btime stands behind the interrupts' line, which may be long
    double at = 0;
    FILE *f = fopen("/proc/stat", "re");
    while (f && fgets(text, sizeof text, f))
        if (sscanf(text, "btime %lf", &at) == 1)
            break;
    if (f)
        fclose(f);
    return at;
}

// Fields of /proc/self/stat behind the command's name, which may hold anything: 14, 15 times, 20 threads, 22 start, 23 size, 24
// pages.
static const char *stat_update(struct process *p)
{
    char text[1024];
    if (!file_read("/proc/self/stat", text, sizeof text))
        return "/proc/self/stat cannot be read";
    char *at = strrchr(text, ')');
    unsigned long user, kernel, size;
    long threads, pages;
    unsigned long long start;
    if (!at || sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %ld %*d %llu %lu %ld", &user,
                      &kernel, &threads, &start, &size, &pages) != 6)
        return "/proc/self/stat has an unknown form";
    double ticks = (double)sysconf(_SC_CLK_TCK);
    set(p->row[CPU], metric_bits((double)(user + kernel) / ticks));
    set(p->row[RSS], (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE));
    set(p->row[VIRTUAL], size);
    set(p->row[THREADS], (uint64_t)threads);
    set(p->row[STARTED], metric_bits(boot_time() + (double)start / ticks));
    return NULL;
}

static const char *files_update(struct process *p)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        set(p->row[MAX_FDS], limit.rlim_cur > INT64_MAX ? INT64_MAX : limit.rlim_cur);
    DIR *d = opendir("/proc/self/fd");
    if (!d)
        return "/proc/self/fd cannot be read";
    uint64_t n = 0;
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    set(p->row[OPEN_FDS], n - 1); // without the directory itself
    return NULL;
}

static const char *update(void *arg)
{
    struct process *p = arg;
    struct sonde_counts c = {0};
    sonde_counts_get(&c);
    set(p->row[LOST], c.records_lost);
    set(p->row[LOGS_SENT], c.export_logs_sent);
    set(p->row[LOGS_DROPPED], c.export_logs_dropped);
    set(p->row[SPANS_SENT], c.export_spans_sent);
    set(p->row[SPANS_DROPPED], c.export_spans_dropped);
    set(p->row[UPDATES_LOST], atomic_load_explicit(&metric_updates_lost, memory_order_relaxed));
    set(p->uptime, metric_bits((double)(clock_mono_ns() - p->root->born) * 1e-9));
    const char *a = stat_update(p), *b = files_update(p);
    return a ? a : b;
}

static bool add_all(struct sonde_registry *root, struct process *p, struct sonde_metric_error *err)
{
    for (int i = 0; i < ROWS; i++) {
        struct sonde_metric_options o = {.name = rows[i].name, .help = rows[i].help, .unit = rows[i].unit};
        struct metric *m = metric_register(root, rows[i].type, &o, true, true, err);
        if (!m)
            return false;
        p->row[i] = m->one;
    }
    struct sonde_metric_options o = {.name = "uptime_seconds", .help = "Seconds since the runtime started.", .unit = "seconds"};
    struct metric *m = metric_register(root, SONDE_GAUGE, &o, false, false, err);
    p->uptime = m ? m->one : NULL;
    return m != NULL;
}

static bool names_free(struct sonde_registry *root, struct sonde_metric_error *err)
{
    char uptime[METRIC_NAME_MAX + 32];
    snprintf(uptime, sizeof uptime, "%suptime_seconds", root->prefix.p);
    for (int i = 0; i <= ROWS; i++) {
        const char *name = i < ROWS ? rows[i].name : uptime;
        if (metric_family_find(root, slice_str(name), NULL))
            return metric_refuse(err, SONDE_METRIC_EXISTS,
                                 "metric \"%s\" is registered already; the process families need that name", name);
    }
    return true;
}

bool sonde_registry_add_process(struct sonde_registry *r, struct sonde_metric_error *err)
{
    if (err)
        *err = (struct sonde_metric_error){0};
    if (!r)
        return metric_refuse(err, SONDE_METRIC_ARGUMENT, "the process families need a registry");
    struct sonde_registry *root = r->root;
    pthread_mutex_lock(&root->lock);
    bool ok = root->has_process, fresh = false;
    struct process *p = ok ? NULL : ARENA_NEW(&root->arena, struct process);
    if (!ok && p && names_free(root, err)) {
        p->root = root;
        ok = fresh = add_all(root, p, err);
        root->has_process = ok;
    } else if (!ok && !p) {
        metric_refuse(err, SONDE_METRIC_NOMEM, "out of memory for metrics");
    }
    pthread_mutex_unlock(&root->lock);
    return ok && (!fresh || sonde_registry_on_update(root, update, p));
}
