/* The simulated machine: a disk that loses unsynced bytes, lanes that die, and a core that is killed and started again. */
#include <stdlib.h>
#include <string.h>

#include "base/enc.h"
#include "tests/sim/sim.h"

#define STEP_US INT64_C(300000000)
#define WORLD_ID "00112233445566778899aabbccddeeff"
#define SOME_SHA256 WORLD_ID WORLD_ID

static void on_send(void *ctx, enum child_role role, unsigned index, const struct buf *frame)
{
    struct sim *s = ctx;
    struct frame f;
    struct err e = {0};

    if (role == CHILD_FRONT_CI || role == CHILD_FRONT_ADMIN) {
        if (frame_parse(buf_span(frame), &f, &e))
            sim_fail(s, "the core sent a malformed frame: %s", e.detail);
        else
            sim_on_reply(s, role, &f);
        return;
    }
    if (role == CHILD_READER)
        sim_reader_take(s, frame);
    else if (role != CHILD_FRONT_HEALTH)
        sim_lane_take(s, role, index, frame);
}

static void on_random(void *ctx, void *out, size_t len)
{
    for (size_t n = 0; n < len; n++)
        ((uint8_t *)out)[n] = (uint8_t)sim_random(ctx, 256);
}

static void on_append(void *ctx, const struct core_group *group)
{
    struct sim *s = ctx;

    if (group->lines->len > s->room)
        sim_fail(s, "a group of %zu bytes was handed over where the disk has room for %llu", group->lines->len, (unsigned long long)s->room);
    if (s->syncing)
        sim_fail(s, "a second group was handed over while one is under way");
    buf_put(&s->group, group->lines->data, group->lines->len);
    for (unsigned n = 0; n < group->n_blobs; n++)
        json_object_set_new(s->group_blobs, group->blobs[n].sha256,
                            json_stringn((const char *)group->blobs[n].data.data, group->blobs[n].data.len));
    s->syncing = true;
}

static void on_kill(void *ctx, enum child_role role, unsigned index, const char *reason)
{
    (void)reason;
    if (role == CHILD_READER)
        sim_reader_told_to_end(ctx);
    else
        sim_lane_told_to_end(ctx, role, index);
}

static void on_proved(void *ctx, enum child_role role, unsigned index)
{
    (void)ctx;
    (void)role;
    (void)index;
}

static void on_note(void *ctx, enum core_note level, const char *event, const char *text)
{
    struct sim *s = ctx;

    if (level == CORE_NOTE_ALARM && s->alarm_due)
        s->alarm_due = false;
    else if (level == CORE_NOTE_ALARM && !s->hostile)
        sim_fail(ctx, "the core raised an alarm: %s: %s", event, text);
}

/* Lines are counted anew: the world does not know what the core believes. */
int sim_record_hash(void *ctx, uint64_t seq, char out[static SHA256_HEX])
{
    const struct sim *s = ctx;
    size_t at = 0;

    for (uint64_t n = 0; at < s->durable.len; n++) {
        const uint8_t *end = memchr(s->durable.data + at, '\n', s->durable.len - at);
        size_t len = end ? (size_t)(end - s->durable.data) - at : 0;

        if (!end)
            break;
        if (n == seq) {
            sha256_hex(s->durable.data + at, len, out);
            return 0;
        }
        at += len + 1;
    }
    return -1;
}

static int read_blob(void *ctx, const char *sha256, struct buf *out, struct err *e)
{
    const struct sim *s = ctx;
    const char *text = json_string_value(json_object_get(s->blobs, sha256));

    if (!text)
        return err_set(e, ERR_LOG_UNAVAILABLE, "blob %s is missing", sha256);
    buf_puts(out, text);
    return 0;
}

