/* A token in memory that works, and ends the process when a lane makes a use of it that it must not. */
#ifndef KMS_FUZZ_LANETOKEN_H
#define KMS_FUZZ_LANETOKEN_H

#include "kmsd/token/anchor.h"
#include "kmsd/token/label.h"
#include "kmsd/token/lane.h"

#define PAIRS 5
#define PAIR_CA 2
#define LABEL_ANCHOR ANCHOR_LABEL "00112233445566778899aabbccddeeff"
#define STATEMENT_PREFIX "DSSEv1 28 application/vnd.in-toto+json "

struct lanetoken_pair {
    const char *label;
    EVP_PKEY *key;
    struct buf spki;
    uint8_t id[KEY_ID_LEN], point[67];
};
extern struct lanetoken_pair lanetoken_pairs[PAIRS]; /* of the last one there is no object: a new key is that pair */
extern const struct frame *lanetoken_asked;          /* what the lane does now */

void require(bool holds);
/* Once: key pairs and functions. */
void lanetoken_make(void);
/* The token as it was, for this lane; its settings: whether keys may be copied, how many signatures are begun ahead. */
void lanetoken_begin(struct lane *l, bool copies, unsigned ahead);
/* No session is left but the lane's own. */
void lanetoken_end(struct lane *l);

#endif
