/* A stand-in for libnvidia-ml.so.1: one GPU whose state lives in files, shared by all processes.
 *
 * In: the directory $NVML_STANDIN, whose file "faults" holds words that are read at every call.
 * Out: the functions that calibrate/nvml.py calls; each lock and reset adds a line to "log".
 *
 * Words: no_driver no_permission lock_ignored reset_fails lost no_counter no_instant mig
 *        clock=MHZ (what the SM clock reads whatever is locked) busy=PID
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { OK = 0, BAD_ARGUMENT = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6,
       TOO_SMALL = 7, NO_DRIVER = 9, LOST = 15 };
enum { CLOCK_SM = 1, CLOCK_MEM = 2 };
enum { SM_MIN = 210, SM_MAX = 1980, SM_STEP = 15, MEM_MHZ = 2619, IDLE_SM = 345 };
enum { FI_POWER_INSTANT = 186 };
static const char UUID[] = "GPU-standin";
static const double POWER_W = 300.0;

static const char *in_dir(const char *name) {
    static char path[4096];
    const char *dir = getenv("NVML_STANDIN");
    snprintf(path, sizeof path, "%s/%s", dir ? dir : ".", name);
    return path;
}

static int fault(const char *word, long *value) {
    char text[512];
    FILE *f = fopen(in_dir("faults"), "r");
    int found = 0;
    if (!f) return 0;
    while (!found && fscanf(f, "%511s", text) == 1) {
        size_t n = strlen(word);
        if (strncmp(text, word, n) == 0 && (text[n] == 0 || text[n] == '=')) {
            found = 1;
            if (value && text[n] == '=') *value = atol(text + n + 1);
        }
    }
    fclose(f);
    return found;
}

static void record(const char *what, unsigned mhz) {
    char line[128];
    FILE *f = fopen(in_dir("log"), "a");
    if (!f) return;
    snprintf(line, sizeof line, "%s %u %d\n", what, mhz, (int)getpid());
    fputs(line, f);
    fclose(f);
}

static void store(const char *name, unsigned mhz) {
    FILE *f = fopen(in_dir(name), "w");
    if (!f) return;
    fprintf(f, "%u\n", mhz);
    fclose(f);
}

static unsigned stored(const char *name) {
    unsigned mhz = 0;
    FILE *f = fopen(in_dir(name), "r");
    if (!f) return 0;
    if (fscanf(f, "%u", &mhz) != 1) mhz = 0;
    fclose(f);
    return mhz;
}

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int change(const char *what, const char *name, unsigned mhz) {
    if (fault("lost", NULL)) return LOST;
    if (fault("no_permission", NULL)) return NO_PERMISSION;
    if (!mhz && fault("reset_fails", NULL)) return 999;
    record(what, mhz);
    if (!fault("lock_ignored", NULL)) store(name, mhz);
    return OK;
}

int nvmlInitWithFlags(unsigned flags) { (void)flags; return fault("no_driver", NULL) ? NO_DRIVER : OK; }
int nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(int code) { (void)code; return "an error of the stand-in"; }

int nvmlDeviceGetCount_v2(unsigned *n) { *n = 1; return OK; }

int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **device) {
    *device = (void *)UUID;
    return i == 0 ? OK : BAD_ARGUMENT;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) {
    *device = (void *)UUID;
    return strcmp(uuid, UUID) == 0 ? OK : NOT_FOUND;
}

int nvmlSystemGetDriverVersion(char *out, unsigned n) { snprintf(out, n, "580.0"); return OK; }
int nvmlDeviceGetName(void *d, char *out, unsigned n) { (void)d; snprintf(out, n, "Stand-in GPU"); return OK; }
int nvmlDeviceGetUUID(void *d, char *out, unsigned n) { (void)d; snprintf(out, n, "%s", UUID); return OK; }
int nvmlDeviceGetVbiosVersion(void *d, char *out, unsigned n) { (void)d; snprintf(out, n, "96.0"); return OK; }

struct pci { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; };
int nvmlDeviceGetPciInfo_v3(void *d, struct pci *out) {
    (void)d;
    memset(out, 0, sizeof *out);
    strcpy(out->bus_id, "00000000:01:00.0");
    return OK;
}

int nvmlDeviceGetCudaComputeCapability(void *d, int *major, int *minor) { (void)d; *major = 9; *minor = 0; return OK; }

struct memory { unsigned long long total, free, used; };
int nvmlDeviceGetMemoryInfo(void *d, struct memory *out) {
    (void)d;
    out->total = 80ULL << 30;
    out->used = 1ULL << 30;
    out->free = out->total - out->used;
    return OK;
}

static int list(const unsigned *from, unsigned have, unsigned *count, unsigned *out) {
    unsigned room = *count;
    *count = have;
    if (!out || room < have) return TOO_SMALL;
    memcpy(out, from, have * sizeof *from);
    return OK;
}

int nvmlDeviceGetSupportedMemoryClocks(void *d, unsigned *count, unsigned *out) {
    static const unsigned clocks[] = {MEM_MHZ, 1593};
    (void)d;
    return list(clocks, 2, count, out);
}

int nvmlDeviceGetSupportedGraphicsClocks(void *d, unsigned memory, unsigned *count, unsigned *out) {
    unsigned clocks[(SM_MAX - SM_MIN) / SM_STEP + 1], n = 0;
    (void)d;
    (void)memory;
    for (unsigned f = SM_MAX; f >= SM_MIN; f -= SM_STEP) clocks[n++] = f;
    return list(clocks, n, count, out);
}

int nvmlDeviceGetEnforcedPowerLimit(void *d, unsigned *mw) { (void)d; *mw = 700000; return OK; }
int nvmlDeviceGetPowerManagementDefaultLimit(void *d, unsigned *mw) { (void)d; *mw = 700000; return OK; }
int nvmlDeviceGetPowerManagementLimitConstraints(void *d, unsigned *lo, unsigned *hi) {
    (void)d;
    *lo = 200000;
    *hi = 700000;
    return OK;
}

int nvmlDeviceGetPersistenceMode(void *d, unsigned *on) { (void)d; *on = 1; return OK; }
int nvmlDeviceGetMigMode(void *d, unsigned *now, unsigned *pending) {
    (void)d;
    *now = *pending = fault("mig", NULL) ? 1 : 0;
    return OK;
}

int nvmlDeviceGetTotalEnergyConsumption(void *d, unsigned long long *mj) {
    (void)d;
    if (fault("lost", NULL)) return LOST;
    if (fault("no_counter", NULL)) return NOT_SUPPORTED;
    *mj = (unsigned long long)((double)(long long)(now_s() * 10) / 10 * POWER_W * 1000);
    return OK;
}

struct field { uint32_t id, scope; int64_t stamp, latency; unsigned type; int ret; union { double d; unsigned u; uint64_t ull; } value; };
int nvmlDeviceGetFieldValues(void *d, int count, struct field *values) {
    (void)d;
    for (int i = 0; i < count; i++) {
        int known = values[i].id == FI_POWER_INSTANT && !fault("no_instant", NULL);
        values[i].ret = known ? OK : NOT_SUPPORTED;
        values[i].type = 1;
        values[i].value.u = (unsigned)(POWER_W * 1000);
    }
    return OK;
}

int nvmlDeviceGetPowerUsage(void *d, unsigned *mw) { (void)d; *mw = (unsigned)(POWER_W * 1000); return OK; }

int nvmlDeviceGetClockInfo(void *d, unsigned type, unsigned *mhz) {
    long forced = 0;
    unsigned sm = stored("sm");
    (void)d;
    if (type == CLOCK_MEM) {
        unsigned mem = stored("memory");
        *mhz = mem ? mem : MEM_MHZ;
    } else if (fault("clock", &forced)) {
        *mhz = (unsigned)forced;
    } else {
        *mhz = sm ? sm : SM_MAX;
    }
    return OK;
}

int nvmlDeviceGetTemperature(void *d, unsigned sensor, unsigned *c) { (void)d; (void)sensor; *c = 45; return OK; }
int nvmlDeviceGetCurrentClocksEventReasons(void *d, unsigned long long *mask) { (void)d; *mask = 0; return OK; }

struct process { unsigned pid; unsigned long long used; unsigned gpu, compute; };
int nvmlDeviceGetComputeRunningProcesses_v3(void *d, unsigned *count, struct process *out) {
    long pid = 0;
    unsigned room = *count;
    (void)d;
    *count = fault("busy", &pid) ? 1 : 0;
    if (*count == 0) return OK;
    if (!out || room < 1) return TOO_SMALL;
    memset(out, 0, sizeof *out);
    out->pid = (unsigned)pid;
    out->used = 1ULL << 30;
    return OK;
}

int nvmlDeviceGetMPSComputeRunningProcesses_v3(void *d, unsigned *count, struct process *out) {
    (void)d;
    (void)out;
    *count = 0;
    return OK;
}

int nvmlDeviceSetGpuLockedClocks(void *d, unsigned lo, unsigned hi) { (void)d; return lo == hi ? change("set_sm", "sm", hi) : BAD_ARGUMENT; }
int nvmlDeviceResetGpuLockedClocks(void *d) { (void)d; return change("reset_sm", "sm", 0); }
int nvmlDeviceSetMemoryLockedClocks(void *d, unsigned lo, unsigned hi) { (void)d; return lo == hi ? change("set_memory", "memory", hi) : BAD_ARGUMENT; }
int nvmlDeviceResetMemoryLockedClocks(void *d) { (void)d; return change("reset_memory", "memory", 0); }
