// What can be found about this process: names of the semantic conventions (resource). Nothing here fails; what is not found is
// left out.
#include "base/alloc.h"
#include "base/limits.h"
#include "sdk/env.h"
#include "sdk/resource.h"
#include "sdk/value.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <gnu/libc-version.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { FILE_SMALL = 4096, FILE_LARGE = 256 << 10, ARGS_MAX = 64 };

// As much of a file as fits; terminated.
static size_t read_file(const char *path, char *out, size_t size)
{
    size_t n = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    for (ssize_t k = 1; fd >= 0 && k > 0 && n<size - 1; n += k> 0 ? (size_t)k : 0)
        k = read(fd, out + n, size - 1 - n);
    if (fd >= 0)
        close(fd);
    out[n] = 0;
    return n;
}

static const char *first_line(char *text)
{
    text[strcspn(text, "\r\n")] = 0;
    return text;
}

// ---- host, operating system -----------------------------------------------------------------------------------------
static void find_host(struct buf *to)
{
    static const char *const arch[][2] = {
        {"x86_64", "amd64"}, {"aarch64", "arm64"}, {"armv7l", "arm32"}, {"ppc64le", "ppc64"}, {"i686", "x86"}};
    char text[FILE_SMALL];
    struct utsname u;
    if (read_file("/etc/machine-id", text, sizeof text) || read_file("/var/lib/dbus/machine-id", text, sizeof text))
        resource_str(to, "host.id", first_line(text));
    if (uname(&u) != 0)
        return;
    const char *name = u.machine;
    for (size_t i = 0; i < sizeof arch / sizeof *arch; i++)
        if (strcmp(arch[i][0], u.machine) == 0)
            name = arch[i][1];
    resource_str(to, "host.arch", name);
}

// NAME="value" of /etc/os-release; empty if absent.
static void os_release(const char *text, const char *name, char *out, size_t n)
{
    size_t len = strlen(name);
    out[0] = 0;
    for (const char *p = text; p && *p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL) {
        if (strncmp(p, name, len) != 0 || p[len] != '=')
            continue;
        p += len + 1;
        char quote = *p == '"' || *p == '\'' ? *p++ : '\n';
        size_t k = 0;
        while (p[k] && p[k] != quote && p[k] != '\n')
            k++;
        snprintf(out, n, "%.*s", (int)k, p);
        return;
    }
}

static void find_os(struct buf *to)
{
    char text[FILE_SMALL], value[256];
    struct utsname u;
    resource_str(to, "os.type", "linux");
    if (uname(&u) == 0)
        resource_str(to, "os.version", u.release);
    if (!read_file("/etc/os-release", text, sizeof text))
        return;
    os_release(text, "NAME", value, sizeof value);
    resource_str(to, "os.name", value);
    os_release(text, "PRETTY_NAME", value, sizeof value);
    resource_str(to, "os.description", value);
}

// ---- process --------------------------------------------------------------------------------------------------------
static bool secret_word(struct slice s)
{
    static const char *const words[] = {"token",   "secret", "password", "passwd",  "credential", "api-key",
                                        "api_key", "apikey", "auth",     "private", "access-key", "access_key"};
    char low[256];
    size_t n = s.n < sizeof low - 1 ? s.n : sizeof low - 1;
    for (size_t i = 0; i < n; i++)
        low[i] = (char)tolower((unsigned char)s.p[i]);
    low[n] = 0;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strstr(low, words[i]))
            return true;
    return false;
}

// The arguments, with the values of those that are named like secrets replaced: --api-key=x, --api-key x, API_KEY=x.
static void add_args(struct buf *to, char *text, size_t n)
{
    const char *arg[ARGS_MAX];
    static const char gone[] = "[redacted]";
    char joined[ARGS_MAX][256];
    size_t k = 0;
    bool hide = false;
    for (size_t at = 0; at < n && k < ARGS_MAX; at += strlen(text + at) + 1) {
        char *a = text + at, *eq = strchr(a, '=');
        arg[k] = a;
        if (hide && *a != '-') {
            arg[k] = gone;
        } else if (eq && secret_word(slice_of(a, (size_t)(eq - a)))) {
            snprintf(joined[k], sizeof joined[k], "%.*s=%s", (int)(eq - a), a, gone);
            arg[k] = joined[k];
        }
        hide = *a == '-' && !eq && secret_word(slice_str(a));
        k++;
    }
    if (k)
        packed_append(to, &(struct sonde_field){"process.command_args", SONDE_TYPE_STRS, sonde_arg_strs(arg, k)});
}

