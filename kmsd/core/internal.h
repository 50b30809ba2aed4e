/* What the files of the core share: the core itself, one request, and each step's function. */
#ifndef KMS_CORE_INTERNAL_H
#define KMS_CORE_INTERNAL_H

#include "audit/anchor.h"
#include "audit/recordline.h"
#include "audit/state/snapshot.h"
#include "base/x509.h"
#include "kmsd/core/core.h"
#include "kmsd/core/metrics.h"

#define REQUEST_ID_HEX 33
#define IDEM_MAX 128
#define TARGET_MAX 2048
#define SIGN_BODY_MAX (64u << 10)
#define BATCH_BODY_MAX (1u << 20)
#define BATCH_ITEMS_MAX 1000
#define ITEMS_IN_FLIGHT_MAX 6144 /* of IN_FLIGHT_MAX: the rest is for requests that come alone */
#define NONCE_HEX 33
#define NONCE_LIFE (60 * TIME_SECOND_US)
#define NONCES_PER_CERT 16
#define NONCES_MAX 4096
#define WAITERS_MAX 4096
#define WAIT_TIME (10 * TIME_SECOND_US)
#define IN_FLIGHT_MAX 8192
#define REFUSALS_A_MINUTE 10
#define REFUSAL_ROWS_MAX 1024
#define PAGE_MAX 200
#define CERTS_MAX 1024         /* certificates that the core remembers */
#define GROUP_BYTES_MAX (64u << 20)
#define TIME_SECOND_US INT64_C(1000000)

struct request;
struct batch;
struct lane_op;
struct known_cert;

/* A sign request, parsed (key then is not NULL). Texts point into the request's own JSON tree, or into its body. */
struct sign_request {
    const char *key, *app, *channel, *version, *name, *source;
    const char *alg, *digest; /* name of the hash, hexadecimal text */
    int64_t size;         /* -1 = not given */
    bool dry_run;
};

/* What a signature says beside its request: fixed when a lane is asked, for the record must say it too. */
struct signed_facts {
    bool statement;
    char scheme[16], issued[32], head_hash[SHA256_HEX];
    uint64_t key_version, head_seq;
};

enum { DOOR_CI = 1, DOOR_ADMIN = 2, DOOR_BOTH = 3 };
enum {
    ROUTE_SIGNED = 1,     /* needs Kms-Signature */
    ROUTE_OPEN = 2        /* every enabled identity may; no policy decision */
};
struct route {
    unsigned doors;
    const char *method, *pattern;  /* one "{}" matches one path segment */
    const char *event;             /* what its refusals are recorded as */
    enum policy_action action;
    unsigned flags;
    size_t body_max;
    const char *content_type;      /* required of a body; NULL = application/json */
    int (*handle)(struct core *c, struct request *rq, struct err *e);
};

/* Requests that wait, oldest first. */
struct wait_list {
    struct request *first, *last;
};
/* A request's place among those in flight whose hash is the same. */
struct flight_link {
    struct request *next, **from;
};
#define FLIGHT_LINKS 3
#define FLIGHT_BUCKETS 1024

struct request {
    struct request *prev, *next;   /* list of all live requests */
    enum child_role door;
    uint64_t id, front_epoch;
    bool at_once;                  /* its answer rests on no record */
    int64_t arrived;               /* on c->clock.boot */
    bool answered;                 /* with 202: what comes of it is told at its operation */
    char req[REQUEST_ID_HEX], src[64], method[16], idem[IDEM_MAX + 1], content_type[64];
    const char *target, *path, *query; /* query: what stands behind '?', "" = nothing */
    char param[NAME_MAX_LEN + 1];  /* what "{}" matched */
    char cred[SHA256_HEX], body_sha256[SHA256_HEX], idem_key[SHA256_HEX];
    struct buf brought;            /* what the frame held of these, one behind the other; an item's is that of its batch, which outlives it */
    struct span cert, body, kms_signature;
    char identity[NAME_MAX_LEN + 1], kind[8];
    bool credential_known;
    char cred_not_after[32];
    const struct route *route;
    char allow[32];                /* methods of the path, for an answer that this one is not among them */
    char rule[ERR_RULE_MAX], policy[SHA256_HEX];
    json_t *json;                  /* the body, where it is JSON */
    json_t *evidence;              /* record member `request` */
    struct sign_request sign;
    struct signed_facts facts;
    struct buf input;              /* what the lane was given */
    bool in_flight;
    struct flight_link flight[FLIGHT_LINKS];
    struct wait_list waiters;      /* for what becomes of this one */
    struct wait_list *waits_in;    /* NULL = it does not wait */
    struct request *wait_prev, *wait_next;
    uint64_t turn;                 /* its number among those that waited, 0 = it never did */
    int64_t wait_until;
    struct batch *items;           /* of a batch */
    struct batch *batch;           /* that this is an item of, NULL = it came alone */
    unsigned index;                /* its place there */
    uint64_t intent_seq;
    char key_id[KEY_ID_HEX];
};

