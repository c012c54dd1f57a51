// Levels while the program runs: from the inside, for a time, and what a disabled call costs (nothing is evaluated).
#include <sonde/sonde.h>
#include <unistd.h>

static int asked;
static int expensive(void)
{
    return ++asked;
}

static void work(const char *when)
{
    SONDE_INFO("working", SONDE_STR("when", when));
    SONDE_DEBUG("in detail", SONDE_STR("when", when), SONDE_INT("asked", expensive()));
}

int main(void)
{
    work("at first"); // info
    sonde_set_filter("debug");
    work("with debug");
    sonde_set_filter("warn");
    sonde_set_filter_for("debug", 200); // holds for 200 ms, then warn again
    work("for a while");
    usleep(400000);
    work("afterwards");     // silent
    sonde_set_filter(NULL); // as it was at the start
    work("at last");
    sonde_flush(1000);
    return asked; // 2 with SONDE_FLIGHT_LEVEL=off: the values of a call that is off are not looked at
}
