// Resources: made, merged, found. The process's own is looked at in children with an environment of theirs.
#include "check.h"
#include "child.h"
#include "sdk/resource.h"
#include <sonde/export.h>

#define MUST(x)                                                     \
    do {                                                            \
        if (!(x)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); \
            return 1;                                               \
        }                                                           \
    } while (0)

static const char *text_of(const struct sonde_resource *r, const char *key)
{
    struct sonde_resource_attribute a;
    return sonde_resource_find(r, key, &a) ? a.text : "(none)";
}

static void made(void **state)
{
    (void)state;
    struct sonde_field f[] = {SONDE_FIELD(SONDE_STR("a", "1")), SONDE_FIELD(SONDE_INT("n", -7)),
                              SONDE_FIELD(SONDE_BOOL("yes", true)), SONDE_FIELD(SONDE_STR("a", "2")),
                              SONDE_FIELD(SONDE_STR("gone", NULL))};
    struct sonde_resource_attribute a;
    struct sonde_resource *r = sonde_resource_new(f, 5, "https://example.org/1");
    assert_non_null(r);
    assert_int_equal(sonde_resource_count(r), 3);
    assert_string_equal(text_of(r, "a"), "2"); // the later one
    assert_string_equal(text_of(r, "n"), "-7");
    assert_string_equal(text_of(r, "yes"), "true");
    assert_true(sonde_resource_find(r, "n", &a) && a.type == SONDE_TYPE_INT);
    assert_false(sonde_resource_find(r, "gone", &a));
    assert_true(sonde_resource_at(r, 2, &a));
    assert_false(sonde_resource_at(r, 3, &a));
    assert_string_equal(sonde_resource_schema_url(r), "https://example.org/1");
    sonde_resource_free(r);
    r = sonde_resource_new(NULL, 0, NULL); // empty
    assert_non_null(r);
    assert_int_equal(sonde_resource_count(r), 0);
    assert_string_equal(sonde_resource_schema_url(r), "");
    sonde_resource_free(r);
    sonde_resource_free(NULL);
}

static void merged(void **state)
{
    (void)state;
    static const struct {
        const char *old, *updating, *want;
    } urls[] = {{"", "", ""}, {"u1", "", "u1"}, {"", "u2", "u2"}, {"u1", "u1", "u1"}, {"u1", "u2", "u2"}};
    struct sonde_field f[] = {SONDE_FIELD(SONDE_STR("both", "old")), SONDE_FIELD(SONDE_STR("old", "x"))};
    struct sonde_field g[] = {SONDE_FIELD(SONDE_STR("both", "new")), SONDE_FIELD(SONDE_STR("new", "y"))};
    for (size_t i = 0; i < CHECK_ROWS(urls); i++) {
        struct sonde_resource *a = sonde_resource_new(f, 2, urls[i].old), *b = sonde_resource_new(g, 2, urls[i].updating);
        struct sonde_resource *m = sonde_resource_merge(a, b);
        check_row("%s + %s", urls[i].old, urls[i].updating);
        CHECK_INT(sonde_resource_count(m), 3);
        CHECK_STR(slice_str(text_of(m, "both")), "new");
        CHECK_STR(slice_str(text_of(m, "old")), "x");
        CHECK_STR(slice_str(text_of(m, "new")), "y");
        CHECK_STR(slice_str(sonde_resource_schema_url(m)), urls[i].want);
        CHECK_STR(slice_str(text_of(a, "both")), "old"); // neither has changed
        sonde_resource_free(a);
        sonde_resource_free(m);
        m = sonde_resource_merge(NULL, b);
        CHECK_INT(sonde_resource_count(m), 2);
        sonde_resource_free(m);
        m = sonde_resource_merge(b, NULL);
        CHECK_INT(sonde_resource_count(m), 2);
        sonde_resource_free(b);
        sonde_resource_free(m);
    }
    check_done();
}

