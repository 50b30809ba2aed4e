/* Fuzzes the core with what its children say: lanes, doors and the reader, in a simulated world where people ask meanwhile. No crash; what the core writes to
 * the log is what both readers of the log take, whatever a child said before; and a start from that log goes well. Input: steps, each a byte that says what
 * happens; a frame follows as role, type, which of the questions it answers, then a length and bytes for each field that the type knows. */
#include <stdlib.h>
#include <string.h>

#include "audit/verify/schema.h"
#include "tests/sim/sim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STEPS_MAX 64
#define FIELDS_MAX 7
#define LONG_FIELD 255 /* the length follows, two bytes */

static const struct {
    enum frame_type type;
    enum frame_tag tag[FIELDS_MAX];
} SAID[] = {
    {FRAME_RESULT, {TAG_OUTPUT, TAG_SPKI, TAG_BIRTH, TAG_CERT, TAG_OBJECTS, TAG_ANCHOR, TAG_PROOF}},
    {FRAME_ERROR, {TAG_CLASS, TAG_REASON}},
    {FRAME_HELLO, {TAG_TOKEN, TAG_SANDBOX, TAG_CERT}},
    {FRAME_AWAY, {TAG_REASON}},
    {FRAME_TLS_REFUSED, {TAG_COUNT, TAG_REASON}},
    {FRAME_HTTP_REFUSED, {TAG_SOURCE, TAG_CODE, TAG_CERT, TAG_REASON}},
    {FRAME_FOUND, {TAG_BODY, TAG_CONTENT_TYPE, TAG_SEQ}},
    {FRAME_MISSED, {TAG_CODE, TAG_REASON}},
    {FRAME_HEAD, {TAG_HEAD, TAG_REASON}},
    {FRAME_PROBE, {0}},
};
#define N_SAID (sizeof SAID / sizeof *SAID)

static uint8_t byte(struct span *rest)
{
    uint8_t got = rest->len ? *rest->data : 0;

    *rest = rest->len ? span_of(rest->data + 1, rest->len - 1) : *rest;
    return got;
}

static struct span value(struct span *rest)
{
    size_t len = byte(rest);
    struct span got;

    if (len == LONG_FIELD) {
        len = byte(rest);
        len = len << 8 | byte(rest);
    }
    len = len < rest->len ? len : rest->len;
    got = span_of(rest->data, len);
    *rest = span_of(rest->data + len, rest->len - len);
    return got;
}

/* One of the questions that the child has, taken from it; or a number that stands for none, or for one of long ago. */
static uint64_t question(struct sim *s, enum child_role role, unsigned index, uint8_t which)
{
    uint64_t id;

    for (unsigned n = 0; n < SIM_PENDING_MAX && role != CHILD_READER; n++) {
        struct sim_lane_job *j = &s->job[n];

        if (!j->used || j->role != role || j->index != index || which--)
            continue;
        id = 0;
        for (unsigned k = 5; k < 13; k++)
            id = id << 8 | j->frame.data[k];
        buf_free(&j->frame);
        j->used = false;
        return id;
    }
    for (unsigned n = 0; n < SIM_QUESTIONS && role == CHILD_READER; n++)
        if (s->reader.question[n].id && !which--) {
            id = s->reader.question[n].id;
            s->reader.question[n].id = 0;
            return id;
        }
    return which;
}

static void put_field(struct buf *frame, enum frame_tag tag, struct span v)
{
    uint64_t number = 0;

    if (tag != TAG_COUNT && tag != TAG_CLASS && tag != TAG_CODE && tag != TAG_SEQ && tag != TAG_HEAD) {
        frame_put(frame, tag, v);
        return;
    }
    for (size_t n = 0; n < v.len; n++)
        number = number << 8 | v.data[n];
    frame_put_u64(frame, tag, number);
}

static void renew(struct sim *s, enum child_role role, unsigned index)
{
    if (role == CHILD_LANE_SIGN || role == CHILD_LANE_ADMIN) {
        sim_lane_told_to_end(s, role, index); /* a later step starts another one */
        return;
    }
    core_on_child(s->core, role, 0, false, "killed", s->now);
    for (unsigned n = 0; n < SIM_PENDING_MAX; n++)
        if (s->request[n].door == role)
            s->request[n].used = false;
    s->reader = (struct sim_reader){.last = s->reader.last, .up = role == CHILD_READER || s->reader.up};
    core_on_child(s->core, role, 0, true, "", s->now);
    if (core_on_frame(s->core, role, 0, &(struct frame){.type = FRAME_HELLO}, s->now))
        sim_fail(s, "HELLO was refused");
}

