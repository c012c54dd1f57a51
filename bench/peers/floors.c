// What the machine itself costs: reading a clock, copying 64 bytes, handing 200 bytes to the kernel. FILE: where to.
#define HARNESS_NO_MAIN
#include "harness.h"
#include <fcntl.h>

#define EACH(n, what)                                      \
    ({                                                     \
        double best = 1e9;                                 \
        for (int round = 0; round < 5; round++) {          \
            int64_t start = mono_ns();                     \
            for (size_t i = 0; i < (n); i++) {             \
                what;                                      \
            }                                              \
            double ns = (double)(mono_ns() - start) / (n); \
            best = ns < best ? ns : best;                  \
        }                                                  \
        best;                                              \
    })

int main(int argc, char **argv)
{
    enum { SIZE = 8 << 20 };
    struct timespec ts;
    char *to = malloc(SIZE), from[64] = "sixty-four bytes, as large as a small record is with its head.", line[200];
    int file = argc == 2 ? open(argv[1], O_WRONLY | O_CREAT | O_TRUNC, 0644) : -1, null = open("/dev/null", O_WRONLY);
    if (file < 0 || null < 0) {
        fprintf(stderr, "usage: %s FILE\n", argv[0]);
        return 2;
    }
    memset(to, 1, SIZE);
    memset(line, '.', sizeof line);
    calibrate();
    double tick_read = EACH(1000000, __asm__ volatile("" : : "r"(tick())));
    double gettime = EACH(1000000, clock_gettime(CLOCK_REALTIME, &ts));
    double copy = EACH(1000000, memcpy(to + i * 64 % SIZE, from, 64); __asm__ volatile("" : : "r"(to) : "memory"));
    bool ok = true;
    double to_null = EACH(100000, ok &= write(null, line, sizeof line) > 0);
    double to_file = EACH(20000, ok &= write(file, line, sizeof line) > 0);
    printf("{\"clock_pair_ns\":%.2f,\"tick_ns\":%.2f,\"clock_gettime_ns\":%.2f,\"copy64_ns\":%.2f,"
           "\"write200_null_ns\":%.1f,"
           "\"write200_file_ns\":%.1f}\n",
           clock_floor(), tick_read, gettime, copy, to_null, to_file);
    free(to);
    return ok ? 0 : 1;
}
