/* raw: what the token gives without a service around it. Some processes, each with a login of its own, sign with one key and may check each signature. */
#include <errno.h>
#include <getopt.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/num.h"
#include "tests/bench/raw/raw.h"

#define START_SECONDS 30

/* Seen by all processes. */
struct board {
    atomic_uint ready, failed;
    atomic_llong end;              /* 0 = not begun */
    atomic_ullong signatures;
};

int64_t now_us(void)
{
    struct timespec t;

    return clock_gettime(CLOCK_MONOTONIC, &t) ? 0 : (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int work(const struct raw_options *o, struct board *b)
{
    struct raw_key k = {0};
    struct err e = {0};
    struct raw_signature s;
    uint8_t digest[32] = {0};
    uint64_t n = 0;

    if (raw_open(o, &k, &e)) {
        fprintf(stderr, "raw: %s\n", e.detail);
        atomic_fetch_add(&b->failed, 1);
        return 1;
    }
    atomic_fetch_add(&b->ready, 1);
    while (!atomic_load(&b->end))
        usleep(500);
    for (int64_t end = atomic_load(&b->end); now_us() < end; n++) {
        memcpy(digest, &n, sizeof n);
        if (raw_sign(&k, digest, &s) || (o->verify && raw_verify(&k, digest, &s))) {
            fprintf(stderr, "raw: a signature failed\n");
            atomic_fetch_add(&b->failed, 1);
            return 1;
        }
    }
    atomic_fetch_add(&b->signatures, n);
    raw_close(&k);
    return 0;
}

static int run(const struct raw_options *o)
{
    struct board *b = mmap(NULL, sizeof *b, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int64_t patience = now_us() + START_SECONDS * INT64_C(1000000);
    int failed = b == MAP_FAILED, status;
    struct rusage cpu;

    for (unsigned n = 0; !failed && n < o->processes; n++) {
        pid_t child = fork();

        if (!child)
            _exit(work(o, b));
        failed = child < 0;
    }
    while (!failed && atomic_load(&b->ready) + atomic_load(&b->failed) < o->processes && now_us() < patience)
        usleep(1000);
    if (!failed)
        atomic_store(&b->end, now_us() + (atomic_load(&b->ready) == o->processes ? (int64_t)o->ms * 1000 : 0));
    while (wait(&status) > 0 || errno == EINTR)
        failed |= status != 0;
    if (failed || getrusage(RUSAGE_CHILDREN, &cpu))
        return 1;
    printf("{\"signatures\":%llu,\"wall_us\":%llu,\"cpu_us\":%lld}\n", (unsigned long long)atomic_load(&b->signatures), (unsigned long long)o->ms * 1000,
           ((long long)cpu.ru_utime.tv_sec + cpu.ru_stime.tv_sec) * 1000000 + cpu.ru_utime.tv_usec + cpu.ru_stime.tv_usec);
    return 0;
}

static int arguments(int argc, char **argv, struct raw_options *o)
{
    static const struct option known[] = {{"settings", 1, NULL, 's'}, {"label", 1, NULL, 'l'}, {"public", 1, NULL, 'P'},    {"pss", 0, NULL, 'r'},
                                          {"verify", 0, NULL, 'v'},   {"stages", 1, NULL, 'S'}, {"processes", 1, NULL, 'n'}, {"ms", 1, NULL, 'm'},
                                          {0}};
    uint64_t n = 1;
    int opt;

    while ((opt = getopt_long(argc, argv, "", known, NULL)) != -1)
        switch (opt) {
        case 's': o->settings = optarg; break;
        case 'l': o->label = optarg; break;
        case 'P': o->public = optarg; break;
        case 'r': o->pss = true; break;
        case 'v': o->verify = true; break;
        case 'S': o->stages = true, o->dir = optarg; break;
        case 'n':
            if (num_parse_u64(optarg, strlen(optarg), 1, PROCESSES_MAX, &n))
                return -1;
            break;
        case 'm':
            if (num_parse_u64(optarg, strlen(optarg), 1, 600000, &o->ms))
                return -1;
            break;
        default: return -1;
        }
    o->processes = (unsigned)n;
    return optind == argc && o->settings && o->label && o->public ? 0 : -1;
}

int main(int argc, char **argv)
{
    struct raw_options o = {.ms = 1000};
    struct err e = {0};

    if (arguments(argc, argv, &o)) {
        fprintf(stderr, "usage: raw --settings FILE --label LABEL --public PEM [--pss] [--verify] [--processes N] [--stages DIR] [--ms N]\n");
        return 2;
    }
    if (!o.stages)
        return run(&o);
    if (!stages(&o, &e))
        return 0;
    fprintf(stderr, "raw: %s\n", e.detail);
    return 1;
}
