/* The NVML functions that suites/nvml.py uses, for four GPUs that exist only here: 0 is well, 1 is throttled and shared,
   2 supports nothing beyond its name, 3 is lost once the file named by NVML_STAND_IN_LOST exists. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SUCCESS 0
#define INVALID 2
#define NOT_SUPPORTED 3
#define NOT_FOUND 6
#define LOST 15
#define COUNT 4

typedef struct { int number; } Gpu;
static Gpu gpus[COUNT] = {{0}, {1}, {2}, {3}};
static const char *uuids[COUNT] = {
    "GPU-00000000-1111-2222-3333-444444444444", "GPU-11111111-1111-2222-3333-444444444444",
    "GPU-22222222-1111-2222-3333-444444444444", "GPU-33333333-1111-2222-3333-444444444444"};

static int state(const Gpu *gpu, int basic) {
    const char *file = getenv("NVML_STAND_IN_LOST");
    if (gpu < gpus || gpu >= gpus + COUNT) return INVALID;
    if (gpu->number == 3 && file && access(file, F_OK) == 0) return LOST;
    return gpu->number == 2 && !basic ? NOT_SUPPORTED : SUCCESS;
}
static int put(char *out, unsigned size, const char *text) {
    snprintf(out, size, "%s", text);
    return SUCCESS;
}
#define ASK(gpu, basic) do { int s = state(gpu, basic); if (s) return s; } while (0)

int nvmlInitWithFlags(unsigned flags) { (void)flags; return SUCCESS; }
int nvmlInit_v2(void) { return SUCCESS; }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int code) { return code == LOST ? "GPU is lost" : code == NOT_SUPPORTED ? "Not Supported" : "stand-in error"; }
int nvmlSystemGetDriverVersion(char *out, unsigned size) { return put(out, size, "999.1"); }
int nvmlSystemGetCudaDriverVersion(int *out) { *out = 13000; return SUCCESS; }
int nvmlSystemGetCudaDriverVersion_v2(int *out) { *out = 13000; return SUCCESS; }
int nvmlDeviceGetCount_v2(unsigned *out) { *out = COUNT; return SUCCESS; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, Gpu **out) {
    if (index >= COUNT) return INVALID;
    ASK(&gpus[index], 1);
    *out = &gpus[index];
    return SUCCESS;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, Gpu **out) {
    for (int i = 0; i < COUNT; i++)
        if (!strcmp(uuid, uuids[i])) { ASK(&gpus[i], 1); *out = &gpus[i]; return SUCCESS; }
    return NOT_FOUND;
}
int nvmlDeviceGetUUID(Gpu *gpu, char *out, unsigned size) { ASK(gpu, 1); return put(out, size, uuids[gpu->number]); }
int nvmlDeviceGetName(Gpu *gpu, char *out, unsigned size) { ASK(gpu, 1); return put(out, size, "Stand-in GPU"); }
int nvmlDeviceGetMigMode(Gpu *gpu, unsigned *now, unsigned *later) { ASK(gpu, 0); *now = *later = 0; return SUCCESS; }
int nvmlDeviceGetEccMode(Gpu *gpu, int *now, int *later) { ASK(gpu, 0); *now = *later = 1; return SUCCESS; }
int nvmlDeviceGetPowerManagementLimit(Gpu *gpu, unsigned *out) { ASK(gpu, 0); *out = 700000; return SUCCESS; }
int nvmlDeviceGetMemoryInfo(Gpu *gpu, unsigned long long *out) {
    ASK(gpu, 0);
    out[0] = 1ull << 36; out[1] = 1ull << 35; out[2] = 1ull << 35;
    return SUCCESS;
}
int nvmlDeviceGetMaxClockInfo(Gpu *gpu, int kind, unsigned *out) { ASK(gpu, 0); *out = kind == 1 ? 1980 : 2619; return SUCCESS; }
int nvmlDeviceGetClockInfo(Gpu *gpu, int kind, unsigned *out) { ASK(gpu, 0); *out = kind == 1 ? 1500 : 2619; return SUCCESS; }
int nvmlDeviceGetTemperature(Gpu *gpu, int sensor, unsigned *out) { (void)sensor; ASK(gpu, 0); *out = 41; return SUCCESS; }
int nvmlDeviceGetCurrentClocksEventReasons(Gpu *gpu, unsigned long long *out) {
    ASK(gpu, 0);
    *out = gpu->number == 1 ? 0x24 : 0x1; /* power cap and software thermal; idle */
    return SUCCESS;
}
int nvmlDeviceGetCurrentClocksThrottleReasons(Gpu *gpu, unsigned long long *out) { return nvmlDeviceGetCurrentClocksEventReasons(gpu, out); }
struct process { unsigned pid; unsigned long long memory; unsigned a, b; };
int nvmlDeviceGetComputeRunningProcesses_v3(Gpu *gpu, unsigned *count, struct process *out) {
    ASK(gpu, 0);
    unsigned there = gpu->number == 1;
    if (there && *count < 1) { *count = 1; return 7; /* insufficient size */ }
    if (there) { memset(out, 0, sizeof *out); out->pid = 1; }
    *count = there;
    return SUCCESS;
}
int nvmlDeviceGetTotalEnergyConsumption(Gpu *gpu, unsigned long long *out) { /* millijoules: 100 W since the start of time */
    ASK(gpu, 0);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    *out = (unsigned long long)now.tv_sec * 100000ull + (unsigned long long)now.tv_nsec / 10000ull;
    return SUCCESS;
}
