/* The simulated reader, and who searches: it lags, answers in any order, with nonsense or never, dies and comes back; signing must not notice. */
#include <string.h>

#include "tests/sim/sim.h"

#define ROUNDS 500
#define LATE_US INT64_C(8400000)  /* a search is answered or refused before */

/* Records that are on disk: no answer may show others. */
static uint64_t on_disk(const struct sim *s)
{
    uint64_t n = 0;

    for (size_t at = 0; at < s->durable.len; at++)
        n += s->durable.data[at] == '\n';
    return n;
}

static void up(struct sim *s)
{
    struct sim_reader *r = &s->reader;
    uint64_t last = r->last;

    *r = (struct sim_reader){.up = true, .last = last};
    core_on_child(s->core, CHILD_READER, 0, true, "", s->now);
    if (core_on_frame(s->core, CHILD_READER, 0, &(struct frame){.type = FRAME_HELLO}, s->now))
        sim_fail(s, "HELLO of the reader was refused");
}

static void down(struct sim *s)
{
    s->reader.up = s->reader.ends = false;
    core_on_child(s->core, CHILD_READER, 0, false, "killed", s->now);
}

void sim_reader_told_to_end(struct sim *s)
{
    s->reader.ends = true;
}

void sim_reader_take(struct sim *s, const struct buf *frame)
{
    struct sim_reader *r = &s->reader;
    struct frame f;
    struct err e = {0};
    unsigned n = 0;

    if (!r->up || frame_parse(buf_span(frame), &f, &e)) {
        sim_fail(s, "the reader is sent what it cannot take");
        return;
    }
    if (frame_u64(&f, TAG_HEAD) > on_disk(s) || frame_u64(&f, TAG_HEAD) < r->head)
        sim_fail(s, "the reader is told of %llu records where %llu are on disk", (unsigned long long)frame_u64(&f, TAG_HEAD), (unsigned long long)on_disk(s));
    r->head = frame_u64(&f, TAG_HEAD);
    if (f.type == FRAME_HEAD) {
        r->head_open = true;
        return;
    }
    while (n < SIM_QUESTIONS && r->question[n].id)
        n++;
    if (n == SIM_QUESTIONS || f.type != FRAME_SEARCH || frame_text(&f, TAG_QUERY, r->question[n].query, sizeof r->question[n].query))
        sim_fail(s, "the reader is asked too much, or nothing");
    else
        r->question[n].id = r->last = f.id;
}

/* A frame of the reader's; 0 = the core takes it. */
static int say(struct sim *s, enum frame_type type, uint64_t id, const char *body, const char *content, uint64_t number)
{
    BUF_AUTO frame = BUF_INIT(4096);
    size_t mark = frame_begin(&frame, type, id);
    struct frame f;
    struct err e = {0};

    if (type == FRAME_FOUND) {
        frame_put_str(&frame, TAG_BODY, body);
        frame_put_str(&frame, TAG_CONTENT_TYPE, content);
    } else if (type == FRAME_MISSED) {
        frame_put_u64(&frame, TAG_CODE, number);
        frame_put_str(&frame, TAG_REASON, "why");
    } else if (type == FRAME_HEAD) {
        frame_put_u64(&frame, TAG_HEAD, number);
        frame_put_str(&frame, TAG_REASON, "following");
    }
    frame_end(&frame, mark);
    if (!frame_parse(buf_span(&frame), &f, &e))
        return core_on_frame(s->core, CHILD_READER, 0, &f, s->now);
    sim_fail(s, "the world wrote a malformed frame: %s", e.detail);
    return 0;
}

static void answer(struct sim *s, unsigned n)
{
    struct sim_reader *r = &s->reader;
    uint64_t id = r->question[n].id;
    BUF_AUTO body = BUF_INIT(256);

    buf_printf(&body, "{\"query\":\"%s\"}", r->question[n].query);
    r->question[n].id = 0;
    if (say(s, sim_random(s, 5) ? FRAME_FOUND : FRAME_MISSED, id, buf_str(&body), "application/json", ERR_BUSY))
        sim_fail(s, "an answer of the reader was refused");
}

/* One of the questions that it has, any; SIM_QUESTIONS = it has none. */
static unsigned pick(struct sim *s)
{
    unsigned from = (unsigned)sim_random(s, SIM_QUESTIONS);

    for (unsigned n = 0; n < SIM_QUESTIONS; n++)
        if (s->reader.question[(from + n) % SIM_QUESTIONS].id)
            return (from + n) % SIM_QUESTIONS;
    return SIM_QUESTIONS;
}

/* It comes back, says where it stands, or answers one of the questions. */
void sim_reader_step(struct sim *s)
{
    struct sim_reader *r = &s->reader;
    unsigned n = pick(s);

    if (r->ends) {
        down(s);
    } else if (!r->up) {
        up(s);
    } else if (r->mute) {
        return;
    } else if (r->head_open && sim_random(s, 2)) {
        r->head_open = false;
        if (say(s, FRAME_HEAD, 0, NULL, NULL, sim_random(s, r->head + 1)))
            sim_fail(s, "the reader may not say where it stands");
    } else if (n < SIM_QUESTIONS) {
        answer(s, n);
    }
}