static void lists(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int n; // -1: bad, all of it
        const char *key, *value;
    } rows[] = {
        {"", 0, NULL, NULL},
        {"a=1", 1, "a", "1"},
        {" a = 1 , b=2,", 2, "a", "1"},
        {"a=x%20y%2Cz", 1, "a", "x y,z"},
        {"a%3Db=1", 1, "a=b", "1"},
        {"a=1=2", 1, "a", "1=2"},
        {"a=", 1, "a", ""},
        {"a", -1, NULL, NULL},
        {"=1", -1, NULL, NULL},
        {"a=1,b", -1, NULL, NULL},
        {"a=%", -1, NULL, NULL},
        {"a=%4", -1, NULL, NULL},
        {"a=1,b=%zz", -1, NULL, NULL},
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct buf b;
        buf_init(&b, KIB(64));
        check_row("'%s'", rows[i].text);
        CHECK_INT(resource_list(&b, rows[i].text), rows[i].n >= 0);
        struct sonde_resource *r = resource_of(buf_slice(&b), NULL);
        CHECK_INT(sonde_resource_count(r), rows[i].n < 0 ? 0 : rows[i].n);
        if (rows[i].key)
            CHECK_STR(slice_str(text_of(r, rows[i].key)), rows[i].value);
        sonde_resource_free(r);
        buf_free(&b);
    }
    check_done();
}

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define XX "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
static void containers(void **state)
{
    (void)state;
    static const struct {
        const char *what, *cgroup, *mounts;
        bool found;
    } rows[] = {
        {"v1 docker", "12:pids:/docker/" ID "\n11:cpu:/docker/" ID "\n", "", true},
        {"v1 kubernetes", "1:name=systemd:/kubepods/burstable/pod1/" ID "\n", "", true},
        {"systemd scope", "0::/system.slice/docker-" ID ".scope\n", "", true},
        {"cri-o", "0::/kubepods.slice/crio-" ID ".scope\n", "", true},
        {"containerd", "0::/kubepods.slice/cri-containerd-" ID ".scope", "", true},
        {"v2, docker's mounts", "0::/\n", "1 2 8:1 /var/lib/docker/containers/" ID "/hostname /etc/hostname rw\n", true},
        {"v2, podman", "0::/\n", "1 2 0:1 /containers/overlay-containers/" ID "/userdata/hosts /etc/hosts rw\n", true},
        {"v2, containerd's sandbox", "0::/\n",
         "1 2 0:1 /run/containerd/io.containerd.grpc.v1.cri/sandboxes/" ID "/resolv.conf x\n", true},
        {"a layer is no container", "0::/\n", "1 2 0:1 / / rw lowerdir=/var/lib/docker/overlay2/" XX "/diff\n", false},
        {"none", "0::/user.slice\n", "1 2 8:1 / / rw\n", false},
        {"too short", "0::/docker/0123456789abcdef\n", "", false},
        {"too long", "0::/docker/" ID "0\n", "", false},
        {"empty", "", "", false},
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        char id[65] = "";
        check_row("%s", rows[i].what);
        CHECK_INT(resource_container_id(slice_str(rows[i].cgroup), slice_str(rows[i].mounts), id), rows[i].found);
        CHECK_STR(slice_str(id), rows[i].found ? ID : "");
    }
    check_done();
}

// ---- the process's own ----------------------------------------------------------------------------------------------
static struct sonde_resource *detector(void *arg)
{
    struct sonde_field f[] = {SONDE_FIELD(SONDE_STR("found", arg)), SONDE_FIELD(SONDE_STR("host.arch", "mine")),
                              SONDE_FIELD(SONDE_STR("from.env", "loses"))};
    return sonde_resource_new(f, 3, "https://example.org/detector");
}
static struct sonde_resource *nothing(void *arg)
{
    (void)arg;
    return NULL;
}

