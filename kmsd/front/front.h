/* What the files of the front share: its connections, its requests, and the way to the core. */
#ifndef KMS_FRONT_FRONT_H
#define KMS_FRONT_FRONT_H

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <microhttpd.h>

#include "base/stream.h"
#include "kmsd/front/headscan.h"
#include "kmsd/settings.h"

#define BODY_ADMIN_MAX (300u << 10)
#define IN_FLIGHT_LIMIT 4096
#define HELD_MAX (128u << 20)   /* bytes of requests and answers; beyond, no long body is taken */
#define BODY_SHORT (64u << 10)
#define OUT_LIMIT (8u << 20)
#define IDLE_SECONDS 60
#define ANSWER_FACTOR 4       /* an answer may take that many times request_seconds to be read */

/* What a connection is doing, and so how long it may go on. */
enum conn_phase {
    PHASE_HANDSHAKE,
    PHASE_IDLE,      /* between requests */
    PHASE_REQUEST,   /* from the first byte of a request to its last */
    PHASE_WORK,      /* the core has it */
    PHASE_ANSWER     /* the reply is on its way */
};
/* How many connections an address has that are not being closed. */
struct peer {
    char name[64];                /* first member: key of the tree */
    unsigned conns, structs;
};
/* One TCP connection, from accept to close. */
struct conn {
    gnutls_session_t session;     /* first member: key of the tree */
    struct conn *prev, *next;
    int fd;
    struct peer *peer;
    enum conn_phase phase;
    int64_t since;                /* when the phase began; microseconds on CLOCK_BOOTTIME */
    int64_t deadline;             /* as above; 0 = none */
    int64_t try_at;               /* a handshake that waits for its peer is not looked at before; microseconds as above */
    int64_t pause;                /* how long it was left alone last */
    bool verified;                /* the client certificate is good */
    const char *tls_reason;       /* why the handshake failed */
    int failed;                   /* what GnuTLS said then, see parting.c; 0 = it did not fail */
    int64_t part_by;              /* the peer, which was told, may still read until then; microseconds as above */
    struct headscan scan;
    struct buf held;              /* decrypted bytes the head reader has not taken yet */
    struct buf ready;             /* checked bytes the HTTP library has not read yet */
    struct buf answer;            /* what of an answer was taken from the HTTP library and not sent */
    bool head_only;               /* answer holds a head and waits for the body behind it */
    size_t body_due;              /* bytes of the body behind the head that is to come; 0 = the head goes by itself */
    bool open;                    /* a request was handed to the HTTP library and is not over */
    bool begun;                   /* its handler was called */
    bool late;                    /* the request did not arrive in time: the rest of it is made up, the answer is 408 */
    bool served;                  /* a request of it was answered */
    bool over;                    /* its socket is shut, the library will close it */
};
struct reply {
    unsigned status;
    struct buf body;
    char content_type[64], request_id[64], location[256], link[2304], allow[32];
    uint64_t retry_after;
};
/* One HTTP request. */
struct http_request {
    uint64_t id;                  /* first member: key of the tree */
    struct MHD_Connection *connection;
    struct conn *conn;
    char *target;
    struct buf body;
    size_t held;                  /* its part of front.held */
    bool started, sent, answered;
    bool crowded;                 /* its body was dropped: others hold too much */
    struct reply reply;
};
struct front {
    struct settings settings;
    enum { DOOR_CI, DOOR_ADMIN, DOOR_HEALTH } door;
    struct MHD_Daemon *daemon;
    struct stream core;
    struct conn *conns;
    unsigned n_conns;             /* without those that are over */
    unsigned in_flight;
    size_t held;                  /* bytes of bodies and answers of all requests */
    int64_t now;                  /* CLOCK_BOOTTIME of this turn of the loop, microseconds */
    uint64_t progress;            /* counts whatever came or went: a turn without any may be followed by a pause */
    uint64_t next_id;
};
extern struct front front;

/* conn.c */
struct conn *conn_of(gnutls_session_t session);
void conn_notify(void *cls, struct MHD_Connection *connection, void **socket_context, enum MHD_ConnectionNotificationCode code);
void conn_reap(int64_t now);
void conn_drain(int64_t now);     /* ends those that wait for nothing */
/* drain.c */
void drain_watch(void);           /* from here on SIGHUP asks for the gentle end */
bool drain_asked(void);
bool drain_done(int64_t now);     /* the process may end */
void conn_phase(struct conn *c, enum conn_phase phase);
/* parting.c */
void parting_begin(struct conn *c, int code); /* the handshake failed with that code of GnuTLS, for c->tls_reason: tells the peer */
int parting(const struct conn *c);            /* GNUTLS_E_AGAIN while it may still read what it was told; then that code */
/* tap.c */
bool tap_late(struct conn *c);    /* ends a request that is arriving; false: nothing of it can be answered */
ssize_t tap_send(gnutls_session_t session, const void *data, size_t size);
/* join.c */
void join_expect(struct conn *c, size_t body);                  /* the next two sends are a head and this much of a body */
ssize_t join_send(struct conn *c, const void *data, size_t size);
/* tls.c */
int tls_load(struct err *e) __attribute__((warn_unused_result));
const char *tls_trust(void);
struct span tls_shown(void); /* the certificate that this door shows, DER */      /* PEM of all CAs */
int tls_certificate(gnutls_session_t session, const gnutls_datum_t *req_ca_dn, int nreqs, const gnutls_pk_algorithm_t *pk_algos, int n_pk_algos,
                    gnutls_pcert_st **pcert, unsigned int *n_pcert, gnutls_privkey_t *key);
/* http.c */
void *http_target(void *cls, const char *uri, struct MHD_Connection *connection);
enum MHD_Result http_handle(void *cls, struct MHD_Connection *connection, const char *url, const char *method, const char *version,
                            const char *upload, size_t *upload_size, void **req_cls);
void http_completed(void *cls, struct MHD_Connection *connection, void **req_cls, enum MHD_RequestTerminationCode code);
void http_hold(struct http_request *rq, size_t bytes);          /* it holds so much from now on */
/* corelink.c */
int core_send(struct http_request *rq);                         /* 0 = sent, -1 = the core has too much to do */
void core_forget(struct http_request *rq);                      /* nobody waits for the reply any more */
int core_receive(void);                                         /* -1 = the core is gone */
void core_count_tls(const char *reason);
void core_tick(int64_t now);                                    /* sends the counts, once a second */
void core_refused(const struct conn *c, enum err_code code);

#endif
