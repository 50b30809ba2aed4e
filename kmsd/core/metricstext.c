/* What the core counted and what it is doing, in Prometheus' text format. Every label takes its values from a table of the program. */
#include <stdio.h>
#include <string.h>

#include "kmsd/core/internal.h"

#define N(a) (sizeof(a) / sizeof *(a))

static const char *const DOOR[2] = {"ci", "admin"};
static const enum child_role LANE_ROLE[2] = {CHILD_LANE_SIGN, CHILD_LANE_ADMIN};
static const char *const LANE_ROLE_NAME[2] = {"sign", "admin"};

/* A family of one sample without labels. */
static void one(struct buf *out, const char *name, const char *type, const char *help, int64_t value)
{
    prom_family(out, name, type, help);
    prom_put(out, name, NULL, 0, value);
}

static void one_us(struct buf *out, const char *name, const char *type, const char *help, int64_t us)
{
    prom_family(out, name, type, help);
    prom_put_us(out, name, NULL, 0, us);
}

static void labelled(struct buf *out, const char *name, const char *label, const char *text, int64_t value)
{
    prom_put(out, name, &(struct prom_label){label, text}, 1, value);
}

/* A route's successes are there from the beginning, so that a rate sees the first one. */
static void put_route(const struct core *c, struct buf *out, size_t door, size_t number)
{
    const struct route *r = route_at(number);

    for (size_t s = 0; s < METRIC_STATUSES; s++) {
        uint64_t n = c->metrics.requests[door][number][s];
        char status[16] = "other";
        struct prom_label labels[] = {
            {"door", DOOR[door]}, {"method", r ? r->method : "none"}, {"route", r ? r->pattern : "none"}, {"status", status}};

        if (!n && (s || !r || !(r->doors & (door ? DOOR_ADMIN : DOOR_CI))))
            continue;
        if (metrics_status[s])
            snprintf(status, sizeof status, "%u", metrics_status[s]);
        prom_put(out, "kmsd_requests_total", labels, N(labels), (int64_t)n);
    }
}

static void put_requests(const struct core *c, struct buf *out)
{
    const struct metrics *m = &c->metrics;

    prom_family(out, "kmsd_requests_total", "counter", "Requests answered; each item of a batch is one more.");
    for (size_t door = 0; door < 2; door++)
        for (size_t n = 0; n == 0 || route_at(n); n++)
            put_route(c, out, door, n);
    prom_family(out, "kmsd_decisions_total", "counter", "Answered requests that the policy decided on.");
    labelled(out, "kmsd_decisions_total", "decision", "allow", (int64_t)m->allowed);
    labelled(out, "kmsd_decisions_total", "decision", "deny", (int64_t)m->denied);
    prom_family(out, "kmsd_refusals_total", "counter",
                "Requests answered with a problem, by its slug; those that a door refused by itself included.");
    for (size_t n = 1; n < ERR_COUNT; n++)
        labelled(out, "kmsd_refusals_total", "problem", err_slug((enum err_code)n), (int64_t)m->refusals[n]);
    prom_family(out, "kmsd_tls_refusals_total", "counter", "Connections refused before a request.");
    for (size_t n = 0; n < METRIC_TLS; n++)
        labelled(out, "kmsd_tls_refusals_total", "reason", metrics_tls[n], (int64_t)m->tls[n]);
    one(out, "kmsd_signatures_total", "counter", "Signatures made and recorded.", (int64_t)m->signatures);
}

static void put_times(const struct core *c, struct buf *out)
{
    const struct metrics *m = &c->metrics;
    const struct {
        const char *stage;
        const struct prom_times *times;
    } stages[] = {{"queue", &m->queue}, {"lane", &m->lane}, {"sync", &m->commit}, {"total", &m->sign}};

    prom_family(out, "kmsd_sign_stage_seconds", "histogram",
                "Signing: queue = until a lane took it, lane = in the lane, sync = until its record was durable, total = from request to reply.");
    for (size_t n = 0; n < N(stages); n++)
        prom_put_times(out, "kmsd_sign_stage_seconds", &(struct prom_label){"stage", stages[n].stage}, 1, stages[n].times);
    prom_family(out, "kmsd_request_seconds", "histogram", "From a request's arrival in the core to its reply.");
    for (size_t n = 0; n < 2; n++)
        prom_put_times(out, "kmsd_request_seconds", &(struct prom_label){"door", DOOR[n]}, 1, &m->door[n]);
    prom_family(out, "kmsd_log_sync_seconds", "histogram", "Writing and syncing one group of records.");
    prom_put_times(out, "kmsd_log_sync_seconds", NULL, 0, &m->sync);
}

