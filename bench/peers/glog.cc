// glog: text (it writes no JSON); every call formats and writes into a buffer under a lock. Variant: text.
#include "harness.h"
#include <glog/logging.h>

static bool peer_open(const char *variant, const char *file)
{
    if (strcmp(variant, "text") != 0)
        return false;
    FLAGS_timestamp_in_logfile_name = false; // the file's name is then what we say
    FLAGS_stderrthreshold = google::NUM_SEVERITIES;
    google::InitGoogleLogging("bench_peers_glog");
    google::SetLogDestination(google::GLOG_INFO, file);
    google::SetLogSymlink(google::GLOG_INFO, "");
    return true;
}

static inline void peer_call(int64_t i)
{
    LOG(INFO) << "kv transfer done worker="
              << "decode-worker-1"
              << " tokens=" << i << " blocks=" << 17 << " ms=" << 1.25;
}

static inline void peer_disabled(int64_t i)
{
    VLOG(1) << "never i=" << i;
}

static void peer_drain(void) {}

static void peer_close(void)
{
    google::ShutdownGoogleLogging();
}

static int peer_batch(void)
{
    return 4000;
}
