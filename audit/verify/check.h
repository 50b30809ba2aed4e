/* The second pass: does every chained record say what can be, and do its signatures verify? */
#ifndef KMS_VERIFY_CHECK_H
#define KMS_VERIFY_CHECK_H

#include "audit/verify/chain.h"
#include "audit/verify/schema.h"
#include "audit/verify/state.h"
#include "audit/verify/workers.h"
#include "policy/policy.h"

#define RECENT 4096 /* records whose times are kept */
struct check {
    const struct segments *segments;
    const struct chain *chain;
    struct report *report;
    struct state state;
    struct report_counts counts;
    bool damaged;             /* the chain is: what a record refers to may be among what is lost */
    uint64_t unjudged;        /* records that refer to something lost */
    struct map blobs;         /* bodies that were checked */
    struct policy *policy;    /* that holds; NULL = it cannot be read */
    struct workers *workers;  /* they verify signatures */
    struct {
        uint64_t seq;
        int64_t time;
    } recent[RECENT];         /* at seq % RECENT */
    struct buf payload;       /* of the statement at hand; the memory is kept */
};
/* One record of the chain. */
struct record {
    const json_t *json, *detail;
    enum event event;
    enum outcome outcome;
    uint64_t seq, line;
    int64_t time;
    bool altered;             /* found so by its chain: its effects are taken, its contents are not judged again */
};

int check_run(struct check *c, struct err *e) __attribute__((warn_unused_result));
void check_free(struct check *c);

/* Findings about a record. All return -1. */
int check_fail(struct check *c, const struct record *r, enum finding_kind kind, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* What the record refers to is not there: a finding, unless it may have been lost. */
int check_lacks(struct check *c, const struct record *r, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The time of an earlier record; -1 when it has none that can be read. */
int check_time_of(const struct check *c, uint64_t seq, int64_t *out) __attribute__((warn_unused_result));

/* Parts, a file each. */
void decision_check(struct check *c, const struct record *r);                                     /* decision.c */
void decision_policy(struct check *c, const struct record *r, struct span yaml);                  /* it holds from here on; data NULL: it cannot be read */
void decision_policy_blob(struct check *c, const struct record *r, const char *sha256);
void applier_check(struct check *c, const struct record *r);                                       /* applier.c */
/* birth of that key, which was made for that mechanism. may_copy: it can be one that sessions copy. */
void birth_check(struct check *c, const struct record *r, const char *key, const json_t *birth, const char *mechanism, bool may_copy); /* birth.c */
void event_check(struct check *c, const struct record *r);                                        /* events.c */
void key_check(struct check *c, const struct record *r);                                          /* keys.c */
void keylife_check(struct check *c, const struct record *r);                                      /* keylife.c */
void erase_check(struct check *c, const struct record *r);
void keylife_sign_check(struct check *c, const struct record *r, const struct key *k); /* may the key sign at that point of the log? */
void release_check(struct check *c, const struct record *r);                                      /* releases.c */
void identity_check(struct check *c, const struct record *r);                                     /* identities.c */
/* An issued certificate in detail.certificate_b64: by a CA of the log, for the key of that signing request (PEM, NULL = not known), as the credential says,
 * in the name of that identity, and not issued before. */
int issued_check(struct check *c, const struct record *r, const char *pem, const json_t *credential, const char *name);
/* The certificates of an identity belong to no other one. */
void credentials_take(struct check *c, const struct record *r, struct identity *i);
void renew_check(struct check *c, const struct record *r);                                         /* renew.c */
void ca_check(struct check *c, const struct record *r);                                            /* ca.c */
void server_check(struct check *c, const struct record *r);                                        /* ca.c */
void ca_take(struct check *c, const struct record *r); /* detail.ca issues from here on */
void token_key_take(struct check *c, const struct record *r, const json_t *key); /* no other record names that key of the token */
/* Did a CA that holds at that point of the log issue the certificate (DER)? */
bool ca_issued(const struct check *c, struct span der);
void recover_check(struct check *c, const struct record *r);                                       /* recover.c */
void time_step_check(struct check *c, const struct record *r);                                    /* clock.c */
void time_confirm_check(struct check *c, const struct record *r);
int signature_check(struct check *c, const struct record *r, struct key *k);                      /* statement.c: a finding may come later */
void signature_judged(void *check, const struct work *w);
/* The signed request of a person: signature, nonce, method and path; the body is appended. */
int request_check(struct check *c, const struct record *r, const char *method, const char *path, struct buf *body);
/* The same, with the body read as one JSON object. NULL after a finding. */
json_t *request_json(struct check *c, const struct record *r, const char *method, const char *path);
/* Who acts: known, enabled, of that kind, with that certificate. The identity, or NULL after a finding. */
const struct identity *actor_check(struct check *c, const struct record *r);
/* A body by its SHA-256, appended to out (may be NULL). */
int blob_check(struct check *c, const struct record *r, const char *sha256, struct buf *out);
/* The bytes that a log.recovered record says were kept aside. */
void torn_check(struct check *c, const struct record *r);

#endif