static void say(struct sim *s, struct span *rest)
{
    static const struct {
        enum child_role role;
        unsigned index;
    } who[] = {{CHILD_LANE_ADMIN, 0}, {CHILD_LANE_SIGN, 0}, {CHILD_LANE_SIGN, 1}, {CHILD_FRONT_CI, 0}, {CHILD_FRONT_ADMIN, 0}, {CHILD_READER, 0}};
    size_t child = byte(rest) % (sizeof who / sizeof *who), type = byte(rest) % N_SAID;
    enum child_role role = who[child].role;
    struct sim_lane *lane = role == CHILD_LANE_ADMIN ? &s->lane[SIM_LANES] : role == CHILD_LANE_SIGN ? &s->lane[who[child].index] : NULL;
    uint64_t id = question(s, role, who[child].index, byte(rest)), class;
    BUF_AUTO frame = BUF_INIT(FRAME_MAX);
    size_t mark = frame_begin(&frame, SAID[type].type, id);
    struct frame f;
    struct err e = {0};

    for (size_t n = 0; n < FIELDS_MAX && SAID[type].tag[n]; n++) {
        struct span v = value(rest);

        if (v.len || frame_requires(SAID[type].type, SAID[type].tag[n]))
            put_field(&frame, SAID[type].tag[n], v);
    }
    frame_end(&frame, mark);
    if (lane && lane->mode == SIM_ENDS)
        return; /* the host does not hear it any more */
    if (frame_parse(buf_span(&frame), &f, &e) || core_on_frame(s->core, role, who[child].index, &f, s->now)) {
        renew(s, role, who[child].index);
        return;
    }
    class = f.type == FRAME_ERROR ? frame_u64(&f, TAG_CLASS) : 0;
    if (class == LANE_TOKEN || class == LANE_HUMAN)
        renew(s, role, who[child].index);
    else if (lane && f.type == FRAME_HELLO)
        lane->mode = SIM_WORKS;
    s->reader.head_open &= f.type != FRAME_HEAD;
}

static void search(struct sim *s)
{
    struct sim_request *r = sim_free_slot(s);

    if (!r)
        return;
    *r = (struct sim_request){.kind = SIM_SEARCH, .person = 2, .door = CHILD_FRONT_ADMIN, .any = true};
    sim_send(s, r, "GET", "/v1/audit/records?after=1", "", span_of(NULL, 0));
}

/* Whatever comes is an answer, but that to a nonce, which is needed. */
static void ask(struct sim *s, struct span *rest)
{
    static const char *const verbs[] = {"suspend", "resume", "compromise", "retire", "destroy", "restore"};
    uint8_t what = byte(rest), which = byte(rest);
    char key[8];

    (void)snprintf(key, sizeof key, "k%u", which % 4);
    switch (what % 8) {
    case 0:
    case 1: sim_ask_sign(s, which % 2, 1 + which / 2 % 4, which / 8 % 4, which / 32 % 2); break;
    case 2: search(s); break;
    case 3: sim_ask_key(s, which % 4); break;
    case 4:
    case 5: sim_order(s, key, verbs[which / 4 % 6], 1); break;
    default:
        s->rng = which;
        sim_client_step(s);
    }
    for (unsigned n = 0; n < SIM_PENDING_MAX; n++)
        s->request[n].any |= s->request[n].kind != SIM_NONCE;
}

static void pass(struct sim *s, uint8_t tenths)
{
    for (unsigned n = 0; n <= tenths && n < 64; n++) {
        sim_pass(s, 100000);
        core_on_tick(s->core, s->now);
    }
}

static void step(struct sim *s, struct span *rest)
{
    switch (byte(rest) % 8) {
    case 0:
    case 1: say(s, rest); break;
    case 2: sim_lane_step(s); break;
    case 3:
    case 4: ask(s, rest); break;
    case 5: pass(s, byte(rest)); break;
    case 6: sim_kill(s); break;
    default:
        for (unsigned n = 0; n < 8; n++) {
            sim_lane_step(s);
            sim_disk_step(s);
        }
    }
    sim_disk_step(s);
}

static void require(const struct sim *s, bool holds, struct span line, const char *why)
{
    if (holds && !s->failure[0])
        return;
    fprintf(stderr, "%s %s\n%.*s\n", s->failure, why, (int)line.len, (const char *)line.data);
    abort();
}

/* What both readers of the log say of each line that the core wrote. */
static void read_log(const struct sim *s, size_t from)
{
    const uint8_t *at = s->durable.data + from, *end = s->durable.data + s->durable.len, *lf;

    for (; at < end && (lf = memchr(at, '\n', (size_t)(end - at))); at = lf + 1) {
        struct span line = span_of(at, (size_t)(lf - at));
        struct err e = {0};
        JSON_AUTO *record = json_read_object(line.data, line.len, RECORD_LINE_MAX, &e);
        enum event event;
        enum outcome outcome;

        require(s, record && !json_is_canonical(line.data, line.len), line, "a line is not canonical");
        require(s, !schema_check(record, &event, &outcome, &e), line, e.detail);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct sim_keys keys;
    struct span rest = span_of(data, size);
    struct sim *s;
    size_t from;

    if (!keys.ca) {
        json_object_seed(1);
        sim_keys_make(&keys);
    }
    s = sim_new(&keys, 1);
    s->any = s->hostile = true;
    sim_lanes_heal(s);
    from = s->durable.len;
    renew(s, CHILD_READER, 0);
    for (unsigned n = 0; n < STEPS_MAX && rest.len && !s->failure[0] && !core_refuses(s->core); n++)
        step(s, &rest);
    for (unsigned n = 0; n < 8; n++)
        sim_disk_step(s);
    require(s, true, span_of(NULL, 0), "");
    read_log(s, from);
    sim_kill(s);
    require(s, true, span_of(NULL, 0), "");
    sim_free(s);
    return 0;
}