/* What happens once everything up to a record is durable. */
struct after {
    struct after *next;
    uint64_t seq;                  /* needs durable_seq >= seq */
    unsigned weight;               /* how many requests it answers */
    enum child_role door;
    uint64_t front_epoch;
    struct buf frame;              /* reply to send; empty = none */
    int64_t arrived, sealed;       /* on c->clock.boot: the request came, its reply was ready but for the disk; 0 = no reply */
    bool signature;                /* of a request for one */
    bool counts;                   /* in n_held */
    void (*fn)(struct core *c, struct request *rq);
    struct request *rq;
};

struct lane_op {
    struct lane_op *next;
    uint64_t id;
    int64_t deadline;              /* how long it may wait for a lane */
    unsigned patience;             /* ticks that a lane may be silent over it */
    unsigned attempts, attempts_max;
    int64_t submitted, given;      /* on c->clock.boot */
    enum child_role role;
    struct buf frame;              /* as sent; its id is filled in anew for each attempt */
    enum frame_type type;
    /* result: the lane's frame, or NULL with the failure in e. */
    void (*done)(struct core *c, struct request *rq, const struct frame *result, struct err *e);
    struct request *rq;
    /* Asked before a lane gets it, for some time may have passed: -1 = it is not wanted any more, as e says. NULL = always wanted. */
    int (*wanted)(struct core *c, struct request *rq, struct err *e);
};
enum lane_state {
    LANE_DOWN,
    LANE_STARTING,
    LANE_AWAY,                     /* it runs and looks for its token */
    LANE_SEALED,                   /* the token refused its PIN: not started again before somebody acts */
    LANE_PROVING,                  /* logged in; works once it has shown that */
    LANE_READY
};
#define LANE_STATES (LANE_READY + 1)
struct lane {
    enum child_role role;
    unsigned index;
    enum lane_state state;
    bool killed;                   /* its end was asked for: what it still says is ignored */
    bool leaving;                  /* it said why it ends, and is still there */
    unsigned silent;               /* ticks since it said anything, or since it was given something to do */
    unsigned loaded, not_loaded;   /* keys, since its HELLO */
    char sandbox[SANDBOX_TEXT];    /* what confines it, since its HELLO */
    struct lane_op *first, *last;  /* outstanding, oldest first */
    unsigned outstanding;
};
struct lane_queue {
    struct lane_op *first, *last;
};
#define LANE_QUEUES 2              /* signing lanes, administrative lane */

struct nonce {
    struct nonce *next;
    char cred[SHA256_HEX], text[NONCE_HEX];
    int64_t expires;
};
struct refusal {
    char id[NAME_MAX_LEN + SHA256_HEX + 64 + 2];
    char name[NAME_MAX_LEN + 1], cred[SHA256_HEX], src[64];
    char reason[48];               /* of the last one */
    unsigned seen, over;
};

/* See operation.c. */
#define OPERATIONS_MAX 64
enum operation_state { OPERATION_RUNNING, OPERATION_DONE, OPERATION_FAILED };
struct operation {
    struct request *rq;            /* while it runs */
    char id[REQUEST_ID_HEX], key[NAME_MAX_LEN + 1];
    enum operation_state state;
    int64_t started;
    char slug[48], detail[ERR_DETAIL_MAX];
};

/* The anchor's copy on the token, see anchor.c. */
struct anchor_copy {
    bool compared;                 /* the log holds what the token says, or the token says nothing: signing may begin */
    bool asked;                    /* the lane works on it */
    bool useless;                  /* the token keeps no such object */
    uint64_t log_end;              /* records at the start of this process */
    uint64_t counter;              /* of the last copy */
    uint64_t written;              /* seq after the record that the last copy names */
    int64_t due, stop_by;
    char refusal[ERR_DETAIL_MAX + 128], problem[160];
};

