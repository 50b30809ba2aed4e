/* Writes, reads and judges one slot of an anchor. */
#include "audit/anchor.h"

#include <string.h>

#include "base/enc.h"

static const char MAGIC[8] = {'K', 'M', 'S', 'D', 'A', 'N', 'C', 'H'};

enum { AT_VERSION = 8, AT_ZERO = 12, AT_INSTANCE = 16, AT_COUNTER = 32, AT_SEQ = 40, AT_HASH = 48, AT_SUM = 80 };
#define INSTANCE_LEN 16

static void put_hex(struct buf *out, const char *hex, size_t len)
{
    uint8_t bytes[SHA256_LEN];

    if (len > sizeof bytes || hex_decode(hex, strlen(hex), bytes, len))
        out->failed = true;
    else
        buf_put(out, bytes, len);
}

void anchor_encode(struct buf *out, const struct anchor *a)
{
    uint8_t sum[SHA256_LEN];
    size_t start = out->len;

    buf_put(out, MAGIC, sizeof MAGIC);
    buf_u32(out, ANCHOR_VERSION);
    buf_u32(out, 0);
    put_hex(out, a->instance, INSTANCE_LEN);
    buf_u64(out, a->counter);
    buf_u64(out, a->seq);
    put_hex(out, a->hash, SHA256_LEN);
    out->failed |= a->counter > ANCHOR_COUNTER_MAX || a->seq > ANCHOR_COUNTER_MAX;
    if (buf_ok(out))
        return;
    sha256(out->data + start, AT_SUM, sum);
    buf_put(out, sum, sizeof sum);
}

static uint64_t get_number(const uint8_t *p, size_t len)
{
    uint64_t n = 0;

    for (size_t i = 0; i < len; i++)
        n = n << 8 | p[i];
    return n;
}

int anchor_decode(struct span slot, struct anchor *out)
{
    const uint8_t *p = slot.data;
    uint8_t sum[SHA256_LEN];
    struct anchor a;

    if (slot.len != ANCHOR_LEN)
        return -1;
    sha256(p, AT_SUM, sum);
    if (memcmp(p, MAGIC, sizeof MAGIC) || memcmp(p + AT_SUM, sum, sizeof sum) || get_number(p + AT_VERSION, 4) != ANCHOR_VERSION ||
        get_number(p + AT_ZERO, 4))
        return -1;
    a.counter = get_number(p + AT_COUNTER, 8);
    a.seq = get_number(p + AT_SEQ, 8);
    if (a.counter > ANCHOR_COUNTER_MAX || a.seq > ANCHOR_COUNTER_MAX)
        return -1;
    hex_encode(p + AT_INSTANCE, INSTANCE_LEN, a.instance);
    hex_encode(p + AT_HASH, SHA256_LEN, a.hash);
    *out = a;
    return 0;
}

uint64_t anchor_next_counter(uint64_t last, int64_t now_us)
{
    uint64_t next = last < ANCHOR_COUNTER_MAX ? last + 1 : last;

    return now_us > 0 && (uint64_t)now_us > next && (uint64_t)now_us <= ANCHOR_COUNTER_MAX ? (uint64_t)now_us : next;
}

enum anchor_verdict anchor_judge(const struct anchor *a, const char *instance, uint64_t n_records, const char *hash)
{
    if (strcmp(a->instance, instance))
        return ANCHOR_FOREIGN;
    if (a->seq >= n_records)
        return ANCHOR_AHEAD;
    return hash && !strcmp(a->hash, hash) ? ANCHOR_HOLDS : ANCHOR_REPLACED;
}

const char *anchor_verdict_word(enum anchor_verdict v)
{
    static const char *const words[] = {[ANCHOR_HOLDS] = "sound", [ANCHOR_AHEAD] = "ahead", [ANCHOR_REPLACED] = "replaced", [ANCHOR_FOREIGN] = "foreign"};

    return words[v];
}

int anchor_refuse(const struct anchor *a, enum anchor_verdict v, const char *where, uint64_t n_records, struct err *e)
{
    unsigned long long seq = a->seq, end = n_records ? n_records - 1 : 0;

    switch (v) {
    case ANCHOR_AHEAD:
        return err_set(e, ERR_LOG_UNAVAILABLE, "%s names record %llu:%s, but the log ends at record %llu: it was put back or cut short. " ANCHOR_CURE, where,
                       seq, a->hash, end);
    case ANCHOR_REPLACED:
        return err_set(e, ERR_LOG_UNAVAILABLE, "%s names record %llu:%s, but the log has another record there: it was replaced or forked. " ANCHOR_CURE,
                       where, seq, a->hash);
    case ANCHOR_FOREIGN:
        return err_set(e, ERR_LOG_UNAVAILABLE, "%s belongs to instance %s, not to that of this log. Correct the setting `anchor`, or: " ANCHOR_CURE, where,
                       a->instance);
    case ANCHOR_HOLDS: break;
    }
    return err_set(e, ERR_INTERNAL, "%s agrees with the log", where);
}