static int whole(void *arg)
{
    (void)arg;
    MUST(sonde_resource_detector_add("gpu", detector, "by detector") && sonde_resource_detector_add("none", nothing, NULL));
    MUST(!sonde_resource_detector_add("gpu", detector, "") && !sonde_resource_detector_add("host", detector, ""));
    MUST(!sonde_resource_detector_add("", detector, "") && !sonde_resource_detector_add("x", NULL, ""));
    MUST(resource_note("test.note", "abc") && !resource_note("test.note", "abc"));
    sonde_init(&(struct sonde_options){.service = "own name", .resource = "component=decode,from.env=option"});
    struct sonde_field more[] = {SONDE_FIELD(SONDE_STR("component", "updated"))};
    struct sonde_resource *u = sonde_resource_new(more, 1, NULL), *r;
    MUST(sonde_resource_update(u) && !sonde_resource_update(NULL));
    sonde_resource_free(u);
    MUST((r = sonde_resource_current()) != NULL);
    MUST(!strcmp(text_of(r, "service.name"), "named") && !strcmp(text_of(r, "from.env"), "wins x"));
    MUST(!strcmp(text_of(r, "found"), "by detector") && !strcmp(text_of(r, "host.arch"), "mine"));
    MUST(!strcmp(text_of(r, "component"), "updated") && !strcmp(text_of(r, "test.note"), "abc"));
    MUST(!strcmp(text_of(r, "k8s.pod.name"), "pod-1") && !strcmp(text_of(r, "k8s.node.name"), "node-1"));
    MUST(!strcmp(text_of(r, "k8s.namespace.name"), "space") && !strcmp(text_of(r, "k8s.pod.uid"), "uid-1"));
    MUST(!strcmp(text_of(r, "os.type"), "linux") && strcmp(text_of(r, "os.version"), "(none)") != 0);
    MUST(!strcmp(text_of(r, "telemetry.sdk.language"), "c") && !strcmp(text_of(r, "process.owner"), "somebody"));
    MUST(strstr(text_of(r, "process.executable.path"), "test_sdk_resource"));
    MUST(!strcmp(sonde_resource_schema_url(r), "https://example.org/detector"));
    sonde_resource_free(r);
    return 0;
}

static int bad_list(void *arg) // the whole list is ignored; the service is the program's name
{
    (void)arg;
    struct sonde_resource *r = sonde_resource_current();
    MUST(!strcmp(text_of(r, "good"), "(none)") && !strcmp(text_of(r, "service.name"), "test_sdk_resource"));
    MUST(!strcmp(text_of(r, "host.arch"), "(none)") && !strcmp(text_of(r, "k8s.pod.name"), "(none)"));
    MUST(strcmp(text_of(r, "process.executable.name"), "(none)") != 0); // the one that was selected
    MUST(strcmp(text_of(r, "host.name"), "(none)") != 0);               // what always is there
    sonde_resource_free(r);
    return 0;
}

static void own(void **state)
{
    (void)state;
    struct buf out;
    const char *all[] = {"OTEL_SERVICE_NAME=named", "OTEL_RESOURCE_ATTRIBUTES=from.env=wins%20x,service.name=loses",
                         "POD_NAME=pod-1",          "OTEL_RESOURCE_ATTRIBUTES_POD_UID=uid-1",
                         "K8S_NAMESPACE=space",     "NODE_NAME=node-1",
                         "LOGNAME=somebody",        NULL};
    const char *bad[] = {"OTEL_RESOURCE_ATTRIBUTES=good=1,bad", "SONDE_RESOURCE_DETECTORS=process, nonsense", "POD_NAME=pod-1",
                         NULL};
    int rc = child_run(whole, NULL, all, &out);
    if (rc)
        fail_msg("%s", out.p);
    buf_free(&out);
    rc = child_run(bad_list, NULL, bad, &out);
    if (rc || !strstr(out.p, "OTEL_RESOURCE_ATTRIBUTES") || !strstr(out.p, "all of it is ignored"))
        fail_msg("%s", out.p);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(made), cmocka_unit_test(merged), cmocka_unit_test(lists),
                                       cmocka_unit_test(containers), cmocka_unit_test(own)};
    return cmocka_run_group_tests(tests, child_setup, child_teardown);
}