/* The process that reads the log, see reader.c. */
#define READER_ASKED_MAX 6 /* a question takes 1.2 s at worst, and nobody waits longer than ANSWER_TIME */
#define READER_TEXT 96
struct core_ask {
    uint64_t id;
    struct request *rq;
    int64_t deadline;
};
struct core_reader {
    enum { READER_DOWN, READER_STARTING, READER_UP } state;
    struct core_ask asked[READER_ASKED_MAX];
    unsigned n_asked;
    uint64_t next_id;
    uint64_t told, indexed;        /* records that it was told are durable; that its index has */
    bool head_open;                /* it was told and has not answered yet */
    bool late;                     /* a question was given up, and it has said nothing since */
    unsigned silent;               /* ticks since it said anything, while it owed a word */
    char what[READER_TEXT];        /* what it does, in its words */
};

/* What a group of records waits for, see gather.c. */
struct core_gather {
    int64_t since;                 /* when the group at hand could be with the disk, 0 = it could not */
    int64_t sync_us;               /* what the last group took there */
    int64_t began;                 /* the period that counts */
    unsigned most, before;         /* requests for a record in hand at the end of a group: the most in this period, and in the one before */
};

struct core {
    struct state *state;
    struct core_io io;
    struct core_start start;
    char started[32];
    int64_t started_us;
    int64_t now;                   /* what records are dated: the wall clock, but never before the last record */
    struct {
        int64_t wall;              /* as it is, even where it was set back: for certificates */
        int64_t boot;              /* since the machine started: for periods */
        int64_t offset;            /* wall - boot at the start or at the last time.step */
    } clock;
    /* commit */
    struct buf pending;            /* lines not yet handed to the disk */
    uint64_t pending_first;
    struct buf writing;
    uint64_t writing_end, durable; /* seq after the last record of the group under way, and of the durable ones */
    char writing_hash[SHA256_HEX], durable_hash[SHA256_HEX];
    int64_t writing_time, durable_time; /* of the records that those are of */
    struct core_blob blob[CORE_BLOBS_MAX], writing_blob[CORE_BLOBS_MAX];
    unsigned n_blobs, n_writing_blobs;
    bool disk_busy;
    struct core_gather gather;
    struct core_room room;         /* as the disk said last; what was sealed since is in pending */
    bool limited, full;            /* room counts; the disk said that there is too little */
    bool begun;                    /* the first records are queued */
    struct buf line;               /* of a signature's record, while that is being made */
    struct after *after_first, *after_last;
    unsigned n_after;              /* requests that they answer, items of batches among them */
    unsigned n_held;               /* of the replies, those that rest on a record of their own */
    /* children */
    bool health_up;
    char health_told[SHA256_HEX];  /* of the state that the health door has */
    char sandbox[SANDBOX_TEXT];    /* the weakest level that any process of this instance told */
    struct { bool up, hello; uint64_t epoch, last_id; int64_t not_after; } front[2]; /* not_after: of the certificate that it shows, 0 = not known */
    struct lane lane[CORE_LANES_MAX];
    unsigned n_lanes;
    bool rsa;                      /* an RSA key was loaded since the start: the token may take long for one signature */
    struct lane_queue queue[LANE_QUEUES];
    struct anchor_copy anchor;
    struct core_reader reader;
    char away_reason[160];         /* why the lane that spoke last has no token */
    uint64_t next_op;
    struct operation operation[OPERATIONS_MAX];
    /* reconcile.c */
    json_t *token;                 /* the lane that started last about its token, NULL = not known */
    json_t *token_keys;            /* name → "missing" or "duplicate"; a key without is present. NULL = the token was not looked through yet */
    bool listing;
    uint64_t compromises;          /* keys that were marked so since the start */
    /* erase.c */
    struct {
        bool busy;                 /* the key is being removed from the token */
        char key[NAME_MAX_LEN + 1];  /* the one that was tried last */
        int64_t again;             /* no try before */
        unsigned failures;         /* one after the other */
        json_t *told;              /* keys whose failure stands in the log */
    } erase;
    /* requests */
    struct known_cert *certs[CERTS_MAX];
    struct buf cert_last;          /* the one that was named last, and its name */
    char cred_last[SHA256_HEX];
    struct request *requests, *flight[FLIGHT_LINKS][FLIGHT_BUCKETS];
    unsigned n_requests, n_items;  /* that fronts wait for; items of batches among them */
    unsigned n_waiting;
    struct wait_list due;          /* no longer kept back */
    struct wait_list queue_of_channel[FLIGHT_BUCKETS]; /* for another version's turn, by hash of the channel */
    uint64_t turns;
    bool waking;
    struct nonce *nonces;
    unsigned n_nonces;
    void *refusals;
    unsigned n_refusals;
    uint64_t refusals_beyond;
    int64_t refusal_window;
    struct {
        bool busy, stop_tried;
        uint64_t usable;           /* the newest one that is known to be good; what a record names may be gone */
        uint64_t seq, bytes;       /* of the one under way, or tried last */
        unsigned waited;           /* ticks that a stop has waited for it */
        int64_t piece;             /* when the last piece of its text was made */
        struct buf text;
        struct snapshot_writer writer; /* the state's, while the text is being made */
    } snapshot;
    struct metrics metrics;
    int64_t warn_again;            /* no note about certificates before */
    uint64_t start_seq;            /* ready when durable > start_seq */
    bool stopping, stop_written;
    uint64_t stop_seq;
    char stop_reason[64];
};

