/* The simulated lanes: they answer late, in any order, wrongly or never; they die, lose their token, and are started again. */
#include <stdlib.h>
#include <string.h>

#include "audit/state/keylife.h"
#include "base/enc.h"
#include "tests/sim/sim.h"

/* What an injected failure says, and whether the core must raise an alarm for it and the lane end after it. */
static const struct {
    enum lane_error class;
    bool alarm, ends;
} ERRORS[] = {{LANE_TOKEN, false, true}, {LANE_TOKEN, false, true}, {LANE_BUG, true, false}, {LANE_KEY, true, false}, {LANE_VERIFY, true, false}, {LANE_HUMAN, true, true}};

/* What a lane says of a key that it made. */
#define HASH "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define BIRTH \
    "{\"allowed_mechanisms\":[\"CKM_ECDSA\"],\"mechanism_generate\":\"CKM_EC_KEY_PAIR_GEN\",\"not_enforced\":[],\"probe\":\"ok\"," \
    "\"token\":{\"firmware\":\"\",\"label\":\"sim\",\"manufacturer\":\"\",\"model\":\"\",\"module\":\"sim\",\"module_sha256\":\"" HASH "\",\"serial\":\"1\"}}"

static struct sim_lane *lane(struct sim *s, enum child_role role, unsigned index)
{
    return &s->lane[role == CHILD_LANE_ADMIN ? SIM_LANES : index];
}

static void forget(struct sim *s, const struct sim_lane *l)
{
    for (unsigned n = 0; n < SIM_PENDING_MAX; n++)
        if (s->job[n].used && s->job[n].role == l->role && s->job[n].index == l->index) {
            buf_free(&s->job[n].frame);
            s->job[n].used = false;
        }
}

/* A lane has the keys that it was told to load since it started, and not to drop: in the order of the frames, whatever it answers when. */
static void see_keys(struct sim *s, unsigned index, const struct buf *frame)
{
    char id[KEY_ID_HEX];
    struct frame f;
    struct err e = {0};

    if (frame_parse(buf_span(frame), &f, &e) || f.field[TAG_KEY_ID].len != KEY_ID_LEN)
        return;
    hex_encode(f.field[TAG_KEY_ID].data, KEY_ID_LEN, id);
    if (f.type == FRAME_LOAD)
        json_object_set_new(s->loaded[index], id, json_true());
    if (f.type == FRAME_UNLOAD)
        json_object_del(s->loaded[index], id);
    if (f.type == FRAME_SIGN && !json_object_get(s->loaded[index], id))
        sim_fail(s, "a lane is asked to sign with a key that it was told to drop, or never to load");
}

struct loaded {
    struct sim *s;
    const json_t *ids;
};

static bool may_be_loaded(void *ctx, struct key *k)
{
    struct loaded *l = ctx;

    if (json_object_get(l->ids, k->key_id) && !key_signs(k))
        sim_fail(l->s, "promise 2: a lane keeps key %s, which must not sign", k->name);
    return true;
}

void sim_lanes_check(struct sim *s)
{
    for (unsigned n = 0; n < SIM_LANES; n++)
        if (s->lane[n].mode != SIM_ENDS)
            state_each_key(core_state(s->core), "", may_be_loaded, &(struct loaded){s, s->loaded[n]});
}

static void say(struct sim *s, struct sim_lane *l, const struct frame *f)
{
    if (core_on_frame(s->core, l->role, l->index, f, s->now))
        sim_fail(s, "the core refused what a lane said: type %u", f->type);
}

static void say_hello(struct sim *s, struct sim_lane *l)
{
    l->mode = SIM_WORKS;
    say(s, l, &(struct frame){.type = FRAME_HELLO});
}

static void start(struct sim *s, struct sim_lane *l)
{
    if (l->role == CHILD_LANE_SIGN) {
        json_decref(s->loaded[l->index]);
        s->loaded[l->index] = json_object();
    }
    core_on_child(s->core, l->role, l->index, true, "", s->now);
    if (sim_random(s, 8)) {
        say_hello(s, l);
        return;
    }
    l->mode = SIM_AWAY;
    say(s, l, &(struct frame){.type = FRAME_AWAY, .field = {[TAG_REASON] = span_str("away")}});
}

/* The core hears of the end, and of the lane that takes its place. */
static void replace(struct sim *s, struct sim_lane *l)
{
    forget(s, l);
    core_on_child(s->core, l->role, l->index, false, "killed", s->now);
    start(s, l);
}

void sim_lanes_boot(struct sim *s)
{
    for (unsigned n = 0; n <= SIM_LANES; n++) {
        s->lane[n] = (struct sim_lane){.role = n == SIM_LANES ? CHILD_LANE_ADMIN : CHILD_LANE_SIGN, .index = n == SIM_LANES ? 0 : n};
        start(s, &s->lane[n]);
    }
}

