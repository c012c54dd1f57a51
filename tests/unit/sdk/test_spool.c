// The spool: what is put comes back whole, oldest first, to one taker at a time, and never more than fits.
#include "base/limits.h"
#include "check.h"
#include "sdk/spool.h"
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[] = "/dev/shm/sonde-spool-XXXXXX", path[64];

static int make_dir(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return 1;
    snprintf(path, sizeof path, "%s/deep/signal", dir);
    return 0;
}

static int remove_dir(void **state)
{
    char command[64];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

static struct spool *open_spool(uint64_t max)
{
    char deep[64];
    snprintf(deep, sizeof deep, "%s/deep", dir);
    return spool_new(deep, "signal", max);
}

// The files in it, sorted by name; only those of batches when `batches`.
static int list(char names[][SPOOL_NAME], int max, bool batches)
{
    struct dirent **found;
    int n = scandir(path, &found, NULL, alphasort), k = 0;
    for (int i = 0; i < n; i++) {
        bool batch = strstr(found[i]->d_name, ".otlp") && found[i]->d_name[0] != '.';
        if (k < max && (batches ? batch : found[i]->d_name[0] != '.' || strstr(found[i]->d_name, "tmp")))
            snprintf(names[k++], SPOOL_NAME, "%.79s", found[i]->d_name);
        free(found[i]);
    }
    free(n >= 0 ? found : NULL);
    return k;
}

static bool take_is(struct spool *s, const char *want, size_t items, bool delivered)
{
    char name[SPOOL_NAME];
    struct buf b;
    size_t n = 0;
    unsigned damaged;
    buf_init(&b, MIB(64));
    bool ok = spool_take(s, name, &b, &n, &damaged) && n == items && slice_eq(buf_slice(&b), slice_str(want));
    if (ok)
        spool_done(s, name, delivered);
    buf_free(&b);
    return ok;
}

static void in_order(void **state)
{
    (void)state;
    struct spool *s = open_spool(MIB(1)), *other = open_spool(MIB(1));
    char names[16][SPOOL_NAME], name[SPOOL_NAME], again[SPOOL_NAME], why[300] = "";
    struct buf b, c;
    size_t items;
    unsigned damaged;
    buf_init(&b, MIB(1));
    buf_init(&c, MIB(1));
    assert_false(spool_any(s));
    assert_false(spool_take(s, name, &b, &items, &damaged));
    assert_true(spool_put(s, SLICE("first"), 1, why, sizeof why));
    assert_true(spool_put(s, SLICE("second"), 22, why, sizeof why));
    assert_true(spool_put(other, SLICE("third"), 3, why, sizeof why));
    assert_int_equal(list(names, 16, false), 3); // nothing half-made is left
    assert_true(spool_any(s) && spool_any(other));
    assert_true(spool_take(s, name, &b, &items, &damaged));
    assert_false(spool_take(s, again, &c, &items, &damaged));     // one is under way here
    assert_false(spool_take(other, again, &c, &items, &damaged)); // and elsewhere
    spool_done(s, name, false);                                   // not delivered: the same again
    assert_true(take_is(other, "first", 1, true));
    assert_true(take_is(s, "second", 22, true));
    assert_true(take_is(s, "third", 3, true));
    assert_false(spool_any(s));
    buf_free(&b);
    buf_free(&c);
    spool_free(s);
    spool_free(other);
    spool_free(NULL);
}

// A process that is killed while it delivers leaves the file and no lock.
static void killed(void **state)
{
    (void)state;
    struct spool *s = open_spool(MIB(1));
    assert_true(spool_put(s, SLICE("survives"), 5, NULL, 0));
    pid_t pid = fork();
    if (pid == 0) {
        char name[SPOOL_NAME];
        struct buf b;
        size_t items;
        unsigned damaged;
        buf_init(&b, MIB(1));
        if (!spool_take(s, name, &b, &items, &damaged))
            _exit(1);
        kill(getpid(), SIGKILL);
    }
    int status;
    waitpid(pid, &status, 0);
    assert_true(WIFSIGNALED(status));
    assert_true(take_is(s, "survives", 5, true));
    spool_free(s);
}

static void damaged_files(void **state)
{
    (void)state;
    struct spool *s = open_spool(MIB(1));
    // Every byte of the file in turn is another one; every shorter length.
    for (size_t at = 0; at < SPOOL_HEAD + 6; at++) {
        for (int cut = 0; cut < 2; cut++) {
            char names[4][SPOOL_NAME], file[200], name[SPOOL_NAME];
            struct buf b;
            size_t items;
            unsigned damaged;
            uint8_t byte;
            assert_true(spool_put(s, SLICE("broken"), 4, NULL, 0));
            assert_int_equal(list(names, 4, true), 1);
            snprintf(file, sizeof file, "%s/%s", path, names[0]);
            assert_true(spool_put(s, SLICE("whole"), 9, NULL, 0));
            int fd = open(file, O_RDWR);
            if (cut) {
                assert_int_equal(ftruncate(fd, (off_t)at), 0);
            } else {
                assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
                byte ^= 0x10;
                assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
            }
            close(fd);
            buf_init(&b, MIB(1));
            assert_true(spool_take(s, name, &b, &items, &damaged));
            assert_int_equal(damaged, 1);
            assert_true(items == 9 && slice_eq(buf_slice(&b), SLICE("whole")));
            spool_done(s, name, true);
            assert_int_equal(list(names, 4, true), 0); // the damaged one is gone as well
            buf_free(&b);
        }
    }
    spool_free(s);
}

static void bounded(void **state)
{
    (void)state;
    struct spool *s = open_spool(3 * (SPOOL_HEAD + 100));
    char bytes[100] = {1}, why[300] = "", names[16][SPOOL_NAME];
    for (int i = 0; i < 3; i++)
        assert_true(spool_put(s, slice_of(bytes, 100), 1, why, sizeof why));
    assert_false(spool_put(s, slice_of(bytes, 100), 1, why, sizeof why));
    assert_non_null(strstr(why, "SONDE_SPOOL_BYTES"));
    assert_int_equal(list(names, 16, true), 3);
    char one[SPOOL_NAME];
    struct buf b;
    size_t items;
    unsigned damaged;
    buf_init(&b, MIB(1));
    assert_true(spool_take(s, one, &b, &items, &damaged));
    spool_done(s, one, true);
    assert_true(spool_put(s, slice_of(bytes, 100), 1, why, sizeof why)); // room again
    buf_free(&b);
    spool_free(s);
    // A directory that cannot be: said, not fatal.
    s = spool_new("/proc/nowhere", "x", MIB(1));
    assert_false(spool_put(s, SLICE("a"), 1, why, sizeof why));
    assert_non_null(strstr(why, "/proc/nowhere"));
    assert_false(spool_any(s));
    spool_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(in_order), cmocka_unit_test(killed), cmocka_unit_test(damaged_files),
                                       cmocka_unit_test(bounded)};
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
