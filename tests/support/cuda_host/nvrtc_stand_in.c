/* NVRTC's functions that csrc/cuda/host/nvrtc.cpp uses, of version MAJOR.MINOR. Its code is the options and the source; a
   source with the word `broken` does not compile. The first NVRTC_STAND_IN_FULL compiles find no memory. A compile
   takes NVRTC_STAND_IN_WAIT milliseconds and appends the source's first line and its options to the file
   NVRTC_STAND_IN_LOG. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct { char *source, *code; int broken; } Program;

int nvrtcVersion(int *major, int *minor) { *major = MAJOR; *minor = MINOR; return 0; }
int nvrtcGetNumSupportedArchs(int *out) { *out = 3; return 0; }
int nvrtcGetSupportedArchs(int *out) { out[0] = 75; out[1] = 90; out[2] = 120; return 0; }
int nvrtcCreateProgram(Program **out, const char *source, const char *name, int count, const char *const *headers,
                       const char *const *names) {
    (void)name; (void)headers; (void)names;
    if (count != 3) return 1;
    *out = calloc(1, sizeof **out);
    (*out)->source = strdup(source);
    return 0;
}
int nvrtcDestroyProgram(Program **program) {
    free((*program)->source);
    free((*program)->code);
    free(*program);
    *program = NULL;
    return 0;
}
int nvrtcCompileProgram(Program *program, int count, const char *const *options) {
    const char *wait = getenv("NVRTC_STAND_IN_WAIT"), *full = getenv("NVRTC_STAND_IN_FULL");
    static int compiled;
    if (full && compiled++ < atoi(full)) return 1;
    program->code = calloc(1, strlen(program->source) + 1000);
    strcpy(program->code, "code");
    for (int i = 0; i < count; i++) strcat(strcat(program->code, " "), options[i]);
    FILE *log = fopen(getenv("NVRTC_STAND_IN_LOG"), "a");
    fprintf(log, "%.*s:%s\n", (int)strcspn(program->source, "\n"), program->source, program->code + 4);
    fclose(log);
    strcat(strcat(program->code, "\n"), program->source);
    if (wait) usleep(1000u * (unsigned)atoi(wait));
    program->broken = strstr(program->source, "broken") != NULL;
    return program->broken ? 6 : 0;
}
static int put(char *out, const char *text) { strcpy(out, text); return 0; }
int nvrtcGetCUBINSize(Program *program, size_t *out) { *out = strlen(program->code); return 0; }
int nvrtcGetCUBIN(Program *program, char *out) { memcpy(out, program->code, strlen(program->code)); return 0; }
int nvrtcGetPTXSize(Program *program, size_t *out) { *out = strlen(program->code) + 1; return 0; }
int nvrtcGetPTX(Program *program, char *out) { return put(out, program->code); }
int nvrtcGetProgramLogSize(Program *program, size_t *out) { *out = program->broken ? 9 : 1; return 0; }
int nvrtcGetProgramLog(Program *program, char *out) { return put(out, program->broken ? "line one" : ""); }
const char *nvrtcGetErrorString(int code) { return code == 6 ? "NVRTC_ERROR_COMPILATION" : "NVRTC_ERROR_OTHER"; }