static json_t *identity(const char *name, const char *kind, const struct sim_person *p)
{
    return json_pack("{s:s, s:s, s:[{s:s, s:s, s:s, s:s, s:b}], s:[s*]}", "name", name, "kind", kind, "credentials", "kind", "certificate", "cert_sha256",
                     p->cert_sha256, "spki_sha256", p->cert_sha256, "not_after", "2096-01-01T00:00:00.000000Z", "issued", 1, "ssh",
                     p->ssh_line[0] ? p->ssh_line : NULL);
}

static void seal(struct sim *s, struct chain *chain, json_t *record)
{
    struct err e = {0};

    if (record_seal(record, chain, s->now, WORLD_ID, &s->durable, &e))
        abort();
    json_decref(record);
}

static void first_key(struct sim *s, struct chain *chain, const char *name, const char *id)
{
    BUF_AUTO spki = BUF_INIT(8192);
    BUF_AUTO label = BUF_INIT(64);
    json_t *i = record_new("key.create", "intent", &actor_system, ""), *r = record_new("key.create", "ok", &actor_system, "");

    b64_encode(&spki, s->keys->release_spki.data, s->keys->release_spki.len);
    json_object_set_new(i, "key", record_key(name, 1));
    record_text(i, "scheme", "statement");
    record_text(i, "purpose", "release");
    json_object_set_new(i, "detail", json_pack("{s:s, s:s}", "algorithm", "p256", "key_id", id));
    json_object_set_new(r, "key", record_key(name, 1));
    json_object_set_new(r, "intent_seq", json_integer((json_int_t)chain->next_seq));
    json_object_set_new(r, "detail", json_pack("{s:s}", "spki_b64", buf_str(&spki)));
    seal(s, chain, i);
    seal(s, chain, r);
    buf_printf(&label, "kmsd:release:%s:1", name);
    sim_token_add(s, id, buf_str(&label));
}

/* The world begins with a log of a few records: genesis, and keys with their intents. */
static void first_records(struct sim *s)
{
    static const char *const ids[SIM_KEYS] = {"11112233445566778899aabbccddeeff", "22112233445566778899aabbccddeeff"};
    const struct sim_keys *k = s->keys;
    BUF_AUTO cert = BUF_INIT(8192), spki = BUF_INIT(8192);
    struct chain chain;
    json_t *g = record_new("log.genesis", "ok", &actor_system, "");

    b64_encode(&cert, k->ca_cert.data, k->ca_cert.len);
    b64_encode(&spki, k->ca_spki.data, k->ca_spki.len);
    chain_start(&chain);
    record_text(g, "policy", k->policy_sha256[0]);
    json_object_set_new(g, "detail",
                        json_pack("{s:{s:s, s:s}, s:i, s:s, s:s, s:s, s:[o, o, o]}", "ca", "cert_b64", buf_str(&cert), "spki_b64", buf_str(&spki), "format", 1,
                                  "instance", WORLD_ID, "mode", s->production ? "production" : "dev", "origin", "sim", "identities", identity("ci-a", "ci", &k->person[0]),
                                  identity("ci-b", "ci", &k->person[1]), identity("h-admin", "human", &k->person[2])));
    seal(s, &chain, g);
    json_object_set_new(s->blobs, k->policy_sha256[0], json_string(k->policy_text[0]));
    first_key(s, &chain, "release", WORLD_ID);
    for (unsigned n = 0; n < SIM_KEYS; n++) {
        char name[8];

        (void)snprintf(name, sizeof name, "k%u", n);
        first_key(s, &chain, name, ids[n]);
    }
}

/* Folds the durable log as the real start does: what is no valid next record is a torn tail. */
static struct state *fold(struct sim *s, json_t **recovered)
{
    struct state *state = state_new();
    const struct blob_source blobs = {read_blob, s};
    size_t at = 0;

