/* Signatures that are judged and answered together; what a failure means for the lane. */
#include "base/log.h"
#include "kmsd/token/lane.h"
#include "kmsd/token/latch.h"

int verb_failed(struct lane *l, uint8_t type, uint64_t id, const struct fault *f)
{
    size_t mark = frame_begin(&l->stream.out, FRAME_ERROR, id);

    frame_put_u64(&l->stream.out, TAG_CLASS, f->class);
    frame_put_str(&l->stream.out, TAG_REASON, f->reason);
    frame_end(&l->stream.out, mark);
    log_line(LOG_LEVEL_ERROR, "verb", "type=%u class=%u reason=\"%s\"", type, (unsigned)f->class, f->reason);
    if (f->class != LANE_HUMAN)
        return f->class == LANE_TOKEN ? LANE_EXIT_TOKEN : 0;
    if (!f->untried)
        latch_set(l->settings, f->reason);
    return f->untried ? LANE_EXIT_SETTINGS : LANE_EXIT_SEALED;
}

static void answer(struct lane *l, const struct made *m)
{
    size_t mark = frame_begin(&l->stream.out, FRAME_RESULT, m->id);

    frame_put(&l->stream.out, TAG_OUTPUT, span_of(m->signature, m->len));
    frame_end(&l->stream.out, mark);
}

/* Neighbours share the look at their key. */
int verb_settle(struct lane *l)
{
    const struct key *seen = NULL;
    struct fault gone = {0}, wrong;
    int code = 0;

    fault_set(&wrong, LANE_VERIFY, "the signature does not verify");
    if (l->n_waiting)
        keys_judge(l->batch, l->waiting, l->n_waiting);
    for (size_t n = 0; n < l->n_waiting; n++) {
        struct made *m = &l->waiting[n];
        int ends = 0;

        l->table_due |= ++m->key->judged % LANE_TABLE_AFTER == 0;
        if (m->key != seen && !key_still(&l->token, m->key, &gone))
            gone = (struct fault){0};
        seen = m->key;
        if (!m->good || gone.class)
            ends = verb_failed(l, FRAME_SIGN, m->id, m->good ? &gone : &wrong);
        else
            answer(l, m);
        code = code ? code : ends;
    }
    l->n_waiting = 0;
    return code;
}
