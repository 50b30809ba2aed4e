/* What the files of the load generator share: its options, its connections, what it counted. */
#ifndef KMS_BENCH_LOAD_H
#define KMS_BENCH_LOAD_H

#include <openssl/ssl.h>

#include "base/buf.h"
#include "base/err.h"

#define CONNECTIONS_MAX 1024
#define ANSWER_MAX (4u << 20)

struct options {
    const char *host, *port, *ca, *cert, *key; /* of TLS */
    const char *sign_key, *app, *channel;      /* of the requests; every connection signs for an app of its own, "<app>.c<n>" */
    char *const *targets;                      /* with n_targets: each connection gets these in turn instead of asking for signatures */
    unsigned n_targets;
    unsigned connections, batch;               /* batch: items in a request, 0 = a plain request */
    uint64_t warmup_ms, measure_ms;
    bool fresh;                                /* a new connection for every request */
    bool idempotent;                           /* with an Idempotency-Key, as kmsctl sends one */
};

enum peer_step { PEER_CONNECTING, PEER_HANDSHAKE, PEER_WRITING, PEER_READING };
/* One connection: it asks, waits for the answer, and asks again. */
struct peer {
    unsigned number;
    int fd;
    enum peer_step step;
    SSL *ssl;
    struct buf out, in;
    size_t written;
    uint64_t serial;               /* of the release it asks for: versions only go up */
    int64_t began;                 /* microseconds: of the request, or of the connection where each request has its own */
    uint32_t interest;             /* epoll events it waits for */
};

/* What was answered since the warm-up. */
struct tally {
    uint64_t requests, signatures, errors;
    uint32_t *latency;             /* microseconds, one a request */
    size_t n_latency, cap_latency;
    char first_error[512];
};

struct load {
    const struct options *options;
    SSL_CTX *tls;
    int epoll;
    uint64_t run;                  /* makes the versions of this run newer than those of the one before */
    bool counting;
    struct tally tally;
    struct peer *peers;
};

int64_t now_us(void);
/* request.c */
void request_build(const struct load *l, struct peer *p);
/* 1 = whole and its status in *status, 0 = more to come, -1 = not understood. */
int answer_whole(const struct buf *in, unsigned *status);
void answer_count(struct load *l, const struct peer *p, unsigned status);
/* peer.c */
int peer_start(struct load *l, struct peer *p, struct err *e) __attribute__((warn_unused_result));
int peer_step(struct load *l, struct peer *p, struct err *e) __attribute__((warn_unused_result)); /* its descriptor is ready */
void peer_close(struct peer *p);

#endif