    while (at < s->durable.len) {
        const uint8_t *start = s->durable.data + at, *end = memchr(start, '\n', s->durable.len - at);
        struct err e = {0};
        struct span line = span_of(start, end ? (size_t)(end - start) : 0);
        JSON_AUTO *record = end && !json_is_canonical(line.data, line.len) ? json_read_object(line.data, line.len, RECORD_LINE_MAX, &e) : NULL;

        if (!record)
            break;
        if (state_apply(state, record, line, &blobs, &e)) {
            sim_fail(s, "the log does not fold: %s", e.detail);
            break;
        }
        at += line.len + 1;
    }
    if (at < s->durable.len) {
        char hash[SHA256_HEX];

        sha256_hex(s->durable.data + at, s->durable.len - at, hash);
        *recovered = json_pack("{s:I, s:s, s:s}", "bytes", (json_int_t)(s->durable.len - at), "file", "torn", "sha256", hash);
        s->durable.len = at;
    }
    return state;
}

static void front_up(struct sim *s, enum child_role role)
{
    struct frame f = {.type = FRAME_HELLO};

    core_on_child(s->core, role, 0, true, "", s->now);
    if (core_on_frame(s->core, role, 0, &f, s->now))
        sim_fail(s, "HELLO was refused");
}

static struct core_room room_of(const struct sim *s)
{
    return (struct core_room){s->room, UINT64_C(1) << 30};
}

void sim_boot(struct sim *s)
{
    const struct core_io io = {.ctx = s, .send = on_send, .random = on_random, .append = on_append, .kill = on_kill, .proved = on_proved,
                               .snapshot = sim_snapshot_take, .note = on_note, .record_hash = sim_record_hash};
    const struct blob_source blobs = {read_blob, s};
    struct core_start start = {.boot = "ffeeddccbbaa99887766554433221100", .boot_id = "sim", .settings_sha256 = SOME_SHA256, .module_sha256 = SOME_SHA256,
                               .version = "sim", .fronts = 2, .lanes = 1, .programs = s->programs,
                               .snapshot_records = SIM_SNAPSHOT_RECORDS, .snapshot_piece = SIM_SNAPSHOT_PIECE};
    struct state *state;
    struct err e = {0};

    const struct core_room room = room_of(s);

    start.room = &room;
    json_decref(s->recovered);
    s->recovered = NULL;
    if (!s->durable.len)
        first_records(s);
    state = sim_snapshot_start(s, fold(s, &s->recovered), &blobs);
    start.recovered = s->recovered;
    start.since_boot_us = s->now - s->set;
    s->set_told = s->set;
    start.snapshot_seq = s->snapshot_seq;
    s->core = core_new(state, &io, &start, s->now, &e);
    if (!s->core) {
        sim_fail(s, "the core does not start: %s", e.detail);
        return;
    }
    s->alive = true;
    s->reader = (struct sim_reader){0};
    front_up(s, CHILD_FRONT_CI);
    front_up(s, CHILD_FRONT_ADMIN);
    sim_lanes_boot(s);
}

static void keep_blobs(struct sim *s, bool all)
{
    const char *name;
    json_t *text;

    json_object_foreach(s->group_blobs, name, text)
        if (all || sim_random(s, 2))
            json_object_set(s->blobs, name, text);
    json_object_clear(s->group_blobs);
}

void sim_kill(struct sim *s)
{
    size_t survives = s->group.len ? (size_t)sim_random(s, s->group.len + 1) : 0;

    s->kills++;
    if (sim_random(s, 2))
        survives = 0;
    /* Blobs are synced before the lines that name them are written. */
    keep_blobs(s, survives > 0);
    buf_put(&s->durable, s->group.data, survives);
    s->room = s->full ? s->room - survives : SIM_ROOM;
    buf_clear(&s->group);
    s->syncing = false;
    sim_snapshot_lose(s);
    s->alive = false;
    core_free(s->core);
    s->core = NULL;
    memset(s->request, 0, sizeof s->request);
    sim_lanes_clear(s);
    s->nonce[0] = '\0';
    sim_boot(s);
}