/* What no reader says: the core has it ended. id: a question that is open, or 0. */
static int nonsense(struct sim *s, uint64_t id)
{
    switch (sim_random(s, 7)) {
    case 0: return say(s, FRAME_HELLO, 0, NULL, NULL, 0);
    case 1: return say(s, FRAME_HEAD, 0, NULL, NULL, on_disk(s) + 1 + sim_random(s, 1000));
    case 2: return say(s, FRAME_FOUND, s->reader.last + 1 + sim_random(s, 1000), "{\"query\":\"x\"}", "application/json", 0);
    case 3: return say(s, FRAME_MISSED, s->reader.last + 1 + sim_random(s, 1000), NULL, NULL, ERR_BUSY);
    case 4: return id ? say(s, FRAME_FOUND, id, "{\"query\":\"x\"}", "text/html", 0) : -1;
    case 5: return id ? say(s, FRAME_MISSED, id, NULL, NULL, sim_random(s, 2) ? ERR_FORBIDDEN : 9999) : -1;
    default: return say(s, FRAME_PROBE, id, NULL, NULL, 0);
    }
}

/* Another answer to what was answered before, by this reader or the one before it: it is not heard. */
static void again(struct sim *s)
{
    uint64_t id = s->reader.last ? 1 + sim_random(s, s->reader.last) : 0;

    for (unsigned n = 0; n < SIM_QUESTIONS; n++)
        if (s->reader.question[n].id == id)
            return;
    if (say(s, FRAME_FOUND, id, "{\"query\":\"another\"}", "application/json", 0))
        sim_fail(s, "an answer that comes too late ends the reader");
}

void sim_reader_fault(struct sim *s)
{
    struct sim_reader *r = &s->reader;
    unsigned n = pick(s);
    uint64_t id = n < SIM_QUESTIONS ? r->question[n].id : 0;

    s->faults++;
    if (!r->up || r->ends)
        return;
    switch (sim_random(s, 4)) {
    case 0: down(s); break;
    case 1: r->mute = true; break;
    case 2: again(s); break;
    default:
        if (!nonsense(s, id))
            sim_fail(s, "nonsense of the reader was taken");
        r->ends = true;
    }
}

static void ask(struct sim *s)
{
    struct sim_request *r = sim_free_slot(s);
    BUF_AUTO target = BUF_INIT(128);

    if (!r)
        return;
    *r = (struct sim_request){.kind = SIM_SEARCH, .person = 2, .door = CHILD_FRONT_ADMIN, .version = ++s->searches.asked, .at = s->now - s->set};
    buf_printf(&target, "/v1/audit/records?after=%u", r->version);
    sim_send(s, r, "GET", buf_str(&target), "", span_of(NULL, 0));
}

void sim_hear_search(struct sim *s, const struct sim_request *r, unsigned status, const json_t *body)
{
    const char *query = json_string_value(json_object_get(body, "query")), *type = json_string_value(json_object_get(body, "type"));
    BUF_AUTO asked = BUF_INIT(64);

    buf_printf(&asked, "after=%u", r->version);
    if (status == 200 && query && !strcmp(query, buf_str(&asked)))
        s->searches.found++;
    else if (status == 503 && type && !strcmp(type, SIM_PROBLEM "busy"))
        s->searches.busy++;
    else
        sim_fail(s, "a search for %s was answered %u with %s", buf_str(&asked), status, query ? query : type ? type : "nothing");
}

static void none_is_late(struct sim *s)
{
    for (unsigned n = 0; n < SIM_PENDING_MAX; n++)
        if (s->request[n].used && s->request[n].kind == SIM_SEARCH && s->now - s->set - s->request[n].at > LATE_US)
            sim_fail(s, "a search has had no answer for %lld ms", (long long)(s->now - s->set - s->request[n].at) / 1000);
}

/* Disk and lanes work, the reader does not. */
static void sign(struct sim *s, unsigned version)
{
    unsigned before = s->signed_ok;

    sim_ask_sign(s, 0, version, 0, 0);
    for (unsigned n = 0; n < 4 * SIM_PENDING_MAX && s->signed_ok == before && !s->failure[0]; n++) {
        sim_lane_step(s);
        sim_disk_step(s);
    }
    if (s->signed_ok != before + 1)
        sim_fail(s, "a signature waits for the reader");
}

static void work(struct sim *s)
{
    for (unsigned n = 0; n < 100; n++) {
        sim_lane_step(s);
        sim_disk_step(s);
    }
}

static void round_of(struct sim *s, unsigned n)
{
    for (uint64_t more = sim_random(s, 4); more; more--)
        ask(s);
    if (!sim_random(s, 3))
        sign(s, n + 1);
    for (uint64_t more = sim_random(s, 6); more; more--)
        sim_reader_step(s);
    if (!sim_random(s, 10))
        sim_reader_fault(s);
    if (!sim_random(s, 100)) {
        sim_kill(s);
        work(s);
    }
    for (uint64_t ticks = sim_random(s, 20) ? 1 : 400; ticks; ticks--) {
        sim_pass(s, 100000);
        core_on_tick(s->core, s->now);
        for (unsigned k = 0; k < 4; k++)
            sim_lane_step(s);
        sim_disk_step(s);
        none_is_late(s);
    }
    sim_check(s);
}

void sim_search_scene(struct sim *s)
{
    sim_lanes_heal(s); /* what fails here is the reader */
    work(s);
    for (unsigned n = 0; n < ROUNDS && !s->failure[0]; n++)
        round_of(s, n);
    s->reader.mute = false;
    for (unsigned n = 0; n < 100; n++)
        sim_reader_step(s);
    if (!s->failure[0] && (s->searches.found < ROUNDS / 5 || s->searches.busy < ROUNDS / 5))
        sim_fail(s, "%u searches were answered, %u refused", s->searches.found, s->searches.busy);
}
