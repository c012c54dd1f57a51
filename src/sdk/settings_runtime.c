// Dynamo's files of the runtime: flat tables of TOML whose keys are those of its runtime configuration.
#include "base/alloc.h"
#include "base/limits.h"
#include "base/toml.h"
#include "sdk/sdk.h"
#include "sdk/settings_sdk.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

const char *settings_runtime_root = "/opt/dynamo";

static const char names[][2][40] = {
    {"DYN_SYSTEM_PORT", "system_port"},
    {"DYN_SYSTEM_HOST", "system_host"},
    {"DYN_SYSTEM_HEALTH_PATH", "system_health_path"},
    {"DYN_SYSTEM_LIVE_PATH", "system_live_path"},
    {"DYN_SYSTEM_STARTING_HEALTH_STATUS", "starting_health_status"},
    {"DYN_SYSTEM_USE_ENDPOINT_HEALTH_STATUS", "use_endpoint_health_status"},
    {"DYN_SYSTEM_ENABLED", "system_enabled"},
    {"DYN_HEALTH_CHECK_ENABLED", "health_check_enabled"},
    {"DYN_CANARY_WAIT_TIME", "canary_wait_time_secs"},
    {"DYN_HEALTH_CHECK_REQUEST_TIMEOUT", "health_check_request_timeout_secs"},
    {"DYN_HEALTH_CHECK_PAYLOAD", "health_check_payload"},
};
enum { NAMES = sizeof names / sizeof *names };

static char paths[2][512];
static struct setting_found found[NAMES];
static char texts[NAMES][256];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool read_already; // atomic; first set under lock, while the library starts

static int row_of(const char *name)
{
    for (int i = 0; i < NAMES; i++)
        if (strcmp(names[i][0], name) == 0)
            return i;
    return -1;
}

static void take(const char *path, const struct toml *root)
{
    for (int i = 0; i < NAMES; i++) {
        const struct toml *t = toml_get(root, names[i][1]);
        struct buf b;
        if (!t || found[i].text)
            continue;
        buf_init(&b, sizeof texts[i]);
        if (t->type == TOML_STRING)
            buf_add(&b, t->text);
        else
            toml_print(t, &b);
        if (b.err == ERR_OK && b.n < sizeof texts[i]) {
            memcpy(texts[i], b.p, b.n);
            texts[i][b.n] = 0;
            found[i] = (struct setting_found){texts[i], path, t->line};
        }
        buf_free(&b);
    }
}

static void read_file(const char *path)
{
    struct buf text;
    struct arena arena;
    struct toml *root;
    struct error err = {0};
    ssize_t n = 1;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return;
    buf_init(&text, MAX_SETTINGS_FILE);
    arena_init(&arena, MIB(8));
    for (char *to; n > 0 && (to = buf_reserve(&text, 4096));) {
        n = read(fd, to, 4096);
        text.n += n > 0 ? (size_t)n : 0;
    }
    close(fd);
    if (n == 0 && toml_parse(buf_slice(&text), &arena, &root, &err) == ERR_OK) {
        take(path, root);
    } else {
        char note[ERROR_MESSAGE_MAX + 640];
        sdk_note(note, (size_t)snprintf(note, sizeof note, "sonde: %s: %s; the file is not used\n", path,
                                        err.msg[0] ? err.msg
                                        : n < 0    ? strerror(errno)
                                                   : "larger than 1 MiB"));
    }
    arena_free(&arena);
    buf_free(&text);
}

void settings_runtime_forget(void)
{
    memset(found, 0, sizeof found);
    read_already = false;
}

bool settings_runtime_row(const char *name)
{
    return row_of(name) >= 0;
}

bool settings_runtime(const char *name, struct setting_found *out)
{
    static const char *const parts[] = {"etc", "defaults"}; // the first that says something wins
    int i = row_of(name);
    if (i < 0)
        return false;
    if (!__atomic_load_n(&read_already, __ATOMIC_ACQUIRE)) {
        pthread_mutex_lock(&lock);
        for (int k = 0; k < 2 && !read_already; k++) {
            snprintf(paths[k], sizeof paths[k], "%s/%s/runtime.toml", settings_runtime_root, parts[k]);
            read_file(paths[k]);
        }
        __atomic_store_n(&read_already, true, __ATOMIC_RELEASE);
        pthread_mutex_unlock(&lock);
    }
    *out = found[i];
    return out->text != NULL;
}
