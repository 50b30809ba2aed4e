/* The core's entry points: every event from outside comes in here. */
#include "kmsd/core/core.h"

#include <stdlib.h>
#include <string.h>

#include "audit/state/tree.h"
#include "base/timefmt.h"
#include "kmsd/core/internal.h"

static json_t *start_record(const struct core *c)
{
    const struct core_start *s = &c->start;
    json_t *record = record_new("daemon.start", "ok", &actor_system, "");

    json_object_set_new(record, "detail", json_pack("{s:s, s:s, s:O, s:s, s:s}", "boot_id", s->boot_id, "module_sha256", s->module_sha256, "programs",
                                                    s->programs, "settings_sha256", s->settings_sha256, "version", s->version));
    return record;
}

static int first_records(struct core *c, struct err *e)
{
    if (c->start.recovered) {
        json_t *record = record_new("log.recovered", "ok", &actor_system, "");

        json_object_set(record, "detail", c->start.recovered);
        if (commit_kept(c, record, e))
            return -1;
    }
    c->start_seq = c->state->chain.next_seq;
    if (commit_kept(c, start_record(c), e) || keys_orphans(c, e))
        return -1;
    c->begun = true;
    return 0;
}

/* Without room the service answers, but changes nothing: its first records come before all others. */
static int begin(struct core *c, struct err *e)
{
    return c->begun || c->full ? 0 : first_records(c, e);
}

struct core *core_new(struct state *state, const struct core_io *io, const struct core_start *start, int64_t now_us, struct err *e)
{
    struct core *c = calloc(1, sizeof *c);

    if (!c) {
        state_free(state);
        err_set(e, ERR_INTERNAL, "out of memory");
        return NULL;
    }
    c->state = state;
    c->io = *io;
    c->start = *start;
    c->snapshot.usable = start->snapshot_seq;
    c->metrics.snapshot_time = start->snapshot_time_us;
    walls_note(c, start->sandbox);
    c->pending = BUF_INIT(GROUP_BYTES_MAX);
    c->writing = BUF_INIT(GROUP_BYTES_MAX);
    c->line = BUF_INIT(RECORD_LINE_MAX);
    c->durable = c->anchor.log_end = state->chain.next_seq;
    c->start_seq = UINT64_MAX;
    memcpy(c->durable_hash, state->head, SHA256_HEX);
    c->durable_time = state->chain.time;
    clock_start(c, now_us, start->since_boot_us);
    c->refusal_window = c->clock.boot;
    time_format(c->now, c->started);
    c->started_us = c->now;
    if (start->room)
        room_set(c, start->room);
    if (!begin(c, e))
        return c;
    core_free(c);
    return NULL;
}

void core_free(struct core *c)
{
    if (!c)
        return;
    commit_free(c);
    lanes_free(c);
    json_decref(c->token_keys);
    json_decref(c->erase.told);
    json_decref(c->token);
    while (c->requests)
        request_free(c, c->requests);
    nonces_free(c);
    certs_free(c);
    buf_free(&c->snapshot.text);
    tree_free(&c->refusals, free);
    state_free(c->state);
    free(c);
}

/* What the door shows; for whoever watches that it does not run out. */
static void front_certificate(struct core *c, enum child_role role, const struct frame *f)
{
    struct cert_facts facts = {0};
    struct err e = {0};
    bool shown = frame_has(f, TAG_CERT) && !cert_facts(f->field[TAG_CERT], &facts, &e);

    c->warn_again = 0;
    c->front[role == CHILD_FRONT_ADMIN].not_after = shown ? facts.not_after : 0;
    if (shown && !c->front[role == CHILD_FRONT_ADMIN].hello) /* once for each process: a door that says ever more writes no log full */
        server_certificate_shown(c, f->field[TAG_CERT], &facts);
}

static int front_hello(struct core *c, enum child_role role, const struct frame *f)
{
    front_certificate(c, role, f);
    c->front[role == CHILD_FRONT_ADMIN].hello = true;
    c->io.proved(c->io.ctx, role, 0);
    return 0;
}