static void put_lanes(const struct core *c, struct buf *out)
{
    prom_family(out, "kmsd_lanes", "gauge", "Token lanes by role and state.");
    for (size_t r = 0; r < 2; r++)
        for (size_t s = 0; s < LANE_STATES; s++) {
            struct prom_label labels[] = {{"role", LANE_ROLE_NAME[r]}, {"state", lane_state_names[s]}};
            int64_t n = 0;

            for (unsigned l = 0; l < c->n_lanes; l++)
                n += c->lane[l].role == LANE_ROLE[r] && c->lane[l].state == s;
            prom_put(out, "kmsd_lanes", labels, N(labels), n);
        }
    prom_family(out, "kmsd_token_breaker_open", "gauge", "1 = work for the token is refused at once, because no lane of that role can do any.");
    for (size_t r = 0; r < 2; r++)
        labelled(out, "kmsd_token_breaker_open", "role", LANE_ROLE_NAME[r], lanes_hopeless(c, LANE_ROLE[r]));
    prom_family(out, "kmsd_child_ends_total", "counter", "Processes that ended, by role.");
    for (size_t n = CHILD_FRONT_CI; n <= CHILD_READER; n++)
        labelled(out, "kmsd_child_ends_total", "role", role_name((enum child_role)n), (int64_t)c->metrics.child_ends[n]);
    one(out, "kmsd_reader_following", "gauge", "1 = the audit log can be searched up to its end, or is about to be.",
        !strcmp(reader_word(c), "following"));
    one(out, "kmsd_reader_indexed_records", "gauge", "Records, from the first, that can be searched.", (int64_t)c->reader.indexed);
}

static int64_t queued(const struct lane_queue *q)
{
    int64_t n = 0;

    for (const struct lane_op *op = q->first; op; op = op->next)
        n++;
    return n;
}

static void put_queues(const struct core *c, struct buf *out)
{
    int64_t outstanding[2] = {0};
    static const char name[] = "kmsd_queue_length";

    for (unsigned l = 0; l < c->n_lanes; l++)
        outstanding[c->lane[l].role == CHILD_LANE_ADMIN] += c->lane[l].outstanding;
    prom_family(out, name, "gauge",
                "What waits: requests not yet answered, of them those behind another one, replies behind the disk, work before and in the lanes.");
    labelled(out, name, "queue", "requests", c->n_requests);
    labelled(out, name, "queue", "waiting", c->n_waiting);
    labelled(out, name, "queue", "replies", c->n_after);
    for (size_t r = 0; r < 2; r++) {
        labelled(out, name, "queue", r ? "admin-lane" : "sign-lanes", queued(&c->queue[r]));
        labelled(out, name, "queue", r ? "in-admin-lane" : "in-sign-lanes", outstanding[r]);
    }
    one(out, "kmsd_log_pending_bytes", "gauge", "Records sealed but not yet durable.",
        (int64_t)(c->pending.len + (c->disk_busy ? c->writing.len : 0)));
}

