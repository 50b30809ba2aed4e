/* What the disk has promised to take: the fold never gets ahead of it. */
#include "kmsd/core/internal.h"

#define ROOM_KEEP (256u << 10)   /* of the reserve, for what must not fail */
#define BLOB_MARGIN (1u << 20)   /* left to others beside a large body */

static uint64_t used(const struct core *c)
{
    return c->pending.len + (c->disk_busy ? c->writing.len : 0);
}

int room_for(const struct core *c, uint64_t len, bool kept, struct err *e)
{
    if (!c->limited || used(c) + len + (kept ? 0 : ROOM_KEEP) <= c->room.lines)
        return 0;
    return err_set(e, ERR_LOG_UNAVAILABLE, "the disk under the audit log has no room for another record");
}

int room_check(const struct core *c, struct err *e)
{
    return room_for(c, RECORD_LINE_MAX + 1, false, e);
}

int room_for_blob(const struct core *c, uint64_t len, struct err *e)
{
    uint64_t want = len + BLOB_MARGIN;

    for (unsigned n = 0; n < c->n_blobs; n++)
        want += c->blob[n].data.len;
    for (unsigned n = 0; c->disk_busy && n < c->n_writing_blobs; n++)
        want += c->writing_blob[n].data.len;
    if (!c->limited || want <= c->room.blobs)
        return 0;
    return err_set(e, ERR_LOG_UNAVAILABLE, "the disk under the audit log has no room for a body of %llu bytes", (unsigned long long)len);
}

void room_set(struct core *c, const struct core_room *room)
{
    struct err e = {0};
    bool was_full = c->full;

    c->room = *room;
    c->limited = true;
    c->full = room_check(c, &e) != 0;
    if (c->full && !was_full)
        c->io.note(c->io.ctx, CORE_NOTE_WARNING, "log.full", e.detail);
    if (!c->full && was_full)
        c->io.note(c->io.ctx, CORE_NOTE_INFO, "log.room", "the disk under the audit log has room again");
}
