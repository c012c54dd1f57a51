// libnvidia-ml.so.1 of a machine with two GPUs; NVML_HANG in the environment: of one whose driver hangs.
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct memory {
    unsigned long long total, free, used;
};

int nvmlInit_v2(void)
{
    if (getenv("NVML_HANG"))
        sleep(600);
    return 0;
}
int nvmlShutdown(void)
{
    return 0;
}
int nvmlDeviceGetCount_v2(unsigned *n)
{
    *n = 2;
    return 0;
}
int nvmlSystemGetDriverVersion(char *out, unsigned n)
{
    snprintf(out, n, "550.1");
    return 0;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **out)
{
    static int gpus[2];
    *out = &gpus[i];
    return 0;
}
int nvmlDeviceGetName(void *gpu, char *out, unsigned n)
{
    (void)gpu;
    snprintf(out, n, "NVIDIA Test");
    return 0;
}
int nvmlDeviceGetMemoryInfo(void *gpu, struct memory *m)
{
    (void)gpu;
    m->total = 80ull << 30;
    return 0;
}
