/* Seeded sequences of records that fold: every event that the state knows, built and sealed by the code of the service. */
#ifndef KMS_LONGLOG_RECORDS_H
#define KMS_LONGLOG_RECORDS_H

#include "audit/state/state.h"

#define RECORDS_CHANNELS 8
#define RECORDS_POLICIES 2
#define RECORDS_KEYS 64

struct records_channel {
    unsigned version, names; /* of the newest version */
    bool withdrawn;
};
/* What became of a key. */
struct records_key {
    bool made, compromised;
    enum key_state state, before;
    int64_t due;
    uint64_t erase;
};
struct records {
    uint64_t rng;
    struct chain chain;
    int64_t now, pace;         /* microseconds between records, at most */
    struct buf lines;
    uint64_t n_records;
    bool traffic_only;         /* signatures, withdrawals and refusals: what needs nothing but a log to go on */
    unsigned principals, batch; /* one log may be made longer several times: each time with apps of its own */
    struct records_channel channel[RECORDS_CHANNELS];
    unsigned identities, keys;
    struct records_key key[RECORDS_KEYS];
    uint64_t intent;           /* open intent, 0 = none */
    uint64_t step;             /* unconfirmed time.step, 0 = none */
    char policy_sha256[RECORDS_POLICIES][SHA256_HEX];
    bool altered_blobs;
};

uint64_t records_random(struct records *g, uint64_t below);
/* The generator alone; chain and time are the caller's to set. */
void records_init(struct records *g, uint64_t seed);
/* The generator with a genesis record. */
void records_begin(struct records *g, uint64_t seed);
void records_end(struct records *g);
void records_add(struct records *g, unsigned n);
/* Where the record after the first n begins in lines. */
size_t records_offset(const struct records *g, uint64_t n);
struct blob_source records_blobs(const struct records *g);

#endif