/* clock.c */
void clock_start(struct core *c, int64_t wall_us, int64_t boot_us);
void clock_see(struct core *c, int64_t wall_us); /* beginning of an event */
/* No step of the clock waits for its confirmation, or for room to be recorded: what is due by it may come to pass. */
bool clock_steady(const struct core *c);
json_t *clock_view(const struct core *c);
/* walls.c: a process said at what level it is confined. */
void walls_note(struct core *c, const char *level);
void walls_hello(struct core *c, const struct frame *f);
/* request.c */
struct request *request_new(struct core *c, enum child_role door, const struct frame *f, struct err *e);
/* Item n of the batch that rq brought: as if it had come alone. NULL = out of memory. */
struct request *request_item(struct core *c, struct request *rq, unsigned n);
void request_free(struct core *c, struct request *rq);
struct actor request_actor(const struct request *rq);
/* The body as a JSON object, to be taken member by member. It is read once, however often the handler runs. */
int request_json(struct request *rq, struct json_reader *r, struct err *e) __attribute__((warn_unused_result));
char *request_text(const struct request *rq); /* its body, to be changed where it stands */
/* One text value of the query ("limit", "after", "format"), percent-decoding not needed by their alphabets; unknown parameters are refused by query_check. */
int query_check(const struct request *rq, const char *const *known, struct err *e) __attribute__((warn_unused_result));
int query_get(const struct request *rq, const char *name, char *out, size_t size) __attribute__((warn_unused_result));
int query_page(const struct request *rq, unsigned *limit, char after[static NAME_MAX_LEN + 1], struct err *e) __attribute__((warn_unused_result));
/* route.c: finds route and identity, checks what every request must be, and runs its handler. Consumes rq. */
void request_run(struct core *c, struct request *rq);
/* For metrics: 0 for NULL, routes from 1 on; and back, NULL for 0 and behind the last one. */
size_t route_number(const struct route *r);
const struct route *route_at(size_t number);
/* Ends a request with a refusal: recorded, answered, freed. */
void request_refuse(struct core *c, struct request *rq, struct err *e);
/* certs.c: facts of the request's certificate, and whether the CA key of a credential signed it; both are remembered */
const struct cert_facts *certs_facts(struct core *c, const struct request *rq, struct err *e);
int certs_signed_by(struct core *c, const struct request *rq, const struct credential *by, struct err *e) __attribute__((warn_unused_result));
void certs_name(struct core *c, struct span der, char out[static SHA256_HEX]); /* its SHA-256 */
void certs_free(struct core *c);
/* identify.c */
int identify(struct core *c, struct request *rq, struct err *e) __attribute__((warn_unused_result));
struct identity *identify_again(struct core *c, struct request *rq, struct err *e); /* NULL = no longer allowed to ask */
/* authorise.c: policy decision with the rule kept in rq */
int authorise(struct core *c, struct request *rq, const char *key, const char *app, const char *channel, struct err *e) __attribute__((warn_unused_result));
int authorise_as(struct core *c, struct request *rq, enum policy_action action, struct err *e) __attribute__((warn_unused_result));
/* The reason a person gives for a change: not empty. */
int reason_check(const char *reason, struct err *e) __attribute__((warn_unused_result));
/* evidence.c, nonce.c */
int evidence_check(struct core *c, struct request *rq, struct err *e) __attribute__((warn_unused_result));
int nonce_handle(struct core *c, struct request *rq, struct err *e);
int nonce_take(struct core *c, const char *cred, bool (*fits)(void *ctx, const char *nonce), void *ctx, char out[static NONCE_HEX], unsigned *tried);
void nonces_expire(struct core *c);
void nonces_free(struct core *c);
/* commit.c */
/* Seals a record (taken over), appends it to the group, folds it. ERR_INTERNAL when it could not be built. */
int commit(struct core *c, json_t *record, struct err *e) __attribute__((warn_unused_result));
/* The same for a signature's record, whose line was made from the chain as it stands. */
int commit_signature(struct core *c, const struct record_line *line, struct err *e) __attribute__((warn_unused_result));
/* As commit, for what must not fail while there is any room: results of intents, the first and the last records. */
int commit_kept(struct core *c, json_t *record, struct err *e) __attribute__((warn_unused_result));
/* A record nobody waits for could not be written. */
void commit_lost(struct core *c, const char *event, const struct err *e);
/* room.c: ERR_LOG_UNAVAILABLE unless a record of any size fits, and what must not fail behind it. Ask before a decision has effects. */
int room_check(const struct core *c, struct err *e) __attribute__((warn_unused_result));
/* Do len more bytes fit, with the kept part behind them? */
int room_for(const struct core *c, uint64_t len, bool kept, struct err *e) __attribute__((warn_unused_result));
int room_for_blob(const struct core *c, uint64_t len, struct err *e) __attribute__((warn_unused_result));
void room_set(struct core *c, const struct core_room *room);
int commit_blob(struct core *c, const char *sha256, struct span data, struct err *e) __attribute__((warn_unused_result));
/* Answers with the record that was committed last, and lets go what waited for rq. */
void reply_committed(struct core *c, struct request *rq);
/* Commits the record (taken over) and answers with it. */
int commit_answer(struct core *c, struct request *rq, json_t *record, struct err *e) __attribute__((warn_unused_result));
void after_reply(struct core *c, struct request *rq, struct buf *frame);
int after_call(struct core *c, void (*fn)(struct core *c, struct request *rq), struct request *rq) __attribute__((warn_unused_result));
void commit_done(struct core *c);
int64_t commit_turn(struct core *c, int64_t boot_us); /* core_turn, of groups */
void commit_free(struct core *c);
/* gather.c */
void gather_done(struct core *c, int64_t took_us);      /* a group is on disk, its replies not yet sent */
int64_t gather_left(struct core *c, int64_t boot_us);   /* microseconds that the group at hand waits yet; 0 = it goes to the disk now */
/* The record of a change that a person signed: record_for with the evidence, the Idempotency-Key and, where it is long, the body as a blob. NULL with e filled. */
json_t *record_change(struct core *c, const struct request *rq, const char *event, const char *outcome, struct err *e);
json_t *record_for(struct core *c, const struct request *rq, const char *event, const char *outcome);
/* reply.c */
struct reply_head {
    unsigned status;
    const char *content_type, *location, *link, *allow;
    unsigned retry_after;
};
void reply(struct core *c, struct request *rq, const struct reply_head *head, struct span body); /* frees rq */
void reply_json(struct core *c, struct request *rq, unsigned status, json_t *body);              /* takes body, frees rq */
void reply_accepted(struct core *c, struct request *rq, const char *location, json_t *body);     /* 202; takes body, keeps rq: its other answer goes nowhere */
void reply_problem(struct core *c, struct request *rq, const struct err *e);                     /* frees rq */
json_t *problem_json(const struct err *e, const char *request_id);                               /* RFC 9457; caller owns */
/* Answers with what the record of that line says; used for first answers and repeated ones alike. */
void reply_record(struct core *c, struct request *rq, struct span line);
/* As reply_record, where the line was read, and the statement that was signed is at hand; empty = it is built again. */
void reply_line(struct core *c, struct request *rq, const struct record_line *line, struct span payload);
/* answer.c: body (canonical JSON, appended) and status of the answer that a recorded success gets. */
int answer_put(const struct core *c, const struct record_line *line, struct span payload, unsigned *status, struct buf *out) __attribute__((warn_unused_result));
json_t *key_view(const struct key *k);
json_t *identity_view(const struct identity *i);
/* idem.c: 1 = answered (rq gone), 0 = go on, 2 = waits, -1 = conflict. */
int idem_check(struct core *c, struct request *rq, struct err *e) __attribute__((warn_unused_result));
/* wait.c */
/* From here to flight_end others wait for what becomes of rq: its channel's version and name, its Idempotency-Key. */
void flight_begin(struct core *c, struct request *rq);
void flight_end(struct core *c, struct request *rq);
struct wait_list *kept_back(struct core *c, const struct request *rq); /* where it has to wait, NULL = nowhere */
int wait_for(struct core *c, struct request *rq, struct wait_list *list, struct err *e) __attribute__((warn_unused_result));
void wait_leave(struct core *c, struct request *rq);
void wait_turn(struct core *c, struct request *rq); /* behind those that are due already; wake_waiters runs its handler */
void wake_waiters(struct core *c);         /* after a flight_end or wait_turn: runs the handlers of those that are due */
void waiters_expire(struct core *c);
/* refuse.c */
/* Where it cannot be recorded for lack of room, e says so instead. */
void refusal_record(struct core *c, struct request *rq, struct err *e);
void refusal_count(struct core *c, const char *name, const char *cred, const char *src, const char *reason, uint64_t n);
void refusals_summarise(struct core *c, bool force);
/* snapshot.c: writes one when it is due, a piece a turn */
void snapshot_tick(struct core *c);
int64_t snapshot_turn(struct core *c, int64_t boot_us); /* as core_turn */
/* May daemon.stop be written? A stop writes a snapshot first where that is worth it. */
bool snapshot_settled(struct core *c);
/* lanes.c: work for the lanes */
struct lane_op *lane_op_new(enum child_role role, enum frame_type type, int64_t deadline, unsigned attempts_max,
                            void (*done)(struct core *c, struct request *rq, const struct frame *result, struct err *e), struct request *rq);
