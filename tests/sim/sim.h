/* A seeded world around the real core: in-memory disk, lanes and clients, with kills and lost writes; promises are checked after every step. */
#ifndef KMS_SIM_H
#define KMS_SIM_H

#include <openssl/evp.h>

#include "kmsd/core/core.h"

#define SIM_LANES 2       /* signing lanes; one administrative lane comes on top */
#define SIM_PENDING_MAX 256
#define SIM_PEOPLE 3      /* 0: CI "ci-a", 1: CI "ci-b", 2: the administrator */
#define SIM_POLICIES 2    /* 0 lets both CI identities sign, 1 only ci-a */

/* Key material of one person or job; made once, the schedule does not depend on it. */
struct sim_person {
    EVP_PKEY *tls;
    struct buf cert;      /* DER */
    char cert_sha256[SHA256_HEX];
    EVP_PKEY *ssh;        /* administrator only */
    char ssh_line[512];
};
struct sim_keys {
    EVP_PKEY *ca, *release;
    struct buf ca_cert, ca_spki, release_spki;
    struct sim_person person[SIM_PEOPLE];
    char policy_text[SIM_POLICIES][2048], policy_sha256[SIM_POLICIES][SHA256_HEX];
};
void sim_keys_make(struct sim_keys *k);
void sim_keys_free(struct sim_keys *k);
/* Binary SSHSIG of the message, base64. */
void sim_ssh_sign(const struct sim_person *p, struct span message, struct buf *b64);

/* What a client asked, and what it heard. */
enum sim_kind { SIM_SIGN, SIM_NONCE, SIM_POLICY, SIM_DISABLE, SIM_ENABLE, SIM_WITHDRAW };
struct sim_request {
    bool used;
    enum sim_kind kind;
    unsigned person, version, name, digest, policy, idem; /* idem: Idempotency-Key, 0 = none */
    enum child_role door;
    uint64_t id;
};
struct sim_lane_job {
    bool used;
    enum child_role role;
    unsigned index;
    struct buf frame;
};
struct sim {
    uint64_t rng;
    const struct sim_keys *keys;
    int64_t now;
    struct core *core;
    bool alive;
    json_t *programs;
    /* disk */
    struct buf durable;        /* what survives everything */
    struct buf group;          /* written, not synced */
    bool syncing;
    json_t *blobs;             /* sha256 → text, durable; and those of the group under way */
    json_t *group_blobs;
    /* children */
    struct sim_lane_job job[SIM_PENDING_MAX];
    struct sim_request request[SIM_PENDING_MAX];
    bool ended[SIM_LANES + 1]; /* signing lanes that ended and the core has not heard of; last: the administrative one */
    uint64_t next_id;
    char nonce[64];
    char source[64];           /* address that requests come from */
    /* what was promised: hash of each acknowledged record, by seq */
    json_t *acknowledged;
    unsigned signed_ok, refused, kills, steps, changes;
    char failure[512];
};
uint64_t sim_random(struct sim *s, uint64_t below);
void sim_fail(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* world.c */
void sim_boot(struct sim *s);              /* from the durable bytes; first time: writes genesis */
void sim_kill(struct sim *s);              /* the core dies now; unsynced bytes survive in part or not at all */
void sim_disk_step(struct sim *s);
void sim_lane_step(struct sim *s);
void sim_lane_kill(struct sim *s);
void sim_lanes_restart(struct sim *s);     /* the core hears of the lanes that ended; they start again */
void sim_front_kill(struct sim *s);
/* clients.c */
void sim_client_step(struct sim *s);
/* One request for a signature: version 1.0.<version>, artifact n<name>, one of two digests. */
void sim_ask_sign(struct sim *s, unsigned person, unsigned version, unsigned name, unsigned digest);
void sim_on_reply(struct sim *s, enum child_role door, const struct frame *f);
/* scenes.c: written schedules, each in a world of its own; 0 = all went as they must. */
struct sim *sim_new(const struct sim_keys *keys, uint64_t seed);
void sim_free(struct sim *s);
int sim_scenes(const struct sim_keys *keys);
/* oracle.c: reads the durable log with a model of its own. */
void sim_check(struct sim *s);

#endif