void sim_disk_step(struct sim *s)
{
    if (s->steps % 3 == 0)
        sim_snapshot_step(s);
    (void)core_turn(s->core, s->now - s->set);
    if (!s->syncing)
        return;
    keep_blobs(s, true);
    buf_put(&s->durable, s->group.data, s->group.len);
    s->room = s->full ? s->room - s->group.len : SIM_ROOM;
    buf_clear(&s->group);
    s->syncing = false;
    core_on_disk(s->core, s->now);
    core_on_room(s->core, &(struct core_room){s->room, UINT64_C(1) << 30}, s->now);
}

void sim_disk_fill(struct sim *s)
{
    s->faults++;
    s->full = !s->full;
    if (!s->full)
        s->room = SIM_ROOM + s->group.len;
    core_on_room(s->core, &(struct core_room){s->room, UINT64_C(1) << 30}, s->now);
}

void sim_clock_set(struct sim *s, int64_t by)
{
    s->now += by;
    s->set += by;
}

/* The core sees both clocks: a large step is recorded once, a small one never. */
static void clock_tell(struct sim *s)
{
    uint64_t before = core_state(s->core)->chain.next_seq;
    int64_t off = s->set - s->set_told;
    bool large = off > STEP_US || off < -STEP_US, recorded;

    core_on_clock(s->core, s->now, s->now - s->set);
    recorded = core_state(s->core)->chain.next_seq > before;
    if (recorded != large && (recorded || !s->full))
        sim_fail(s, "the clock was set by %lld s: %s", (long long)(off / 1000000), recorded ? "recorded though it is no step, or again" : "not recorded");
    if (!recorded)
        return;
    s->set_told = s->set;
    s->clock_steps++;
    if (core_state(s->core)->time_step != before || !core_state(s->core)->time_frozen)
        sim_fail(s, "the time is not frozen by the step that was recorded");
}

void sim_pass(struct sim *s, int64_t time)
{
    s->now += time;
    clock_tell(s);
}

void sim_clock_step(struct sim *s)
{
    static const int64_t most[] = {400, 3600, 400 * 24 * 3600};
    int64_t extent = most[sim_random(s, 3)];

    sim_clock_set(s, ((int64_t)sim_random(s, (uint64_t)(2 * extent)) - extent) * 1000000);
    s->faults++;
}

void sim_front_kill(struct sim *s)
{
    enum child_role door = sim_random(s, 2) ? CHILD_FRONT_CI : CHILD_FRONT_ADMIN;

    s->faults++;
    core_on_child(s->core, door, 0, false, "killed", s->now);
    for (unsigned n = 0; n < SIM_PENDING_MAX; n++)
        if (s->request[n].door == door)
            s->request[n].used = false;
    front_up(s, door);
}

/* Nothing may be left waiting: no answer outlives its deadline once the world is calm. */
void sim_drain(struct sim *s)
{
    unsigned left = 0;

    sim_lanes_heal(s);
    if (s->full)
        sim_disk_fill(s);
    for (unsigned n = 0; n < 400 && !s->failure[0]; n++) {
        sim_pass(s, 100000);
        core_on_tick(s->core, s->now);
        for (unsigned k = 0; k < 16; k++)
            sim_lane_step(s);
        sim_disk_step(s);
    }
    for (unsigned n = 0; n < 150 && !s->failure[0] && (sim_check(s), sim_life_begun(&s->model)); n++) {
        sim_pass(s, 5000000);
        core_on_tick(s->core, s->now);
        for (unsigned k = 0; k < 16; k++)
            sim_lane_step(s);
        sim_disk_step(s);
    }
    if (sim_life_begun(&s->model))
        sim_fail(s, "the removal of a key was begun and never done");
    for (unsigned n = 0; n < SIM_PENDING_MAX; n++)
        left += s->request[n].used;
    if (left)
        sim_fail(s, "promise 6: %u requests were never answered", left);
}
