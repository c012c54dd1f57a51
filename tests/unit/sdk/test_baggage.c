// Baggage: the list, its header in both directions, its limits; and the contexts it is attached by.
#include "check.h"
#include <pthread.h>
#include <sonde/sonde.h>
#include <stdlib.h>

static struct sonde_baggage *parsed(const char *header, bool *ok)
{
    struct sonde_baggage *b = sonde_baggage_new();
    *ok = sonde_baggage_parse(b, header, strlen(header));
    return b;
}

static void headers(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        bool ok;
        const char *out; // printed again
    } rows[] = {
        {"k=v", true, "k=v"},
        {"a=1,b=2", true, "a=1,b=2"},
        {" a = 1 ,\tb = 2 ", true, "a=1,b=2"},
        {"a=1,a=2", true, "a=1,a=2"}, // duplicates keep their order
        {"a=", true, "a="},
        {"a=%20x%2C%3B%25", true, "a=%20x%2C%3B%25"},
        {"a=x%zz", true, "a=x%25zz"}, // no escape: as it is
        {"a=x%", true, "a=x%25"},
        {"a=Am%C3%A9lie", true, "a=Am%C3%A9lie"},
        {"a=%FF%41", true, "a=%EF%BF%BDA"}, // not UTF-8: U+FFFD
        {"a=%C3%28", true, "a=%EF%BF%BD("},
        {"a=x=y==", true, "a=x=y=="},
        {"a=!#$&'()*+-./:<=>?@[]^_`{|}~", true, "a=!#$&'()*+-./:<=>?@[]^_`{|}~"},
        {"a=1;p", true, "a=1;p"},
        {"a=1;p=2;q", true, "a=1;p=2;q"},
        {"a = 1 ; p = 2 ; q ,b=3", true, "a=1;p = 2 ; q,b=3"},
        {"a=1,,b=2", true, "a=1,b=2"},
        {"a=1,", true, "a=1"},
        {",", true, ""},
        {"", true, ""},
        {"a", false, ""},
        {"=1", false, ""},
        {"a b=1", false, ""},
        {"a(=1", false, ""},
        {"\xc3\xa9=1", false, ""},
        {"a=x y", false, ""},
        {"a=\"q\"", false, ""},
        {"a=back\\slash", false, ""},
        {"a=\xc3\xa9", false, ""},
        {"a=1;b c=2", false, ""},
        {"a=1;p=x y", false, ""},
        {"bad,b=2", false, "b=2"}, // the others are there
        {"b=2,bad", false, "b=2"},
        {"a=%00", false, ""},
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        bool ok;
        char out[300];
        struct sonde_baggage *b = parsed(rows[i].in, &ok);
        check_row("%s", rows[i].in);
        CHECK_INT(ok, rows[i].ok);
        sonde_baggage_print(b, out, sizeof out);
        CHECK_STR(slice_str(out), rows[i].out);
        sonde_baggage_free(b);
    }
    check_done();
}

static void list(void **state)
{
    (void)state;
    struct sonde_baggage *b = sonde_baggage_new();
    struct sonde_baggage_member m;
    char out[300];
    CHECK(sonde_baggage_set(b, "user", "A & B", NULL) && sonde_baggage_set(b, "model", "m", "p=1"));
    CHECK(!sonde_baggage_set(b, "", "x", NULL) && !sonde_baggage_set(b, NULL, "x", NULL) &&
          !sonde_baggage_set(b, "x", NULL, NULL));
    CHECK_STR(slice_str(sonde_baggage_get(b, "user")), "A & B");
    CHECK(sonde_baggage_get(b, "User") == NULL); // names are as they are
    CHECK(sonde_baggage_set(b, "user", "C", "q"));
    CHECK_INT(sonde_baggage_count(b), 2);
    CHECK(sonde_baggage_at(b, 0, &m) && strcmp(m.name, "user") == 0 && strcmp(m.metadata, "q") == 0);
    CHECK(!sonde_baggage_at(b, 2, &m));
    sonde_baggage_print(b, out, sizeof out);
    CHECK_STR(slice_str(out), "user=C;q,model=m;p=1");
    CHECK(sonde_baggage_remove(b, "user") && !sonde_baggage_remove(b, "user"));
    struct sonde_baggage *copy = sonde_baggage_copy(b);
    sonde_baggage_clear(b);
    CHECK(sonde_baggage_count(b) == 0 && sonde_baggage_count(copy) == 1);
    CHECK(sonde_baggage_set(copy, "not a token", "x", NULL)); // allowed here, has no form in a header
    sonde_baggage_print(copy, out, sizeof out);
    CHECK_STR(slice_str(out), "model=m;p=1");
    sonde_baggage_clear(copy); // metadata could break out of its header: the value goes without it
    CHECK(sonde_baggage_set(copy, "k", "v", "p=1\r\nx-evil: 1") && sonde_baggage_set(copy, "l", "v", "p=1;\tq"));
    sonde_baggage_print(copy, out, sizeof out);
    CHECK_STR(slice_str(out), "k=v,l=v;p=1;\tq");
    sonde_baggage_parse(b, "d=1,d=2,x=3", 11);
    CHECK_STR(slice_str(sonde_baggage_get(b, "d")), "2");
    CHECK(sonde_baggage_set(b, "d", "9", NULL)); // replaces all of that name
    sonde_baggage_print(b, out, sizeof out);
    CHECK_STR(slice_str(out), "d=9,x=3");
    sonde_baggage_free(copy);
    sonde_baggage_free(b);
    check_done();
}