static int tls_refused(struct core *c, const struct frame *f)
{
    char reason[64];

    if (frame_text(f, TAG_REASON, reason, sizeof reason))
        return -1;
    metrics_tls_refused(c, reason, frame_u64(f, TAG_COUNT));
    refusal_count(c, "", "", "", reason, frame_u64(f, TAG_COUNT));
    return 0;
}

static int http_refused(struct core *c, const struct frame *f)
{
    uint64_t code = frame_u64(f, TAG_CODE);
    char source[64];

    if (frame_text(f, TAG_SOURCE, source, sizeof source) || code == ERR_NONE || code >= ERR_COUNT)
        return -1;
    c->metrics.refusals[code]++;
    refusal_count(c, "", "", source, err_slug((enum err_code)code), 1);
    return 0;
}

static int front_request(struct core *c, enum child_role role, const struct frame *f)
{
    uint64_t *last_id = &c->front[role == CHILD_FRONT_ADMIN].last_id;
    struct err e = {0};
    struct request *rq;

    /* Its numbers go up: none stands for two. */
    if (f->id <= *last_id)
        return -1;
    rq = request_new(c, role, f, &e);
    if (!rq)
        return -1;
    *last_id = f->id;
    if (c->n_requests + c->n_items + c->n_after > IN_FLIGHT_MAX) {
        /* Rests on no record: it need not wait for a disk that hangs, behind the many that do. */
        err_set(&e, ERR_BUSY, "too many requests are being worked on");
        rq->at_once = true;
        reply_problem(c, rq, &e);
        return 0;
    }
    if (e.code)
        request_refuse(c, rq, &e);
    else
        request_run(c, rq);
    return 0;
}

static int from_front(struct core *c, enum child_role role, const struct frame *f)
{
    switch (f->type) {
    case FRAME_REQUEST: return front_request(c, role, f);
    case FRAME_HELLO: return front_hello(c, role, f);
    case FRAME_TLS_REFUSED: return tls_refused(c, f);
    case FRAME_HTTP_REFUSED: return http_refused(c, f);
    default: return -1;
    }
}

static int from_lane(struct core *c, enum child_role role, unsigned index, const struct frame *f)
{
    struct lane *l = lane_of(c, role, index);

    if (!l)
        return -1;
    switch (f->type) {
    case FRAME_HELLO: return lane_hello(c, l, f);
    case FRAME_AWAY: return lane_away(c, l, f);
    case FRAME_RESULT:
    case FRAME_ERROR: return lane_answer(c, l, f);
    default: return -1;
    }
}

int core_on_frame(struct core *c, enum child_role role, unsigned index, const struct frame *f, int64_t now_us)
{
    int result;

    clock_see(c, now_us);
    if (f->type == FRAME_HELLO)
        walls_hello(c, f);
    if (role == CHILD_FRONT_HEALTH)
        result = health_frame(c, f);
    else if (role == CHILD_READER)
        result = reader_frame(c, f);
    else
        result = role == CHILD_FRONT_CI || role == CHILD_FRONT_ADMIN ? from_front(c, role, f) : from_lane(c, role, index, f);
    anchor_step(c);
    lanes_settle(c);
    return result;
}

const char *role_name(enum child_role role)
{
    static const char *const names[] = {"core", "front-ci", "front-admin", "lane-admin", "lane-sign", "front-health", "reader"};

    return names[role];
}

static void record_child(struct core *c, enum child_role role, unsigned index, const char *reason)
{
    struct err e = {0};
    json_t *record;

    if (c->stopping)
        return;
    record = record_new("daemon.child", "error", &actor_system, "");
    record_text(record, "reason", reason && *reason ? reason : "ended");
    json_object_set_new(record, "detail", json_pack("{s:i, s:s}", "index", (int)index, "role", role_name(role)));
    if (commit(c, record, &e))
        commit_lost(c, "child", &e);
}

