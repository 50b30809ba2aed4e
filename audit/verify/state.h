/* What the records so far have established: keys, identities, version marks, nonces. The verifier's own fold. */
#ifndef KMS_VERIFY_STATE_H
#define KMS_VERIFY_STATE_H

#include "audit/verify/map.h"
#include "audit/verify/pubkey.h"
#include "base/hash.h"
#include "base/json.h"

enum key_life { LIFE_ACTIVE, LIFE_SUSPENDED, LIFE_RETIRED, LIFE_DESTROYING, LIFE_DESTROYED };
struct key {
    char *name, *scheme, *purpose, *algorithm, *key_id, *body_sha256, *policy, *idem, *rule, *actor;
    uint64_t version, intent_seq;
    struct buf spki;          /* DER; empty until the result */
    struct pubkey *public;    /* the same, read at the first signature */
    bool ended;               /* the intent has its result */
    bool doubtful;            /* an altered record took part in it */
    enum key_life life, before; /* before: what key.restore leads back to while it is LIFE_DESTROYING */
    bool compromised;
    bool copyable;            /* whoever has the PIN can make another object of it */
    int64_t due;              /* of its destruction, while it is LIFE_DESTROYING */
    uint64_t erase_seq;       /* intent of it, 0 = it has not begun */
    struct key *next;         /* in order of intents */
};
/* A certificate that is bound to an identity. */
struct cert {
    char sha256[SHA256_HEX], spki_sha256[SHA256_HEX];
    int64_t not_after;
    bool issued;              /* by this service */
};
struct identity {
    char *name, *kind;
    bool enabled, founder;    /* founder: log.genesis or admin.recover made it */
    char **ssh;
    size_t n_ssh;
    struct cert *cert;
    size_t n_cert, n_san;     /* n_san: credentials that are a name under a CA, which any certificate may carry */
};
/* The newest version of one channel of one app. */
struct mark {
    char *version;
    bool withdrawn;
    struct map digests;       /* artifact name -> SHA-256 of the newest version */
};
struct state {
    bool genesis;
    char instance[33], mode[16], policy[SHA256_HEX];
    struct buf ca_spki, ca_before; /* of the newest CA, and of the one before it */
    struct map keys;          /* "name\nversion" -> struct key with a result */
    struct map intents;       /* "seq" -> struct key */
    struct key *first_intent, *last_intent;
    struct map key_ids, public_keys; /* of everything on the token that a record names: CKA_ID; SPKI in base64 */
    struct map nonces, identities, marks;
    struct map ssh, names;    /* SSH keys of people; names under a CA, "CA\nkind\nname" */
    struct map owners;        /* SHA-256 of a certificate -> the identity that it belongs to, or belonged to last */
    struct map issued;        /* SHA-256 of every certificate that the service issued */
    int64_t started;          /* time of the newest daemon.start */
    uint64_t snapshot;        /* records that the newest named snapshot covers */
    uint64_t time_step;       /* the newest time.step while nobody has confirmed it, else 0 */
};

void state_init(struct state *s);
void state_free(struct state *s);
/* All return NULL when there is none, or when memory is out. */
struct key *state_key(const struct state *s, const char *name, uint64_t version);
struct key *state_add_intent(struct state *s, uint64_t seq, const json_t *record);
struct key *state_intent(const struct state *s, uint64_t seq);
int state_add_key(struct state *s, struct key *k) __attribute__((warn_unused_result));
struct identity *state_identity(const struct state *s, const char *name);
struct identity *state_add_identity(struct state *s, const json_t *identity);
/* Another certificate, by the credential of a record, -1 when memory is out; and one less. */
int identity_add_cert(struct identity *i, const json_t *credential) __attribute__((warn_unused_result));
void identity_drop_cert(struct identity *i, const struct cert *cert);
bool identity_has_ssh(const struct identity *i, const char *key);
/* Its certificate of that SHA-256; NULL when it has none. */
const struct cert *identity_cert(const struct identity *i, const char *sha256);
/* Whose certificate it is; NULL when it is nobody's. state_own makes it somebody's. */
const struct identity *state_owner(const struct state *s, const char *sha256);
int state_own(struct state *s, const char *sha256, struct identity *i) __attribute__((warn_unused_result));
/* The mark of a channel, made when there is none. */
struct mark *state_mark(struct state *s, const char *app, const char *channel);
/* Moves it to another version, of which nothing is signed yet. */
int mark_move(struct mark *m, const char *version) __attribute__((warn_unused_result));
/* 0 = it was not there before and is now. */
int state_take(struct map *set, const char *id) __attribute__((warn_unused_result));

/* Members of a record; "" and 0 when absent. */
const char *text_of(const json_t *object, const char *member);
uint64_t count_of(const json_t *object, const char *member);

#endif
