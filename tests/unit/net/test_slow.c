// Clients that take their time: each step has its limit, whatever else they send meanwhile. What ought to happen is waited for
// as long as the slowest machine may need; a limit itself is never measured.
#include "net_test.h"

#include "base/alloc.h"

enum { PATIENCE_MS = 30000, DRIP_US = 5000, H2_PING = 6, H2_RST = 3 };

static int start_impatient(void **state)
{
    return start_with((struct http_server_options){.stall_ns = 80 * MS}, 1);
}

// Sends the text again and again, a byte at a time; true when the server closed.
static bool drip_until_closed(int fd, const char *text)
{
    size_t n = strlen(text);
    int64_t end = clock_mono_ns() + PATIENCE_MS * MS;
    for (size_t i = 0; clock_mono_ns() < end; i++) {
        if (send(fd, text + i % n, 1, MSG_NOSIGNAL) < 0)
            return true;
        usleep(DRIP_US);
    }
    return false;
}

// Half a head, half a body: told 408. Who waits for a slow handler is left alone.
static void test_stall(void **state)
{
    static const char *const part[] = {
        "GET /a/b HTTP/1.1\r\nHo",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc",
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    };
    static char reply[KIB(4)];
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        int fd = dial();
        say(fd, part[i], strlen(part[i]));
        hear(fd, reply, sizeof reply, NULL, PATIENCE_MS);
        assert_true(strncmp(reply, "HTTP/1.1 408 ", 13) == 0);
        close(fd);
    }
    expect("/later", 200, "late");
}

// Each drop is progress, the whole is late all the same: a head, HTTP/2's first line, a body that nobody wants, and what comes
// while the reply is not taken.
static void test_drops(void **state)
{
    static const char refused[] = "POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n";
    static char reply[KIB(4)], big[MIB(16)];
    int fd = dial();
    assert_true(
        drip_until_closed(fd, "GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
    close(fd);
    fd = dial();
    say(fd, refused, sizeof refused - 1);
    hear(fd, reply, sizeof reply, "allows\n", PATIENCE_MS);
    assert_non_null(strstr(reply, " 413 "));
    assert_true(drip_until_closed(fd, "x"));
    close(fd);
    fd = dial();
    int small = 4096;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    say(fd, reply,
        (size_t)snprintf(reply, sizeof reply, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n", sizeof big));
    say(fd, big, sizeof big);
    assert_true(drip_until_closed(fd, "x"));
    close(fd);
}

// Twenty-three bytes of HTTP/2's first line, spread out, may not take longer than a head.
static void test_preface(void **state)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r";
    int fd = dial();
    for (size_t i = 0; i + 1 < sizeof preface; i++) {
        if (send(fd, preface + i, 1, MSG_NOSIGNAL) < 0)
            break;
        usleep(20000);
    }
    assert_true(closed(fd, PATIENCE_MS));
    close(fd);
}

// ---- HTTP/2 ---------------------------------------------------------------------------------------------------------
static bool take(int fd, uint8_t *to, size_t n, int wait_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, wait_ms) <= 0)
        return false;
    for (size_t at = 0; at < n;) {
        ssize_t k = recv(fd, to + at, n - at, 0);
        if (k <= 0)
            return false;
        at += (size_t)k;
    }
    return true;
}

// Pings until stream 1 is reset; returns the code, or -1.
static int64_t reset_code(int fd)
{
    static const uint8_t ping[] = {0, 0, 8, H2_PING, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8};
    int64_t end = clock_mono_ns() + PATIENCE_MS * MS;
    while (clock_mono_ns() < end) {
        uint8_t head[9], body[KIB(16)];
        if (send(fd, ping, sizeof ping, MSG_NOSIGNAL) < 0)
            return -1;
        while (take(fd, head, sizeof head, DRIP_US / 1000)) {
            size_t n = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
            assert_in_range(n, 0, sizeof body);
            assert_true(n == 0 || take(fd, body, n, PATIENCE_MS));
            if (head[3] == H2_RST && head[8] == 1)
                return (int64_t)body[2] << 8 | body[3];
        }
    }
    return -1;
}

#define H2_START "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// Streams that stand still while the connection pings: half a body, a refused body that never ends, a window that stays shut.
static void test_streams(void **state)
{
    static const struct {
        const char *text;
        size_t n;
        int code;
    } t[] = {
#define T(text, code) {text, sizeof text - 1, code}
        T(H2_START "\0\0\0\4\0\0\0\0\0"
                   "\0\0\x06\1\4\0\0\0\1\x83\x86\x84\x01\x01"
                   "a",
          8), // CANCEL
        T(H2_START "\0\0\0\4\0\0\0\0\0"
                   "\0\0\x14\1\4\0\0\0\1\x83\x86\x04\x06/small\x01\x01"
                   "a\x0f\x0d\x04"
                   "2000",
          0), // NO_ERROR, after its 413
        T(H2_START "\0\0\6\4\0\0\0\0\0\0\4\0\0\0\0"
                   "\0\0\x0b\1\5\0\0\0\1\x82\x86\x04\x04/a/b\x01\x01"
                   "a",
          8),
#undef T
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        int fd = dial();
        say(fd, t[i].text, t[i].n);
        int64_t code = reset_code(fd);
        if (code != t[i].code)
            fail_msg("case %zu: %d", i, (int)code);
        close(fd);
    }
    int fd = dial(); // without the pings the connection goes
    say(fd, t[0].text, t[0].n);
    static char rest[KIB(4)];
    hear(fd, rest, sizeof rest, NULL, PATIENCE_MS);
    close(fd);
}

// ---- what is slow and right -----------------------------------------------------------------------------------------
// A head in two pieces, then a body that goes on, but longer in all than a single step may take. The limits differ so that a
// machine too busy for the first passes with one of the others.
static bool slow_upload(int64_t stall_ns)
{
    static const char head[] = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\n";
    static char reply[KIB(4)];
    start_with((struct http_server_options){.stall_ns = stall_ns}, 1);
    int fd = dial();
    say(fd, head, 20);
    usleep(20000);
    say(fd, head + 20, sizeof head - 21);
    for (int i = 0; i < 40; i++) {
        usleep((unsigned)(stall_ns / 1000 / 25));
        say(fd, "x", 1);
    }
    hear(fd, reply, sizeof reply, "xxxx", PATIENCE_MS);
    close(fd);
    stop(NULL);
    return strstr(reply, " 200 OK") != NULL;
}

static void test_slow_upload(void **state)
{
    assert_true(slow_upload(400 * MS) || slow_upload(2000 * MS) || slow_upload(8000 * MS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_stall, start_impatient, stop),
        cmocka_unit_test_setup_teardown(test_drops, start_impatient, stop),
        cmocka_unit_test_setup_teardown(test_preface, start_impatient, stop),
        cmocka_unit_test_setup_teardown(test_streams, start_impatient, stop),
        cmocka_unit_test(test_slow_upload),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
