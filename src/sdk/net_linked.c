// Where the half that touches sockets is linked in (libsonde.a, the sonde program, tests).
#include "sdk/net_part.h"

const struct net_part *net_part(void)
{
    return sonde_net_part(NET_PART_VERSION);
}