static void limits(void **state)
{
    (void)state;
    struct sonde_baggage *b = sonde_baggage_new();
    char header[20000], out[20000], name[16];
    size_t n = 0;
    for (int i = 0; i < 70; i++)
        n += (size_t)snprintf(header + n, sizeof header - n, "%sk%d=v", i ? "," : "", i);
    CHECK(!sonde_baggage_parse(b, header, n));
    CHECK_INT(sonde_baggage_count(b), 64);
    sonde_baggage_clear(b);
    for (int i = 0; i < 70; i++) {
        snprintf(name, sizeof name, "k%d", i);
        CHECK(sonde_baggage_set(b, name, "v", NULL));
    }
    CHECK_INT(sonde_baggage_count(b), 70);
    n = sonde_baggage_print(b, out, sizeof out); // 64 go out
    CHECK(strstr(out, "k63=v") && !strstr(out, "k64=v") && n == strlen(out));
    sonde_baggage_clear(b);
    memset(header, 'x', sizeof header);
    memcpy(header, "a=", 2); // one member that fills 8192 bytes exactly
    CHECK(sonde_baggage_parse(b, header, 8192));
    CHECK_INT(sonde_baggage_print(b, out, sizeof out), 8192);
    sonde_baggage_clear(b);
    CHECK(!sonde_baggage_parse(b, header, 8193));
    CHECK_INT(sonde_baggage_count(b), 0); // whole members, never a part of one
    char after[8200];
    memcpy(after, header, 8193);
    memcpy(after + 8193, ",c=1", 4); // what is dropped takes no room
    CHECK(!sonde_baggage_parse(b, after, 8197));
    CHECK_INT(sonde_baggage_count(b), 1);
    sonde_baggage_clear(b);
    memcpy(header, "a=1,b=", 6);
    CHECK(!sonde_baggage_parse(b, header, 8193));
    CHECK_INT(sonde_baggage_print(b, out, sizeof out), 3);
    CHECK_STR(slice_str(out), "a=1");
    CHECK_INT(sonde_baggage_print(b, out, 3), 0); // no room for it
    sonde_baggage_free(b);
    check_done();
}

// ---- contexts -------------------------------------------------------------------------------------------------------
static int freed;
static void count_free(void *value)
{
    (void)value;
    freed++;
}

static void contexts(void **state)
{
    (void)state;
    const struct sonde_ctx_key *a = sonde_ctx_key_new("k"), *b = sonde_ctx_key_new("k"); // the same name, different keys
    int one = 1, two = 2;
    freed = 0;
    CHECK(a && b && a != b && sonde_ctx_get(NULL, a) == NULL);
    struct sonde_ctx *c1 = sonde_ctx_set(NULL, a, &one, count_free), *c2 = sonde_ctx_set(c1, b, &two, NULL);
    struct sonde_ctx *c3 = sonde_ctx_set(c2, a, &two, count_free);
    CHECK(sonde_ctx_get(c1, a) == &one && sonde_ctx_get(c1, b) == NULL); // as it was
    CHECK(sonde_ctx_get(c2, a) == &one && sonde_ctx_get(c2, b) == &two);
    CHECK(sonde_ctx_get(c3, a) == &two);
    CHECK(sonde_ctx_current() == NULL);
    struct sonde_ctx *before = sonde_ctx_attach(c3), *inner = sonde_ctx_attach(c1);
    CHECK(before == NULL && inner == c3 && sonde_ctx_current() == c1);
    sonde_ctx_detach(inner);
    CHECK(sonde_ctx_current() == c3);
    sonde_ctx_unref(c1);
    sonde_ctx_unref(c2);
    sonde_ctx_unref(c3);
    CHECK_INT(freed, 0); // attached
    sonde_ctx_detach(before);
    CHECK(sonde_ctx_current() == NULL);
    CHECK_INT(freed, 2);
    check_done();
}

static void *elsewhere(void *arg)
{
    return sonde_ctx_current() == NULL && sonde_ctx_baggage(arg) ? arg : NULL;
}

static void attached(void **state)
{
    (void)state;
    struct sonde_baggage *b = sonde_baggage_new();
    sonde_baggage_set(b, "tenant", "t1", NULL);
    CHECK(sonde_baggage_current() == NULL);
    struct sonde_ctx *c = sonde_ctx_with_baggage(NULL, b), *before = sonde_ctx_attach(c);
    sonde_baggage_set(b, "tenant", "changed", NULL); // not what is attached
    sonde_baggage_free(b);
    CHECK_STR(slice_str(sonde_baggage_get(sonde_baggage_current(), "tenant")), "t1");
    pthread_t t;
    void *same;
    pthread_create(&t, NULL, elsewhere, c); // attached to this thread only; readable by all
    pthread_join(t, &same);
    CHECK(same == c);
    sonde_ctx_detach(before);
    CHECK(sonde_baggage_current() == NULL);
    sonde_ctx_unref(c);
    check_done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers),  cmocka_unit_test(list),     cmocka_unit_test(limits),
        cmocka_unit_test(contexts), cmocka_unit_test(attached),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
