// The public headers compile as C++17 without a warning, and the macros work there.
#include <array>
#include <chrono>
#include <sonde/config.h>
#include <sonde/export.h>
#include <sonde/genai.h>
#include <sonde/logger.h>
#include <sonde/sonde.h>
#include <sonde/status.h>
#include <string>
#include <string_view>
#include <vector>

extern "C" int headers_in_c(void);

// Every macro, with the types that C++ adds.
static void typed_in_cxx(const std::string &s, char *p)
{
    using namespace std::chrono_literals;
    enum plain { zero };
    const std::vector<int64_t> ints{1, 2};
    const std::array<double, 2> doubles{0.5, 1};
    const std::vector<const char *> strings{"a", "b"};
    const std::vector<unsigned char> bytes{1, 255};
    const uint8_t id[16] = {};
    const sonde_field fields[] = {SONDE_FIELD(SONDE_KV(p, 1)), SONDE_FIELD(SONDE_STR("s", "v"))};
    SONDE_INFO("kv", SONDE_KV("s", s), SONDE_KV("view", std::string_view("view")), SONDE_KV("ints", ints),
               SONDE_KV("doubles", doubles), SONDE_KV("strings", strings), SONDE_KV("bytes", bytes), SONDE_KV("ms", 5ms),
               SONDE_KV("s2", 1.5s), SONDE_KV("min", 2min), SONDE_KV("e", zero), SONDE_KV("u", 3ull), SONDE_KV("p", p),
               SONDE_KV("l", "lit"), SONDE_KV("b", true), SONDE_KV("f", 0.5f), SONDE_KV("c", 'A'));
    SONDE_INFO("typed", SONDE_BYTES("b", "ab", 2), SONDE_ERRNO("e", 2), SONDE_ERR("m", 7, "x"), SONDE_ID("id", id),
               SONDE_DUR("d", 1500), SONDE_INTS("i", ints.data(), ints.size()), SONDE_F64S("f", doubles.data(), 2),
               SONDE_STRS("s", strings.data(), 2));
    SONDE_WARNF("format %s %d %p %.1f %zu %s", SONDE_ARGS(s.c_str(), 3, static_cast<void *>(nullptr), 2.0, sizeof s, p));
    SONDE_INFOF("format and field %d", SONDE_ARGS(1), SONDE_KV("k", 2));
    SONDE_WARN_LIMIT(SONDE_EVERY(10, 100, 1), "limited", SONDE_INT("a", 1));
    SONDE_LOGF_LIMIT(SONDE_LEVEL_INFO, SONDE_DEDUP(0.5), "limited %d", SONDE_ARGS(1));
    SONDE_LOG_ARRAY(SONDE_LEVEL_INFO, s.c_str(), fields, 2);
}

// Spans of a block, in both forms.
static bool spans_in_cxx(const std::string &s)
{
    sonde::span outer("outer", SONDE_KIND_SERVER);
    outer.set("text", s);
    outer.set("number", 7);
    outer.set("yes", true);
    outer.event("here");
    outer.error("failed");
    SONDE_SPAN("inner", SONDE_KV("n", 1), SONDE_STR("s", s.c_str()));
    SONDE_SPAN_AS(last, "last");
    SONDE_SPAN_SET(last, SONDE_KV("text", s), SONDE_F64("f", 0.5));
    SONDE_SPAN_EVENT(last, "event", SONDE_INT("n", 1));
    SONDE_SPAN_EVENT(outer, "without fields");
    sonde_phase(outer, SONDE_PHASE_QUEUED);
    return sonde_span_current() == last && sonde_span_is_recording(outer);
}

static int in_cxx()
{
    std::string name = "w-1";
    sonde_init(nullptr);
    SONDE_INFO("from C++", SONDE_STR("name", name.c_str()), SONDE_STRN("part", name.data(), 1), SONDE_INT("n", -3),
               SONDE_UINT("u", 4u), SONDE_F64("f", 1.5), SONDE_BOOL("b", true));
    SONDE_WARN("no fields");
    char key[] = "key";
    typed_in_cxx(name, key);
    sonde_span *span = sonde_span_start("cxx", SONDE_KIND_INTERNAL, nullptr);
    sonde_span_enter(span);
    int ids = sonde_current() != nullptr;
    sonde_span_end(span);
    return ids && spans_in_cxx(name) && SONDE_ENABLED(SONDE_LEVEL_ERROR) && !SONDE_ENABLED(SONDE_LEVEL_TRACE);
}

int main()
{
    return in_cxx() && headers_in_c() ? 0 : 1;
}