/* Writes the frame of work with a key: what a frame of op's type must have of the key, and the input where there is one (data not NULL).
 * Takes NULL for no memory; NULL = failed, op is freed. */
struct lane_op *lane_op_key(struct lane_op *op, const struct key *k, struct span input) __attribute__((warn_unused_result));
void lane_submit(struct core *c, struct lane_op *op);   /* takes op */
void lane_give(struct core *c, struct lane *l, struct lane_op *op); /* to this lane, whatever its state; takes op */
int lane_answer(struct core *c, struct lane *l, const struct frame *f) __attribute__((warn_unused_result));
void lane_return(struct core *c, struct lane *l);       /* what it was given goes to others, or fails */
void lanes_settle(struct core *c);                      /* end of an event: fails what waits where there is nothing to wait for */
void lanes_expire(struct core *c);
void lanes_free(struct core *c);
unsigned lanes_outstanding(const struct core *c);       /* what the signing lanes have in hand */
/* anchor.c */
void anchor_step(struct core *c);                        /* end of an event: asks the lane for what is due */
void anchor_stop(struct core *c);                        /* the last record is durable: the copy must name it */
bool anchor_settled(const struct core *c);
bool lanes_hopeless(const struct core *c, enum child_role role); /* no work for that role can be done, and waiting will not help by itself */
int anchor_check(const struct core *c, struct err *e) __attribute__((warn_unused_result)); /* may a signature be made yet? */
/* lanelife.c: the lanes themselves */
struct lane *lane_of(struct core *c, enum child_role role, unsigned index);
int lane_hello(struct core *c, struct lane *l, const struct frame *f) __attribute__((warn_unused_result));
int lane_away(struct core *c, struct lane *l, const struct frame *f) __attribute__((warn_unused_result));
void lane_up(struct core *c, struct lane *l);
void lane_down(struct core *c, struct lane *l, const char *reason);
void lane_loaded(struct core *c, struct lane *l, bool well);
void lane_probed(struct core *c, struct lane *l, bool well);
void lanes_tick(struct core *c);
void lanes_load_key(struct core *c, const struct key *k);
void lane_unloaded(struct core *c, struct lane *l, bool well);
void lanes_unload_key(struct core *c, const struct key *k); /* no signing lane has it any more */
unsigned lanes_ready(const struct core *c);
bool lanes_any(const struct core *c, enum lane_state state);
/* reconcile.c: what the token holds against what the log says */
void reconcile_start(struct core *c);                   /* lists the objects of the token, unless that is under way */
/* "present", "missing", "duplicate"; NULL = not known yet. */
const char *reconcile_word(const struct core *c, const struct key *k);
bool reconcile_all_lost(const struct core *c);          /* the token was looked through and has no key as it was recorded */
/* ERR_TOKEN_UNAVAILABLE for a key that is not there exactly once; then the token is looked through again. */
int reconcile_check(struct core *c, const struct key *k, struct err *e) __attribute__((warn_unused_result));
/* keys.c: the key that the path names, when the caller may do with it what the route is for */
const struct key *key_named(struct core *c, struct request *rq, struct err *e);
/* keylife.c: may the key sign and hand out what it signed? ERR_KEY_NOT_ACTIVE, ERR_KEY_COMPROMISED with the way out. */
int keylife_usable(const struct key *k, struct err *e) __attribute__((warn_unused_result));
int keylife_answerable(const struct core *c, const char *key, struct err *e) __attribute__((warn_unused_result)); /* as keylife_usable, by name */
/* tally.c: keys and identities by their states; the words are those of the API */
#define CERT_SOON (21 * 86400 * TIME_SECOND_US) /* a certificate that ends within this time is near its end */
#define TALLY_KEY_STATES 6
#define TALLY_KINDS 3
enum { TALLY_PRESENT, TALLY_MISSING, TALLY_DUPLICATE, TALLY_UNKNOWN, TALLY_FOUND };
extern const char *const tally_key_states[TALLY_KEY_STATES + 1], *const tally_found[TALLY_FOUND + 1], *const tally_kinds[TALLY_KINDS + 1];
struct tally {
    int64_t keys[TALLY_KEY_STATES], found[TALLY_FOUND], identities[2][TALLY_KINDS]; /* enabled, disabled */
    int64_t ending, ended;         /* enabled identities whose last certificate ends soon, or has ended */
};
void tally(const struct core *c, struct tally *out);
/* The CA's certificate and those that the doors show. */
#define CERTIFICATES_SHOWN 3
struct shown_certificate {
    const char *name;
    int64_t not_after;
};
unsigned tally_certificates(const struct core *c, struct shown_certificate out[static CERTIFICATES_SHOWN]);
/* servercert.c: a door says that it shows this certificate */
void server_certificate_shown(struct core *c, struct span der, const struct cert_facts *f);
/* warnings.c: [{"do", "what"}] */
json_t *warnings_view(const struct core *c);
void warnings_tick(struct core *c);                      /* notes certificates that are near their end, once a day */
/* metrics.c: counts */
extern const unsigned metrics_status[METRIC_STATUSES];  /* HTTP status, 0 = any other */
extern const char *const metrics_tls[METRIC_TLS];
void metrics_answered(struct core *c, const struct request *rq, unsigned status);
void metrics_released(struct core *c, const struct after *a);
void metrics_tls_refused(struct core *c, const char *reason, uint64_t n);
void metrics_child_end(struct core *c, enum child_role role);
/* core.c, status.c: words */
const char *role_name(enum child_role role);
extern const char *const lane_state_names[];
/* metricstext.c: all of it, in Prometheus' text format */
void metrics_text(struct core *c, struct buf *out);
/* operation.c */
int operation_begin(struct core *c, struct request *rq, struct err *e) __attribute__((warn_unused_result));
void operation_end(struct core *c, struct request *rq, const struct err *e); /* e NULL: it is done */
void operations_tick(struct core *c);
int operation_show(struct core *c, struct request *rq, struct err *e);
/* jwks.c: a set of this one key */
int jwks_put(const struct key *k, struct buf *out, struct err *e) __attribute__((warn_unused_result));
/* shown.c: what a lane says of a key that it made, or of what it removed. NULL = not in the form that a record has for it. */
json_t *shown_birth(struct span text, struct err *e) __attribute__((warn_unused_result));
json_t *shown_proof(struct span text, struct err *e) __attribute__((warn_unused_result));
/* erase.c: removes from the token what is due */
void erase_tick(struct core *c);
/* health.c: the state goes to the health door when it changed, or again */
void health_tell(struct core *c, bool again);
/* Why the service is not ready: sentences, or as warnings_view has them. */
json_t *health_reasons(const struct core *c, bool cures);
bool health_ready(const struct core *c);
int health_frame(struct core *c, const struct frame *f) __attribute__((warn_unused_result));
/* reader.c: questions about the past, for another process */
int reader_frame(struct core *c, const struct frame *f) __attribute__((warn_unused_result));
void reader_child(struct core *c, bool up);
void reader_tick(struct core *c);
const char *reader_word(const struct core *c); /* "down", "starting", "silent", or what it says it does */
/* the handlers */
int audit_records(struct core *c, struct request *rq, struct err *e);
int audit_record(struct core *c, struct request *rq, struct err *e);
int audit_blob(struct core *c, struct request *rq, struct err *e);
/* enrol.c: certificates by the CA key */
struct issue_request {
    const char *csr, *kind, *name;
    int64_t days;
};
/* Has the administrative lane issue one; rq waits for it. */
int enrol_issue(struct core *c, struct request *rq, const struct issue_request *n,
                void (*done)(struct core *c, struct request *rq, const struct frame *result, struct err *e), struct err *e) __attribute__((warn_unused_result));
