/* The simulated machine: a disk that loses unsynced bytes, lanes that die, and a core that is killed and started again. */
#include <stdlib.h>
#include <string.h>

#include "base/enc.h"
#include "tests/sim/sim.h"

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
    for (unsigned n = 0; n < SIM_PENDING_MAX; n++) {
        struct sim_lane_job *j = &s->job[n];

        if (j->used)
            continue;
        *j = (struct sim_lane_job){.used = true, .role = role, .index = index, .frame = BUF_INIT(FRAME_MAX)};
        buf_put(&j->frame, frame->data, frame->len);
        return;
    }
    sim_fail(s, "more than %d frames wait for the lanes", SIM_PENDING_MAX);
}

static void on_random(void *ctx, void *out, size_t len)
{
    for (size_t n = 0; n < len; n++)
        ((uint8_t *)out)[n] = (uint8_t)sim_random(ctx, 256);
}

static void on_append(void *ctx, const struct core_group *group)
{
    struct sim *s = ctx;

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
    struct sim *s = ctx;

    (void)reason;
    if (role == CHILD_LANE_SIGN || role == CHILD_LANE_ADMIN)
        s->ended[role == CHILD_LANE_SIGN ? index : SIM_LANES] = true;
    for (unsigned n = 0; n < SIM_PENDING_MAX; n++)
        if (s->job[n].used && s->job[n].role == role && s->job[n].index == index) {
            buf_free(&s->job[n].frame);
            s->job[n].used = false;
        }
}

static void on_proved(void *ctx, enum child_role role, unsigned index)
{
    (void)ctx;
    (void)role;
    (void)index;
}

