/* load: keeps a number of TLS connections busy with sign requests, or with GETs of targets, each as soon as its last one was answered. Says "begin" when
 * the warm-up is over, and at the end what was measured since, as one line of JSON. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/num.h"
#include "tests/bench/load/load.h"

int64_t now_us(void)
{
    struct timespec t;

    return clock_gettime(CLOCK_MONOTONIC, &t) ? 0 : (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int64_t own_cpu_us(void)
{
    struct rusage r;

    if (getrusage(RUSAGE_SELF, &r))
        return 0;
    return ((int64_t)r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1000000 + r.ru_utime.tv_usec + r.ru_stime.tv_usec;
}

static int tls_open(struct load *l, struct err *e)
{
    const struct options *o = l->options;

    l->tls = SSL_CTX_new(TLS_client_method());
    if (!l->tls || SSL_CTX_set_min_proto_version(l->tls, TLS1_3_VERSION) != 1 || SSL_CTX_load_verify_locations(l->tls, o->ca, NULL) != 1 ||
        SSL_CTX_use_certificate_chain_file(l->tls, o->cert) != 1 || SSL_CTX_use_PrivateKey_file(l->tls, o->key, SSL_FILETYPE_PEM) != 1)
        return err_set(e, ERR_BAD_REQUEST, "the certificates %s, %s, %s cannot be used", o->ca, o->cert, o->key);
    SSL_CTX_set_verify(l->tls, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(l->tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(l->tls, 1); /* one system call an answer, not one for its first five bytes and one for the rest */
    return 0;
}

static int by_size(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static uint32_t quantile(const struct tally *t, unsigned permille)
{
    return t->n_latency ? t->latency[(t->n_latency - 1) * permille / 1000] : 0;
}

static void print_error(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text >= 0x20 && *text != '"' && *text != '\\')
            putchar(*text);
}

static void report(struct load *l, int64_t wall_us, int64_t cpu_us)
{
    struct tally *t = &l->tally;

    if (t->n_latency)
        qsort(t->latency, t->n_latency, sizeof *t->latency, by_size);
    printf("{\"requests\":%llu,\"signatures\":%llu,\"errors\":%llu,\"wall_us\":%lld,\"cpu_us\":%lld,\"p50_us\":%u,\"p99_us\":%u,\"max_us\":%u,\"first_error\":\"",
           (unsigned long long)t->requests, (unsigned long long)t->signatures, (unsigned long long)t->errors, (long long)wall_us, (long long)cpu_us,
           quantile(t, 500), quantile(t, 990), quantile(t, 1000));
    print_error(t->first_error);
    printf("\"}\n");
}

static int run(struct load *l, struct err *e)
{
    const struct options *o = l->options;
    int64_t begin = now_us() + (int64_t)o->warmup_ms * 1000, end = begin + (int64_t)o->measure_ms * 1000, now, cpu = own_cpu_us();
    struct epoll_event events[64];

    for (unsigned n = 0; n < o->connections; n++)
        if (peer_start(l, &l->peers[n], e))
            return -1;
    while ((now = now_us()) < end) {
        int64_t until = l->counting ? end : begin;
        int n;

        if (!l->counting && now >= begin) {
            l->counting = true;
            begin = now;
            cpu = own_cpu_us();
            printf("begin\n");
            fflush(stdout);
            continue;
        }
        n = epoll_wait(l->epoll, events, 64, (int)((until - now) / 1000) + 1);
        if (n < 0 && errno != EINTR)
            return err_errno(e, ERR_INTERNAL, errno, "epoll");
        for (int i = 0; i < n; i++)
            if (peer_step(l, events[i].data.ptr, e))
                return -1;
    }
    report(l, now - begin, own_cpu_us() - cpu);
    return 0;
}

static uint64_t number(const char *text, uint64_t max)
{
    uint64_t n;

    if (num_parse_u64(text, strlen(text), 0, max, &n)) {
        fprintf(stderr, "load: %s is no number up to %llu\n", text, (unsigned long long)max);
        exit(2);
    }
    return n;
}

static int arguments(int argc, char **argv, struct options *o)
{
    static const struct option known[] = {{"host", 1, NULL, 'h'},    {"port", 1, NULL, 'p'},  {"ca", 1, NULL, 'a'},      {"cert", 1, NULL, 'c'},
                                          {"key", 1, NULL, 'k'},     {"sign-key", 1, NULL, 's'}, {"app", 1, NULL, 'A'},     {"channel", 1, NULL, 'C'},
                                          {"connections", 1, NULL, 'n'}, {"batch", 1, NULL, 'b'}, {"warmup-ms", 1, NULL, 'w'}, {"measure-ms", 1, NULL, 'm'},
                                          {"fresh", 0, NULL, 'f'},   {"idempotent", 0, NULL, 'i'}, {0}};
    int opt;

    while ((opt = getopt_long(argc, argv, "", known, NULL)) != -1)
        switch (opt) {
        case 'h': o->host = optarg; break;
        case 'p': o->port = optarg; break;
        case 'a': o->ca = optarg; break;
        case 'c': o->cert = optarg; break;
        case 'k': o->key = optarg; break;
        case 's': o->sign_key = optarg; break;
        case 'A': o->app = optarg; break;
        case 'C': o->channel = optarg; break;
        case 'n': o->connections = (unsigned)number(optarg, CONNECTIONS_MAX); break;
        case 'b': o->batch = (unsigned)number(optarg, 1000); break;
        case 'w': o->warmup_ms = number(optarg, 60000); break;
        case 'm': o->measure_ms = number(optarg, 600000); break;
        case 'f': o->fresh = true; break;
        case 'i': o->idempotent = true; break;
        default: return -1;
        }
    o->targets = argv + optind;
    o->n_targets = (unsigned)(argc - optind);
    return o->port && o->ca && o->cert && o->key && o->connections ? 0 : -1;
}

int main(int argc, char **argv)
{
    struct options o = {.host = "127.0.0.1", .sign_key = "release", .app = "com.example.bench", .channel = "production", .connections = 1, .warmup_ms = 500,
                        .measure_ms = 3000};
    struct load l = {.options = &o, .epoll = epoll_create1(EPOLL_CLOEXEC), .run = (uint64_t)time(NULL)};
    struct err e = {0};
    int failed;

    (void)sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
    if (arguments(argc, argv, &o)) {
        fprintf(stderr, "usage: load --port PORT --ca FILE --cert FILE --key FILE [--connections N] [--fresh] [--batch N] [--idempotent] [--sign-key NAME] "
                        "[--app NAME] [--channel NAME] [--warmup-ms N] [--measure-ms N] [TARGET...]\n");
        return 2;
    }
    l.peers = calloc(o.connections, sizeof *l.peers);
    if (!l.peers)
        return 1;
    for (unsigned n = 0; n < o.connections; n++)
        l.peers[n] = (struct peer){.number = n, .fd = -1, .out = BUF_INIT(ANSWER_MAX), .in = BUF_INIT(ANSWER_MAX)};
    failed = tls_open(&l, &e) || run(&l, &e);
    if (failed)
        fprintf(stderr, "load: %s\n", e.detail);
    for (unsigned n = 0; n < o.connections; n++) {
        peer_close(&l.peers[n]);
        buf_free(&l.peers[n].out);
        buf_free(&l.peers[n].in);
    }
    SSL_CTX_free(l.tls);
    free(l.peers);
    free(l.tally.latency);
    return failed;
}