void enrol_bind(struct credential *cr, const struct cert_facts *f);   /* the credential that an issued certificate is */
int enrol_free(const struct core *c, const struct credential *cr, struct err *e) __attribute__((warn_unused_result)); /* does it belong to nobody? */
int renew_own(struct core *c, struct request *rq, struct err *e);
int identities_renew(struct core *c, struct request *rq, struct err *e);
int sign_handle(struct core *c, struct request *rq, struct err *e);
int keys_list(struct core *c, struct request *rq, struct err *e);
int keys_show(struct core *c, struct request *rq, struct err *e);
int keys_public(struct core *c, struct request *rq, struct err *e);
int keys_create(struct core *c, struct request *rq, struct err *e);
int jwks_show(struct core *c, struct request *rq, struct err *e);
int keylife_destroy(struct core *c, struct request *rq, struct err *e);
int keylife_change(struct core *c, struct request *rq, struct err *e);
int keys_orphans(struct core *c, struct err *e) __attribute__((warn_unused_result));
int identities_list(struct core *c, struct request *rq, struct err *e);
int identities_show(struct core *c, struct request *rq, struct err *e);
int identities_create(struct core *c, struct request *rq, struct err *e);
int identities_disable(struct core *c, struct request *rq, struct err *e);
int identities_enable(struct core *c, struct request *rq, struct err *e);
int policy_show(struct core *c, struct request *rq, struct err *e);
int policy_put(struct core *c, struct request *rq, struct err *e);
int policy_check(struct core *c, struct request *rq, struct err *e);
int releases_withdraw(struct core *c, struct request *rq, struct err *e);
int time_confirm(struct core *c, struct request *rq, struct err *e);
int status_show(struct core *c, struct request *rq, struct err *e);
int whoami_show(struct core *c, struct request *rq, struct err *e);
/* batch.c: rq's JSON, which r reads, has `items`. Takes rq over when it returns 0. */
int batch_begin(struct core *c, struct request *rq, struct json_reader *r, struct err *e) __attribute__((warn_unused_result));
/* A batch of small, plain items is read where it stands. 1 = the body is none; the text is as it was. */
int batch_begin_plain(struct core *c, struct request *rq, struct err *e) __attribute__((warn_unused_result));
void batch_answer(struct core *c, struct request *item, unsigned status, struct span body); /* frees item */
unsigned batch_size(const struct batch *b); /* NULL: 0 */
void batch_free(struct core *c, struct batch *b);
/* sign_request.c */
int sign_request_parse(struct json_reader *r, struct sign_request *out, struct err *e) __attribute__((warn_unused_result));

#endif
