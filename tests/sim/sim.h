/* A seeded world around the real core: in-memory disk, lanes and clients, with kills and lost writes; promises are checked after every step. */
#ifndef KMS_SIM_H
#define KMS_SIM_H

#include <openssl/evp.h>

#include "audit/anchor.h"
#include "kmsd/core/core.h"

#define SIM_LANES 2       /* signing lanes; one administrative lane comes on top */
#define SIM_PENDING_MAX 256
#define SIM_SNAPSHOT_RECORDS 15
#define SIM_SNAPSHOT_PIECE 1 /* byte: a stored answer at a time */
#define SIM_PEOPLE 3      /* 0: CI "ci-a", 1: CI "ci-b", 2: the administrator */
#define SIM_IDEMS 64
#define SIM_KEYS 2        /* k0 and k1 are there from the beginning, beside the one that most signatures need */
#define SIM_ITEMS 5       /* of a batch */
#define SIM_ROOM (336u << 10) /* little more than the core wants to have */
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
enum sim_kind { SIM_SIGN, SIM_BATCH, SIM_NONCE, SIM_POLICY, SIM_DISABLE, SIM_ENABLE, SIM_KEY, SIM_WITHDRAW, SIM_CONFIRM, SIM_LIFE, SIM_SEARCH };
struct sim_release {
    unsigned version, name, digest;
};
struct sim_request {
    bool used;
    enum sim_kind kind;
    unsigned person, version, name, digest, policy, idem;  /* idem: number of its Idempotency-Key, 0 = none */
    enum child_role door;
    uint64_t id;
    unsigned asked;       /* step */
    int64_t at;           /* of a search: time since the machine started */
    char key[16];         /* signed with, or whose life it changes */
    bool any;             /* whatever comes is an answer */
    bool many;            /* only its end counts */
    struct sim_release item[SIM_ITEMS];
    unsigned n_items;
};
/* One lane as the world has it. */
enum sim_lane_mode {
    SIM_WORKS,
    SIM_MUTE,             /* reads, never answers */
    SIM_AWAY,             /* looks for its token */
    SIM_ENDS              /* told to end, or ending by itself: the core hears of it later */
};
struct sim_lane {
    enum child_role role;
    unsigned index;
    enum sim_lane_mode mode;
};
/* The reader of a scene; other worlds have none. */
#define SIM_QUESTIONS 64
struct sim_reader {
    bool up;
    bool ends;            /* told to end: the core hears of it later */
    bool mute;            /* reads, never answers */
    bool head_open;       /* it owes a word */
    uint64_t head, last;  /* what it was told is on disk; id of the newest question, of this reader or one before it */
    struct {
        uint64_t id;      /* 0 = none */
        char query[32];
    } question[SIM_QUESTIONS];
};
/* What was answered under an Idempotency-Key. */
struct sim_idem {
    bool answered;
    char hash[SHA256_HEX];
};
/* What the oracle knows of the log: which policy holds, who is disabled, which keys exist, and what the channel's newest version holds. */
#define SIM_NAMES 8
struct sim_model {
    unsigned policy;
    bool disabled[2];
    unsigned version;
    bool withdrawn;
    char digest[SIM_NAMES][SHA256_HEX];
    uint64_t step;        /* the newest step of the clock while nobody has confirmed it */
    uint64_t seq;
    char prev[SHA256_HEX];
    char time[32];
    json_t *keys;         /* name → seq of its intent, while open; true once made */
    json_t *life;         /* name → {state, before, due, erase (seq of the intent), compromised}; absent = active */
    char minute[20];      /* refusals recorded one by one in it */
    unsigned refusals;
    size_t at, found;     /* bytes read; acknowledged records met */
};
struct sim_lane_job {
    bool used;
    enum child_role role;
    unsigned index;
    struct buf frame;
};
struct sim {
    uint64_t rng;
    bool production;
    const struct sim_keys *keys;
    int64_t now;               /* wall clock */
    int64_t set;               /* by how much it was set, all in all */
    int64_t set_told;          /* the part of it that the core has recorded, or started with */
    unsigned clock_steps;      /* recorded */
    struct core *core;
    bool alive;
    json_t *programs;
    json_t *recovered;         /* of this start; the core may want it as soon as there is room */
    json_t *objects;           /* what the token holds, as LIST says it; it survives everything */
    /* disk */
    struct buf durable;        /* what survives everything */
    struct buf group;          /* written, not synced */
    bool syncing;
    bool full;                 /* room is not topped up */
    uint64_t room;             /* bytes that the disk has promised beyond the group under way */
    json_t *blobs;             /* sha256 → text, durable; and those of the group under way */
    json_t *group_blobs;
    /* state snapshots */
    struct buf snapshot;       /* under way; no start sees it */
    uint64_t snapshot_seq;     /* covered by the one that the last start used */
    bool snapshot_busy;
    json_t *snapshots;         /* sha256 → text, durable */
    unsigned snapshot_starts;
    /* children */
    struct sim_lane_job job[SIM_PENDING_MAX];
    struct sim_lane lane[SIM_LANES + 1]; /* the last one is the administrative lane */
    bool calm;                 /* no more faults */
    struct sim_reader reader;
    struct {
        unsigned asked, found, busy;
    } searches;
    json_t *loaded[SIM_LANES]; /* CKA_IDs that each signing lane was told to load, and not to drop since */
    bool no_signatures;        /* the lanes answer with that many bytes instead */
    size_t no_signature;
    bool alarm_due;            /* an injected failure that the core must raise an alarm for */
    struct sim_request request[SIM_PENDING_MAX];
    uint64_t next_id;
    char nonce[64];
    uint8_t token_anchor[ANCHOR_LEN]; /* the data object; it survives everything */
    bool token_has_anchor;
    char source[64];           /* address that requests come from */
    bool any;                  /* requests of a fuzzer come too, for any release */
    bool hostile;              /* children say anything: alarms prove nothing */
    /* what was promised: hash of each acknowledged record, by seq */
    json_t *acknowledged;
    struct sim_idem idem[SIM_IDEMS], idem_item[SIM_IDEMS][SIM_ITEMS];
    json_t *compromised;       /* keys: an administrator was told so */
    struct sim_model model;
    struct {
        unsigned heard, items, failed; /* answers 200, and what is in them */
        unsigned busy;         /* refused as a whole */
    } many;                    /* of sim_ask_many */
    unsigned signed_ok, batches, refused, kills, steps, changes, keys_made, faults, lives, destroyed;
    char failure[512];
};
uint64_t sim_random(struct sim *s, uint64_t below);
void sim_fail(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* world.c */
void sim_boot(struct sim *s);              /* from the durable bytes; first time: writes genesis */
void sim_kill(struct sim *s);              /* the core dies now; unsynced bytes survive in part or not at all */
void sim_disk_step(struct sim *s);
int sim_record_hash(void *ctx, uint64_t seq, char out[static SHA256_HEX]); /* of the durable log */
void sim_disk_fill(struct sim *s);         /* the disk gives no more room, or gives it again */
void sim_clock_step(struct sim *s);        /* the wall clock is set, either way, to any extent */
void sim_clock_set(struct sim *s, int64_t by);
void sim_pass(struct sim *s, int64_t time); /* time passes, and the core sees it */
void sim_front_kill(struct sim *s);        /* a door dies with whatever waits at it, and comes back */
void sim_drain(struct sim *s);             /* a calm world: everything that was asked must be answered */
/* lanes.c */
void sim_lanes_boot(struct sim *s);
void sim_lanes_clear(struct sim *s);
void sim_lane_take(struct sim *s, enum child_role role, unsigned index, const struct buf *frame);
void sim_lane_told_to_end(struct sim *s, enum child_role role, unsigned index);
void sim_lane_step(struct sim *s);         /* one lane answers, or one that ended is started again */
void sim_lane_fault(struct sim *s);
void sim_lanes_heal(struct sim *s);
void sim_no_signatures_scene(struct sim *s);
void sim_lanes_check(struct sim *s);       /* no lane has a key that must not sign */
void sim_token_add(struct sim *s, const char *key_id, const char *label); /* a pair */
unsigned sim_token_holds(const struct sim *s, const char *key_id);
/* readers.c */
void sim_reader_take(struct sim *s, const struct buf *frame);
void sim_reader_told_to_end(struct sim *s);
void sim_reader_step(struct sim *s);
void sim_reader_fault(struct sim *s);
void sim_hear_search(struct sim *s, const struct sim_request *r, unsigned status, const json_t *body);
void sim_search_scene(struct sim *s);
/* clients.c */
void sim_client_step(struct sim *s);
/* One request for a signature: version 1.0.<version>, artifact n<name>, one of two digests. */
void sim_ask_sign(struct sim *s, unsigned person, unsigned version, unsigned name, unsigned digest);
/* The administrator wants a key k<number>. */
void sim_ask_key(struct sim *s, unsigned number);
/* The request that this Idempotency-Key stands for. */
void sim_ask_again(struct sim *s, unsigned idem);
void sim_confirm(struct sim *s);           /* the newest step of the clock was meant */
/* The administrator changes the life of a key: "suspend" …; delay in seconds, of "destroy". */
void sim_order(struct sim *s, const char *key, const char *verb, unsigned delay);
void sim_on_reply(struct sim *s, enum child_role door, const struct frame *f);
/* scenes.c: written schedules, each in a world of its own; 0 = all went as they must. */
struct sim *sim_new(const struct sim_keys *keys, uint64_t seed);
struct sim *sim_new_production(const struct sim_keys *keys, uint64_t seed); /* no development instance */
void sim_free(struct sim *s);
int sim_scenes(const struct sim_keys *keys);
/* lives.c: the life of keys, as a model and as an administrator changes it */
void sim_see_life(struct sim *s, struct sim_model *m, const json_t *record, const char *event, const char *outcome);
const char *sim_life_state(const struct sim_model *m, const char *key); /* "active" … */
bool sim_life_begun(const struct sim_model *m); /* the removal of some key was begun and is not done */
/* A key for r, and what to do with it. */
const char *sim_pick_life(struct sim *s, struct sim_request *r);
void sim_heard_life(struct sim *s, const struct sim_request *r, const json_t *body);
/* snapshots.c */
void sim_snapshot_take(void *ctx, uint64_t seq, uint64_t keep, struct buf *text);
void sim_snapshot_step(struct sim *s);     /* the one under way reaches the disk, or fails */
void sim_snapshot_lose(struct sim *s);
/* The state from the newest snapshot that the durable log names and the records behind it, which must be `whole`, the fold of everything; or `whole`. Takes it over. */
struct state *sim_snapshot_start(struct sim *s, struct state *whole, const struct blob_source *blobs);
/* The durable line of that record; NULL data = there is none. */
struct span sim_line(const struct sim *s, int64_t seq);
struct sim_request *sim_free_slot(struct sim *s);
void sim_send(struct sim *s, struct sim_request *r, const char *method, const char *target, const char *type, struct span body);
void sim_put_release(struct buf *body, const char *key, unsigned version, unsigned name, unsigned number);
void sim_acknowledge(struct sim *s, struct sim_idem *idem, const json_t *body);
/* batches.c */
#define SIM_PROBLEM "urn:kmsd:problem:"
void sim_ask_batch(struct sim *s, struct sim_request *r);
void sim_hear_batch(struct sim *s, const struct sim_request *r, const json_t *body);
/* A batch of n artifacts of that version; what became of it goes into s->many. */
void sim_ask_many(struct sim *s, unsigned version, unsigned n);
void sim_hear_many(struct sim *s, const struct frame *f);
/* oracle.c: reads the durable log with a model of its own. */
void sim_check(struct sim *s);             /* what has become durable since the last time */
void sim_check_all(struct sim *s);         /* from the first byte */
/* A refusal must be explained by the log as it is durable when it is heard. */
void sim_explain(struct sim *s, const struct sim_request *r, const char *slug);

#endif