void sim_lanes_clear(struct sim *s)
{
    for (unsigned n = 0; n < SIM_PENDING_MAX; n++)
        buf_free(&s->job[n].frame);
    memset(s->job, 0, sizeof s->job);
    s->alarm_due = false;
}

void sim_lane_take(struct sim *s, enum child_role role, unsigned index, const struct buf *frame)
{
    if (lane(s, role, index)->mode == SIM_ENDS)
        return;
    if (role == CHILD_LANE_SIGN)
        see_keys(s, index, frame);
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

void sim_lane_told_to_end(struct sim *s, enum child_role role, unsigned index)
{
    lane(s, role, index)->mode = SIM_ENDS;
    forget(s, lane(s, role, index));
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

void sim_token_add(struct sim *s, const char *key_id, const char *label)
{
    static const char *const classes[] = {"private-key", "public-key"};

    for (size_t n = 0; n < 2; n++)
        json_array_append_new(s->objects, json_pack("{s:s, s:s, s:s, s:s}", "class", classes[n], "id", key_id, "label", label, "type", "ec"));
}

static void generate(struct sim *s, const struct frame *in)
{
    char id[KEY_ID_HEX], label[128];

    if (in->field[TAG_KEY_ID].len != KEY_ID_LEN || frame_text(in, TAG_LABEL, label, sizeof label)) {
        sim_fail(s, "the core asked for a key without id or label");
        return;
    }
    hex_encode(in->field[TAG_KEY_ID].data, KEY_ID_LEN, id);
    sim_token_add(s, id, label);
}

/* The token loses the objects of that id, of that class or (NULL) all. */
static void token_remove(struct sim *s, const char *key_id, const char *class)
{
    for (size_t n = json_array_size(s->objects); n-- > 0;) {
        const json_t *o = json_array_get(s->objects, n);

        if (!strcmp(json_string_value(json_object_get(o, "id")), key_id) && (!class || !strcmp(json_string_value(json_object_get(o, "class")), class)))
            json_array_remove(s->objects, n);
    }
}

unsigned sim_token_holds(const struct sim *s, const char *key_id)
{
    unsigned found = 0;

    for (size_t n = 0; n < json_array_size(s->objects); n++)
        found += !strcmp(json_string_value(json_object_get(json_array_get(s->objects, n), "id")), key_id);
    return found;
}

/* Nothing is removed that the durable log does not say is being removed. cut: the lane dies half-way. */
static void destroy(struct sim *s, const struct frame *in, bool cut, struct buf *frame)
{
    char id[KEY_ID_HEX], label[128], *end;

    if (in->field[TAG_KEY_ID].len != KEY_ID_LEN || frame_text(in, TAG_LABEL, label, sizeof label) || strncmp(label, "kmsd:release:", 13) ||
        !(end = strrchr(label, ':'))) {
        sim_fail(s, "the core asked for the removal of a key without id or label");
        return;
    }
    *end = '\0';
    hex_encode(in->field[TAG_KEY_ID].data, KEY_ID_LEN, id);
    sim_check(s);
    if (!json_object_get(json_object_get(s->model.life, label + 13), "erase"))
        sim_fail(s, "promise 2: key %s is removed from the token before the log says so", label + 13);
    token_remove(s, id, cut ? "private-key" : NULL);
    if (cut)
        return;
    s->destroyed++;
    frame_put_str(frame, TAG_PROOF, "{\"left\":0,\"private\":1,\"public\":1,\"token\":{\"label\":\"sim\",\"serial\":\"1\"}}");
}

/* The token keeps what it is told to; what it is told must be in the durable log by then, or the next start would be refused. */
static void anchor(struct sim *s, struct span slot, struct buf *frame)
{
    char hash[SHA256_HEX];
    struct anchor a;

    if (slot.data) {
        if (anchor_decode(slot, &a) || sim_record_hash(s, a.seq, hash) || strcmp(hash, a.hash))
            sim_fail(s, "the anchor on the token names what is not in the durable log");
        else
            memcpy(s->token_anchor, slot.data, ANCHOR_LEN);
        s->token_has_anchor = true;
    }
    if (s->token_has_anchor)
        frame_put(frame, TAG_ANCHOR, span_of(s->token_anchor, ANCHOR_LEN));
}

#define NO_SIGNATURE_MAX (1u << 20)

static void put_result(struct sim *s, const struct frame *in, struct buf *frame)
{
    static const uint8_t nothing[NO_SIGNATURE_MAX];
    size_t mark = frame_begin(frame, FRAME_RESULT, in->id);

    if (in->type == FRAME_SIGN && s->no_signatures)
        frame_put(frame, TAG_OUTPUT, span_of(nothing, s->no_signature));
    else if (in->type == FRAME_SIGN)
        sign(s, in->field[TAG_INPUT], frame);
    if (in->type == FRAME_LIST) {
        BUF_AUTO text = BUF_INIT(FRAME_MAX);

        json_canonical(&text, s->objects);
        frame_put(frame, TAG_OBJECTS, buf_span(&text));
    }
    if (in->type == FRAME_DESTROY)
        destroy(s, in, false, frame);
    if (in->type == FRAME_ANCHOR)
        anchor(s, in->field[TAG_ANCHOR], frame);
    if (in->type == FRAME_GENERATE) {
        generate(s, in);
        frame_put(frame, TAG_SPKI, buf_span(&s->keys->release_spki));
        frame_put_str(frame, TAG_BIRTH, BIRTH);
    }
    frame_end(frame, mark);
}

static void put_error(struct sim *s, struct sim_lane *l, const struct frame *in, struct buf *frame)
{
    size_t which = sim_random(s, sizeof ERRORS / sizeof *ERRORS), mark = frame_begin(frame, FRAME_ERROR, in->id);
    BUF_AUTO unheard = BUF_INIT(FRAME_MAX); /* what would have been said, had nothing failed on the way */

    if (in->type == FRAME_DESTROY && sim_random(s, 2))
        destroy(s, in, sim_random(s, 2), &unheard);
    frame_put_u64(frame, TAG_CLASS, ERRORS[which].class);
    frame_put_str(frame, TAG_REASON, "injected");
    frame_end(frame, mark);
    s->faults++;
    s->alarm_due = ERRORS[which].alarm;
    if (ERRORS[which].ends)
        l->mode = SIM_ENDS;
}

static void answer(struct sim *s, struct sim_lane *l, struct sim_lane_job *j, bool well)
{
    BUF_AUTO frame = BUF_INIT(FRAME_MAX);
    struct frame in, out;
    struct err e = {0};

    if (frame_parse(buf_span(&j->frame), &in, &e)) {
        sim_fail(s, "the core sent a lane a malformed frame: %s", e.detail);
    } else {
        if (well)
            put_result(s, &in, &frame);
        else
            put_error(s, l, &in, &frame);
        if (frame_parse(buf_span(&frame), &out, &e))
            abort();
        say(s, l, &out);
        s->alarm_due = false;
        if (l->mode == SIM_ENDS)
            forget(s, l);
    }
    buf_free(&j->frame);
}

/* A lane that works answers one of its frames; one that ended is replaced; one without its token finds it. */
void sim_lane_step(struct sim *s)
{
    unsigned from = (unsigned)sim_random(s, SIM_PENDING_MAX);
    struct sim_lane *l = &s->lane[sim_random(s, SIM_LANES + 1)];

    if (l->mode == SIM_ENDS) {
        replace(s, l);
        return;
    }
    if (l->mode == SIM_AWAY && !sim_random(s, 4)) {
        say_hello(s, l);
        return;
    }
    for (unsigned n = 0; n < SIM_PENDING_MAX; n++) {
        struct sim_lane_job job = s->job[(from + n) % SIM_PENDING_MAX];

        if (!job.used || lane(s, job.role, job.index)->mode != SIM_WORKS)
            continue;
        s->job[(from + n) % SIM_PENDING_MAX] = (struct sim_lane_job){0};
        answer(s, lane(s, job.role, job.index), &job, s->calm || sim_random(s, 30));
        return;
    }
}

void sim_lane_fault(struct sim *s)
{
    struct sim_lane *l = &s->lane[sim_random(s, SIM_LANES + 1)];

    s->faults++;
    switch (sim_random(s, 3)) {
    case 0: replace(s, l); break;
    case 1: l->mode = l->mode == SIM_WORKS ? SIM_MUTE : l->mode; break;
    default: sim_lane_told_to_end(s, l->role, l->index); break;
    }
}

void sim_lanes_heal(struct sim *s)
{
    s->calm = true;
    for (unsigned n = 0; n <= SIM_LANES; n++)
        if (s->lane[n].mode == SIM_MUTE)
            s->lane[n].mode = SIM_WORKS;
}

/* What a lane that went wrong takes for a signature, and cannot be one, is refused as a failure of the service; no record says that there is one. */
void sim_no_signatures_scene(struct sim *s)
{
    static const size_t sizes[] = {0, 6145, 65536, NO_SIGNATURE_MAX};

    s->calm = s->no_signatures = true;
    for (unsigned n = 0; n < sizeof sizes / sizeof *sizes && !s->failure[0]; n++) {
        s->no_signature = sizes[n];
        sim_ask_sign(s, 0, 1 + n, 0, 0);
        for (unsigned k = 0; k < 2 * SIM_PENDING_MAX; k++) {
            sim_lane_step(s);
            sim_disk_step(s);
        }
        sim_check(s);
        if (s->signed_ok || s->refused != n + 1)
            sim_fail(s, "%zu bytes were taken for a signature", sizes[n]);
    }
    if (memmem(s->durable.data, s->durable.len, "\"outcome\":\"denied\"", 18))
        sim_fail(s, "a lane that does not sign is recorded as a refusal of the request");
}