void core_on_child(struct core *c, enum child_role role, unsigned index, bool up, const char *reason, int64_t now_us)
{
    struct lane *l;

    clock_see(c, now_us);
    if (!up && (!reason || strcmp(reason, REASON_RENEWED))) {
        metrics_child_end(c, role);
        record_child(c, role, index, reason);
    }
    if (role == CHILD_FRONT_HEALTH) {
        c->health_up = false;
        return;
    }
    if (role == CHILD_READER) {
        reader_child(c, up);
        return;
    }
    if (role == CHILD_FRONT_CI || role == CHILD_FRONT_ADMIN) {
        c->front[role == CHILD_FRONT_ADMIN].up = up;
        c->front[role == CHILD_FRONT_ADMIN].hello = false;
        c->front[role == CHILD_FRONT_ADMIN].epoch++;
        c->front[role == CHILD_FRONT_ADMIN].last_id = 0;
        return;
    }
    l = lane_of(c, role, index);
    if (!l)
        return;
    if (up)
        lane_up(c, l);
    else
        lane_down(c, l, reason);
    lanes_settle(c);
}

static bool stop_durable(const struct core *c)
{
    return c->stop_written && c->durable >= c->stop_seq;
}

void core_on_disk(struct core *c, int64_t now_us)
{
    clock_see(c, now_us);
    commit_done(c);
    if (stop_durable(c))
        anchor_stop(c);
    lanes_settle(c);
}

void core_on_room(struct core *c, const struct core_room *room, int64_t now_us)
{
    struct err e = {0};

    clock_see(c, now_us);
    room_set(c, room);
    if (!c->stop_written && begin(c, &e)) {
        c->io.note(c->io.ctx, CORE_NOTE_ALARM, "start", e.detail);
        abort(); /* half of the first records are queued: the next start writes them */
    }
}

static void write_stop(struct core *c)
{
    struct err e = {0};

    refusals_summarise(c, true);
    if (c->begun) {
        json_t *record = record_new("daemon.stop", "ok", &actor_system, "");

        record_text(record, "reason", c->stop_reason);
        if (commit_kept(c, record, &e))
            commit_lost(c, "stop", &e);
    }
    c->stop_seq = c->state->chain.next_seq;
    c->stop_written = true;
}

void core_on_tick(struct core *c, int64_t now_us)
{
    clock_see(c, now_us);
    health_tell(c, false);
    if (c->stop_written)
        return;
    lanes_tick(c);
    waiters_expire(c);
    reader_tick(c);
    nonces_expire(c);
    operations_tick(c);
    refusals_summarise(c, false);
    anchor_step(c);
    erase_tick(c);
    lanes_settle(c);
    snapshot_tick(c);
    warnings_tick(c);
    if (c->stopping && !c->n_requests && snapshot_settled(c))
        write_stop(c);
}

void core_on_stop(struct core *c, const char *reason, int64_t now_us)
{
    size_t n = strnlen(reason, sizeof c->stop_reason - 1);

    clock_see(c, now_us);
    memcpy(c->stop_reason, reason, n);
    c->stop_reason[n] = '\0';
    c->stopping = true;
    if (!c->n_requests && !c->stop_written && snapshot_settled(c))
        write_stop(c);
}

int64_t core_turn(struct core *c, int64_t boot_us)
{
    int64_t group = commit_turn(c, boot_us), piece = snapshot_turn(c, boot_us);

    return group < 0 || (piece >= 0 && piece < group) ? piece : group;
}

static bool serving(const struct core *c)
{
    unsigned fronts = 0;

    for (unsigned n = 0; n < 2; n++)
        fronts += c->front[n].hello;
    return c->durable > c->start_seq && fronts >= c->start.fronts;
}

bool core_ready(const struct core *c)
{
    return serving(c) && lanes_ready(c) >= c->start.lanes && c->anchor.compared;
}

const char *core_lacks(const struct core *c)
{
    if (c->full)
        return "the disk under the audit log has no room";
    if (!serving(c))
        return NULL;
    if (lanes_any(c, LANE_SEALED))
        return "the token refused its PIN; correct the PIN, then run kmsd unseal";
    return lanes_any(c, LANE_AWAY) ? c->away_reason : NULL;
}

bool core_finished(const struct core *c)
{
    return stop_durable(c) && anchor_settled(c);
}

const struct state *core_state(const struct core *c)
{
    return c->state;
}
