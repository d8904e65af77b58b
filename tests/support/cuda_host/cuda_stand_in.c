/* The driver's functions that csrc/cuda/host/driver.cpp uses, for three GPUs that exist only here. What is done to them
   is appended to the file CUDA_STAND_IN_LOG. The first CUDA_STAND_IN_FULL modules of a process find no memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUCCESS 0
#define INVALID_VALUE 1
#define OUT_OF_MEMORY 2
#define INVALID_DEVICE 101
#define INVALID_IMAGE 200
#define INVALID_CONTEXT 201
#define INVALID_HANDLE 400
#define NOT_FOUND 500
#define COUNT 3

typedef struct { int device; } Context;
typedef struct { Context *context; char image[64]; } Module;
typedef struct { Context *context; } Function;
static const struct { int architecture, multiprocessors; } gpus[COUNT] = {{90, 132}, {120, 170}, {75, 40}};
static Context contexts[COUNT] = {{0}, {1}, {2}};
static __thread Context *current;

#define NOTE(...) do { \
    FILE *log = fopen(getenv("CUDA_STAND_IN_LOG"), "a"); \
    fprintf(log, __VA_ARGS__); \
    fclose(log); \
} while (0)

int cuInit(unsigned flags) { NOTE("init %u\n", flags); return SUCCESS; }
int cuDeviceGetCount(int *out) { *out = COUNT; return SUCCESS; }
int cuDeviceGet(int *out, int index) { *out = 10 + index; return SUCCESS; } /* a handle is not an index */
int cuDeviceGetAttribute(int *out, int attribute, int handle) {
    int i = handle - 10;
    if (i < 0 || i >= COUNT) return INVALID_DEVICE;
    *out = attribute == 16 ? gpus[i].multiprocessors : attribute == 75 ? gpus[i].architecture / 10
        : attribute == 76 ? gpus[i].architecture % 10 : -1;
    return *out < 0 ? INVALID_VALUE : SUCCESS;
}
int cuDeviceGetName(char *name, int room, int handle) {
    snprintf(name, (size_t)room, "stand-in %d", handle - 10);
    return SUCCESS;
}
int cuDevicePrimaryCtxRetain(Context **out, int handle) {
    NOTE("retain %d\n", handle - 10);
    *out = &contexts[handle - 10];
    return SUCCESS;
}
int cuCtxGetCurrent(Context **out) { *out = current; return SUCCESS; }
int cuCtxSetCurrent(Context *context) {
    current = context;
    NOTE("set %d\n", context ? context->device : -1);
    return SUCCESS;
}
int cuModuleLoadData(Module **out, const char *image) {
    static int loaded;
    const char *full = getenv("CUDA_STAND_IN_FULL");
    if (!current) return INVALID_CONTEXT;
    if (full && loaded++ < atoi(full)) return OUT_OF_MEMORY;
    if (strncmp(image, "code", 4)) return INVALID_IMAGE;
    *out = calloc(1, sizeof **out);
    (*out)->context = current;
    NOTE("load %d %.*s\n", current->device, (int)strcspn(image, "\n"), image);
    return SUCCESS;
}
int cuModuleGetFunction(Function **out, Module *module, const char *name) {
    if (strcmp(name, "adapool_kernel")) return NOT_FOUND;
    *out = calloc(1, sizeof **out);
    (*out)->context = module->context;
    return SUCCESS;
}
int cuLaunchKernel(Function *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void *stream, void **arguments, void **extra) {
    if (!current) return INVALID_CONTEXT;
    if (function->context != current) return INVALID_HANDLE;
    if (bx > 1024 || shared || extra) return INVALID_VALUE;
    NOTE("launch %d grid %u %u %u threads %u %u %u stream %p arguments %d %g\n", current->device, gx, gy, gz,
         bx, by, bz, stream, *(int *)arguments[0], *(double *)arguments[1]);
    return SUCCESS;
}
/* Only there: no test of this stand-in times anything. */
int cuEventCreate(void **event, unsigned flags) { *event = NULL; return flags ? INVALID_VALUE : INVALID_HANDLE; }
int cuEventRecord(void *event, void *stream) { (void)event; (void)stream; return INVALID_HANDLE; }
int cuEventSynchronize(void *event) { (void)event; return INVALID_HANDLE; }
int cuEventElapsedTime(float *out, void *from, void *to) { (void)from; (void)to; *out = 0; return INVALID_HANDLE; }
int cuEventDestroy_v2(void *event) { (void)event; return INVALID_HANDLE; }
int cuStreamIsCapturing(void *stream, int *status) { (void)stream; *status = 0; return SUCCESS; }
int cuThreadExchangeStreamCaptureMode(int *mode) { (void)mode; return SUCCESS; }
int cuGetErrorName(int code, const char **out) {
    *out = code == INVALID_VALUE ? "CUDA_ERROR_INVALID_VALUE" : code == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY"
        : code == INVALID_IMAGE ? "CUDA_ERROR_INVALID_IMAGE" : NULL;
    return *out ? SUCCESS : INVALID_VALUE;
}
int cuGetErrorString(int code, const char **out) {
    *out = code == OUT_OF_MEMORY ? "out of memory" : NULL;
    return *out ? SUCCESS : INVALID_VALUE;
}