static void find_process(struct buf *to)
{
    char path[PATH_MAX], text[FILE_SMALL * 4], id[24];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    resource_int(to, "process.parent_pid", getppid());
    resource_str(to, "process.executable.name", program_invocation_short_name);
    if (n > 0) {
        path[n] = 0;
        resource_str(to, "process.executable.path", path);
    }
    add_args(to, text, read_file("/proc/self/cmdline", text, sizeof text));
    const char *owner = env_get("LOGNAME") ? env_get("LOGNAME") : env_get("USER");
    snprintf(id, sizeof id, "%u", (unsigned)geteuid());
    resource_str(to, "process.owner", owner && *owner ? owner : geteuid() == 0 ? "root" : id);
    resource_str(to, "process.runtime.name", "glibc");
    resource_str(to, "process.runtime.version", gnu_get_libc_version());
}

// ---- container ------------------------------------------------------------------------------------------------------
static bool hex64(const char *p, const char *end)
{
    for (int i = 0; i < 64; i++)
        if (p + i >= end || !strchr("0123456789abcdef", p[i]) || !p[i])
            return false;
    return p + 64 == end || !isalnum((unsigned char)p[64]);
}

// The last run of 64 hex digits behind `after` ("" : anywhere).
static bool find_id(struct slice s, const char *after, char out[65])
{
    const char *end = s.p + s.n;
    size_t len = strlen(after);
    bool found = false;
    for (const char *p = s.p; s.n && p + 64 <= end; p++) {
        if (!hex64(p, end) || (p > s.p && isalnum((unsigned char)p[-1])) || (size_t)(p - s.p) < len ||
            memcmp(p - len, after, len) != 0)
            continue;
        memcpy(out, p, 64);
        out[64] = 0;
        found = true;
        p += 63;
    }
    return found;
}

bool resource_container_id(struct slice cgroup, struct slice mountinfo, char out[65])
{
    // cgroup v1 names it in its path; under v2 with its own namespace the path is "/", but files of the container engine are
    // mounted into the container from a directory of that name.
    return find_id(cgroup, "", out) || find_id(mountinfo, "containers/", out) || find_id(mountinfo, "/sandboxes/", out);
}

static void find_container(struct buf *to)
{
    char *cgroup = mem_alloc(FILE_LARGE), *mounts = mem_alloc(FILE_LARGE), id[65];
    if (cgroup && mounts) {
        size_t c = read_file("/proc/self/cgroup", cgroup, FILE_LARGE), m = read_file("/proc/self/mountinfo", mounts, FILE_LARGE);
        if (resource_container_id(slice_of(cgroup, c), slice_of(mounts, m), id))
            resource_str(to, "container.id", id);
    }
    mem_free(cgroup);
    mem_free(mounts);
}

// ---- Kubernetes: the downward API under the names that operators use ------------------------------------------------
static void find_k8s(struct buf *to)
{
    static const char *const rows[][4] = {
        {"k8s.pod.name", "POD_NAME", "K8S_POD_NAME", "OTEL_RESOURCE_ATTRIBUTES_POD_NAME"},
        {"k8s.pod.uid", "POD_UID", "K8S_POD_UID", "OTEL_RESOURCE_ATTRIBUTES_POD_UID"},
        {"k8s.namespace.name", "POD_NAMESPACE", "K8S_NAMESPACE", "OTEL_RESOURCE_ATTRIBUTES_POD_NAMESPACE"},
        {"k8s.node.name", "NODE_NAME", "K8S_NODE_NAME", "OTEL_RESOURCE_ATTRIBUTES_NODE_NAME"},
        {"k8s.container.name", "CONTAINER_NAME", "K8S_CONTAINER_NAME", "OTEL_RESOURCE_ATTRIBUTES_CONTAINER_NAME"},
    };
    char text[FILE_SMALL];
    bool pod = env_get("KUBERNETES_SERVICE_HOST") != NULL;
    for (int k = 1; k < 4; k++)
        pod = pod || env_get(rows[0][k]);
    if (!pod)
        return;
    if (read_file("/var/run/secrets/kubernetes.io/serviceaccount/namespace", text, sizeof text))
        resource_str(to, "k8s.namespace.name", first_line(text));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (int k = 1; k < 4; k++) {
            const char *v = env_get(rows[i][k]);
            if (v && *v) {
                resource_str(to, rows[i][0], v);
                break;
            }
        }
    }
}

const struct resource_detector resource_detectors[] = {
    {"host", find_host}, {"os", find_os}, {"process", find_process}, {"container", find_container}, {"k8s", find_k8s}};
const size_t resource_n_detectors = sizeof resource_detectors / sizeof *resource_detectors;
