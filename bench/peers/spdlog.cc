// spdlog: text (it writes no JSON by itself). Variants: block and oldest, its asynchronous logger with either overrun policy and
// its own queue length of 8192; sync, which writes in the call.
#include "harness.h"
#include <spdlog/async.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/spdlog.h>

static std::shared_ptr<spdlog::logger> held;
static spdlog::logger *logger;

static bool peer_open(const char *variant, const char *file)
{
    std::string v = variant;
    if (v == "sync") {
        held = spdlog::basic_logger_mt("bench", file, true);
    } else if (v == "block" || v == "oldest") {
        spdlog::init_thread_pool(spdlog::details::default_async_q_size, 1);
        if (v == "block")
            held = spdlog::basic_logger_mt<spdlog::async_factory>("bench", file, true);
        else
            held = spdlog::basic_logger_mt<spdlog::async_factory_nonblock>("bench", file, true);
    } else {
        return false;
    }
    held->set_level(spdlog::level::info);
    held->set_pattern("%Y-%m-%dT%H:%M:%S.%f %l %s:%# %v");
    logger = held.get();
    return true;
}

static inline void peer_call(int64_t i)
{
    SPDLOG_LOGGER_INFO(logger, "kv transfer done worker={} tokens={} blocks={} ms={}", "decode-worker-1", i, 17, 1.25);
}

static inline void peer_disabled(int64_t i)
{
    logger->trace("never i={}", i);
}

static void peer_drain(void)
{
    auto pool = spdlog::thread_pool();
    while (pool && pool->queue_size() > 0)
        usleep(50);
}

static void peer_close(void)
{
    logger = nullptr;
    held.reset();
    spdlog::shutdown(); // ends the writing thread when its queue is empty, and closes the file
}

static int peer_batch(void)
{
    return 4000;
}