static void put_log(const struct core *c, struct buf *out)
{
    const struct metrics *m = &c->metrics;

    one(out, "kmsd_log_groups_total", "counter", "Groups of records made durable.", (int64_t)m->groups);
    one(out, "kmsd_log_records_total", "counter", "Records made durable.", (int64_t)m->records);
    one(out, "kmsd_log_written_bytes_total", "counter", "Bytes of records made durable.", (int64_t)m->bytes);
    one(out, "kmsd_log_head_seq", "gauge", "Number of the newest durable record.", (int64_t)c->durable - 1);
    one(out, "kmsd_log_bytes", "gauge", "Length of the log.", (int64_t)(c->start.log_bytes + m->bytes));
    one(out, "kmsd_log_full", "gauge", "1 = the disk under the log has no room, changes are refused.", c->full);
    if (c->limited) {
        prom_family(out, "kmsd_log_room_bytes", "gauge", "What the disk under the log still takes: reserved for records, free for large bodies.");
        labelled(out, "kmsd_log_room_bytes", "for", "records", (int64_t)(c->room.lines > INT64_MAX ? INT64_MAX : c->room.lines));
        labelled(out, "kmsd_log_room_bytes", "for", "bodies", (int64_t)(c->room.blobs > INT64_MAX ? INT64_MAX : c->room.blobs));
    }
    one(out, "kmsd_snapshot_behind_records", "gauge", "Records that the newest state snapshot does not cover.",
        (int64_t)(c->state->chain.next_seq - c->snapshot.usable));
    one_us(out, "kmsd_snapshot_timestamp_seconds", "gauge", "When the newest state snapshot was written, 0 = there is none.", m->snapshot_time);
    one(out, "kmsd_anchor_problem", "gauge", "1 = the anchor, in its file or on the token, is not kept as it should.", c->anchor.problem[0] != '\0');
    one(out, "kmsd_clock_frozen", "gauge", "1 = the clock was set and nobody has confirmed it.", c->state->time_frozen);
}

static void put_keys(const struct tally *t, struct buf *out)
{
    prom_family(out, "kmsd_keys", "gauge", "Keys by state.");
    for (size_t n = 0; n < TALLY_KEY_STATES; n++)
        labelled(out, "kmsd_keys", "state", tally_key_states[n], t->keys[n]);
    prom_family(out, "kmsd_token_keys", "gauge", "Keys by what the token was found to hold of them.");
    for (size_t n = 0; n < TALLY_FOUND; n++)
        labelled(out, "kmsd_token_keys", "found", tally_found[n], t->found[n]);
}

static void put_identities(const struct tally *t, struct buf *out)
{
    prom_family(out, "kmsd_identities", "gauge", "Identities by kind and state.");
    for (size_t n = 0; n < TALLY_KINDS; n++)
        for (size_t off = 0; off < 2; off++) {
            struct prom_label labels[] = {{"kind", tally_kinds[n]}, {"state", off ? "disabled" : "enabled"}};

            prom_put(out, "kmsd_identities", labels, N(labels), t->identities[off][n]);
        }
    prom_family(out, "kmsd_identities_ending", "gauge", "Enabled identities whose last certificate ended, or ends within 21 days.");
    labelled(out, "kmsd_identities_ending", "when", "over", t->ended);
    labelled(out, "kmsd_identities_ending", "when", "soon", t->ending);
}

static void put_certificates(const struct core *c, struct buf *out)
{
    static const char name[] = "kmsd_certificate_end_timestamp_seconds";
    struct shown_certificate shown[CERTIFICATES_SHOWN];
    unsigned n = tally_certificates(c, shown);

    prom_family(out, name, "gauge", "When a certificate ends: of the CA, and what the two doors show.");
    for (unsigned i = 0; i < n; i++)
        prom_put_us(out, name, &(struct prom_label){"certificate", shown[i].name}, 1, shown[i].not_after);
}

void metrics_text(struct core *c, struct buf *out)
{
    const struct prom_label build = {"version", c->start.version};
    struct tally t;

    tally(c, &t);
    prom_family(out, "kmsd_build_info", "gauge", "The program.");
    prom_put(out, "kmsd_build_info", &build, 1, 1);
    one(out, "kmsd_ready", "gauge", "1 = everything works.", health_ready(c));
    one_us(out, "kmsd_start_time_seconds", "gauge", "When the core started.", c->started_us);
    one_us(out, "kmsd_uptime_seconds", "gauge", "Time since the core started.", c->clock.boot - c->start.since_boot_us);
    put_requests(c, out);
    put_times(c, out);
    put_lanes(c, out);
    put_queues(c, out);
    put_log(c, out);
    put_keys(&t, out);
    put_identities(&t, out);
    put_certificates(c, out);
}
