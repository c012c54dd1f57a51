// C++: strings, containers and durations as fields.
#include <chrono>
#include <cstdint>
#include <sonde/sonde.h>
#include <string>
#include <vector>

int main()
{
    sonde_options options{};
    options.service = "hello-cxx";
    sonde_init(&options);
    const std::string model = "tiny-llama";
    const std::vector<int64_t> blocks{1, 2, 3};
    SONDE_INFO("model loaded", SONDE_KV("model", model), SONDE_KV("blocks", blocks),
               SONDE_KV("took", std::chrono::milliseconds(1250)));
    return sonde_shutdown(2000) ? 0 : 1;
}