static void on_note(void *ctx, enum core_note level, const char *event, const char *text)
{
    if (level == CORE_NOTE_ALARM)
        sim_fail(ctx, "the core raised an alarm: %s: %s", event, text);
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

/* The world begins with a log of three records: genesis and a key with its intent. */
static void first_records(struct sim *s)
{
    const struct sim_keys *k = s->keys;
    BUF_AUTO cert = BUF_INIT(8192), spki = BUF_INIT(8192), release = BUF_INIT(8192);
    struct chain chain;
    struct err e = {0};
    static const char id[] = "00112233445566778899aabbccddeeff";

    b64_encode(&cert, k->ca_cert.data, k->ca_cert.len);
    b64_encode(&spki, k->ca_spki.data, k->ca_spki.len);
    b64_encode(&release, k->release_spki.data, k->release_spki.len);
    chain_start(&chain);
    json_t *g = record_new("log.genesis", "ok", &actor_system, ""), *i = record_new("key.create", "intent", &actor_system, ""),
           *r = record_new("key.create", "ok", &actor_system, "");

    record_text(g, "policy", k->policy_sha256[0]);
    json_object_set_new(g, "detail",
                        json_pack("{s:{s:s, s:s}, s:i, s:s, s:s, s:s, s:[o, o, o]}", "ca", "cert_b64", buf_str(&cert), "spki_b64", buf_str(&spki), "format", 1,
                                  "instance", id, "mode", "dev", "origin", "sim", "identities", identity("ci-a", "ci", &k->person[0]),
                                  identity("ci-b", "ci", &k->person[1]), identity("h-admin", "human", &k->person[2])));
    json_object_set_new(i, "key", record_key("release", 1));
    record_text(i, "scheme", "statement");
    record_text(i, "purpose", "release");
    json_object_set_new(i, "detail", json_pack("{s:s, s:s}", "algorithm", "p256", "key_id", id));
    json_object_set_new(r, "key", record_key("release", 1));
    json_object_set_new(r, "intent_seq", json_integer(1));
    json_object_set_new(r, "detail", json_pack("{s:s}", "spki_b64", buf_str(&release)));
    if (record_seal(g, &chain, s->now, id, &s->durable, &e) || record_seal(i, &chain, s->now, id, &s->durable, &e) ||
        record_seal(r, &chain, s->now, id, &s->durable, &e))
        abort();
    json_decref(g);
    json_decref(i);
    json_decref(r);
    json_object_set_new(s->blobs, k->policy_sha256[0], json_string(k->policy_text[0]));
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

static void hello(struct sim *s, enum child_role role, unsigned index)
{
    struct frame f = {.type = FRAME_HELLO};

    core_on_child(s->core, role, index, true, "", s->now);
    if (core_on_frame(s->core, role, index, &f, s->now))
        sim_fail(s, "HELLO was refused");
}

void sim_boot(struct sim *s)
{
    const struct core_io io = {.ctx = s, .send = on_send, .random = on_random, .append = on_append, .kill = on_kill, .proved = on_proved, .note = on_note};
    struct core_start start = {.boot = "ffeeddccbbaa99887766554433221100", .version = "sim", .fronts = 2, .lanes = 1, .programs = s->programs};
    JSON_AUTO *recovered = NULL;
    struct state *state;
    struct err e = {0};

    if (!s->durable.len)
        first_records(s);
    state = fold(s, &recovered);
    start.recovered = recovered;
    s->core = core_new(state, &io, &start, s->now, &e);
    if (!s->core) {
        sim_fail(s, "the core does not start: %s", e.detail);
        return;
    }
    s->alive = true;
    hello(s, CHILD_FRONT_CI, 0);
    hello(s, CHILD_FRONT_ADMIN, 0);
    hello(s, CHILD_LANE_ADMIN, 0);
    for (unsigned n = 0; n < SIM_LANES; n++)
        hello(s, CHILD_LANE_SIGN, n);
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
    buf_clear(&s->group);
    s->syncing = false;
    s->alive = false;
    core_free(s->core);
    s->core = NULL;
    memset(s->request, 0, sizeof s->request);
    for (unsigned n = 0; n < SIM_PENDING_MAX; n++)
        buf_free(&s->job[n].frame);
    memset(s->job, 0, sizeof s->job);
    memset(s->ended, 0, sizeof s->ended);
    s->nonce[0] = '\0';
    sim_boot(s);
}

void sim_disk_step(struct sim *s)
{
    core_turn(s->core);
    if (!s->syncing)
        return;
    keep_blobs(s, true);
    buf_put(&s->durable, s->group.data, s->group.len);
    buf_clear(&s->group);
    s->syncing = false;
    core_on_disk(s->core, s->now);
}

static void sign(const struct sim *s, struct span message, struct buf *frame)
{
    uint8_t sig[128];
    size_t n = sizeof sig;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    if (!EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, s->keys->release) || !EVP_DigestSign(ctx, sig, &n, message.data, message.len))
        abort();
    EVP_MD_CTX_free(ctx);
    frame_put(frame, TAG_OUTPUT, span_of(sig, n));
}

static void answer(struct sim *s, struct sim_lane_job *j)
{
    BUF_AUTO frame = BUF_INIT(FRAME_MAX);
    struct frame in, out;
    bool broken;
    struct err e = {0};
    size_t mark;

    if (frame_parse(buf_span(&j->frame), &in, &e)) {
        sim_fail(s, "the core sent a lane a malformed frame: %s", e.detail);
        return;
    }
    broken = in.type == FRAME_SIGN && !sim_random(s, 12);
    mark = frame_begin(&frame, broken ? FRAME_ERROR : FRAME_RESULT, in.id);
    if (broken) {
        frame_put_u64(&frame, TAG_CLASS, LANE_TOKEN);
        frame_put_str(&frame, TAG_REASON, "gone");
    } else if (in.type == FRAME_SIGN) {
        sign(s, in.field[TAG_INPUT], &frame);
    }
    frame_end(&frame, mark);
    if (frame_parse(buf_span(&frame), &out, &e))
        abort();
    j->used = false;
    if (core_on_frame(s->core, j->role, j->index, &out, s->now))
        sim_fail(s, "the core refused a lane's answer");
    if (broken) /* it ends after this answer */
        on_kill(s, j->role, j->index, "");
    buf_free(&j->frame);
}

/* A random lane answers its oldest frame. */
void sim_lane_step(struct sim *s)
{
    unsigned from = (unsigned)sim_random(s, SIM_PENDING_MAX);

    for (unsigned n = 0; n < SIM_PENDING_MAX; n++) {
        struct sim_lane_job job = s->job[(from + n) % SIM_PENDING_MAX];

        if (!job.used)
            continue;
        s->job[(from + n) % SIM_PENDING_MAX] = (struct sim_lane_job){0};
        answer(s, &job);
        return;
    }
}

void sim_lane_kill(struct sim *s)
{
    unsigned lane = (unsigned)sim_random(s, SIM_LANES);

    on_kill(s, CHILD_LANE_SIGN, lane, "");
    sim_lanes_restart(s);
}

void sim_lanes_restart(struct sim *s)
{
    for (unsigned n = 0; n <= SIM_LANES; n++) {
        enum child_role role = n < SIM_LANES ? CHILD_LANE_SIGN : CHILD_LANE_ADMIN;

        if (!s->ended[n])
            continue;
        s->ended[n] = false;
        core_on_child(s->core, role, n % SIM_LANES, false, "ended", s->now);
        hello(s, role, n % SIM_LANES);
    }
}

/* Its requests die with it: no reply to them may reach the next process, which numbers its own from the start. */
void sim_front_kill(struct sim *s)
{
    enum child_role door = sim_random(s, 2) ? CHILD_FRONT_CI : CHILD_FRONT_ADMIN;

    for (unsigned n = 0; n < SIM_PENDING_MAX; n++)
        if (s->request[n].used && s->request[n].door == door)
            s->request[n].used = false;
    core_on_child(s->core, door, 0, false, "ended", s->now);
    hello(s, door, 0);
}
