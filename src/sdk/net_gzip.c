#include "sdk/net_part.h"
#include "sdk/sdk.h"

bool net_gzip(void)
{
    static atomic_flag said = ATOMIC_FLAG_INIT;
    static const char text[] = "sonde: gzip is asked for and libz.so.1 is not installed; requests are sent uncompressed\n";
    const struct net_part *net = net_part();
    if (!net || net->has_gzip())
        return net;
    if (!atomic_flag_test_and_set(&said))
        sdk_note(text, sizeof text - 1);
    return false;
}
