/* What the health door tells: whether everything works, what does not, and what was counted. */
#include <string.h>

#include "kmsd/core/internal.h"

#define METRICS_MAX (1u << 20)

static json_t *lanes_of(const struct core *c, enum child_role role)
{
    int ready = 0, total = 0;

    for (unsigned n = 0; n < c->n_lanes; n++) {
        total += c->lane[n].role == role;
        ready += c->lane[n].role == role && c->lane[n].state == LANE_READY;
    }
    return json_pack("{s:i, s:i}", "ready", ready, "total", total);
}

json_t *health_reasons(const struct core *c, bool cures)
{
    const struct {
        bool holds;
        const char *text, *cure;
    } reasons[] = {
        {c->stopping, "the service is stopping", "start it again when that is wanted"},
        {c->full, "the disk under the audit log has no room", "make room there; service returns by itself"},
        {c->durable <= c->start_seq, "the service is starting", "wait"},
        {lanes_any(c, LANE_SEALED), "the token refused its PIN; correct the PIN, then run kmsd unseal", "correct the PIN, then run kmsd unseal"},
        {lanes_any(c, LANE_AWAY), "the token is away", "connect it; the lanes look for it four times a second"},
        {lanes_any(c, LANE_DOWN) || lanes_any(c, LANE_STARTING) || lanes_any(c, LANE_PROVING), "a token lane is being started",
         "wait; if that does not pass, see the messages of kmsd-token"},
        {!c->front[0].hello, "the ci door is being started", "wait; if that does not pass, see the messages of kmsd-front"},
        {!c->front[1].hello, "the administration door is being started", "wait; if that does not pass, see the messages of kmsd-front"},
    };
    json_t *list = json_array();

    for (size_t n = 0; n < sizeof reasons / sizeof *reasons; n++)
        if (reasons[n].holds)
            json_array_append_new(list, cures ? json_pack("{s:s, s:s}", "do", reasons[n].cure, "what", reasons[n].text)
                                              : json_string(reasons[n].text));
    return list;
}

bool health_ready(const struct core *c)
{
    JSON_AUTO *reasons = health_reasons(c, false);

    return core_ready(c) && !json_array_size(reasons);
}

void health_tell(struct core *c, bool again)
{
    BUF_AUTO text = BUF_INIT(16384), frame = BUF_INIT(32768);
    JSON_AUTO *reasons = health_reasons(c, false);
    JSON_AUTO *state = NULL;
    char hash[SHA256_HEX];
    size_t mark;

    if (!c->health_up)
        return;
    state = json_pack("{s:b, s:O, s:{s:o, s:o}, s:s, s:s, s:b, s:b, s:s}", "ready", (int)(core_ready(c) && !json_array_size(reasons)), "reasons",
                      reasons, "lanes", "admin", lanes_of(c, CHILD_LANE_ADMIN), "sign", lanes_of(c, CHILD_LANE_SIGN), "log", c->full ? "full" : "ok", "reader",
                      reader_word(c), "sealed", (int)lanes_any(c, LANE_SEALED), "stopping", (int)c->stopping, "sandbox", c->sandbox);
    json_canonical(&text, state);
    sha256_hex(text.data, text.len, hash);
    if (!state || buf_ok(&text) || (!again && !strcmp(hash, c->health_told)))
        return;
    memcpy(c->health_told, hash, sizeof hash);
    mark = frame_begin(&frame, FRAME_STATE, 0);
    frame_put(&frame, TAG_STATE, buf_span(&text));
    frame_end(&frame, mark);
    c->io.send(c->io.ctx, CHILD_FRONT_HEALTH, 0, &frame);
}

static void tell_metrics(struct core *c)
{
    BUF_AUTO text = BUF_INIT(METRICS_MAX), frame = BUF_INIT(FRAME_MAX);
    size_t mark = frame_begin(&frame, FRAME_METRICS, 0);

    metrics_text(c, &text);
    if (buf_ok(&text))
        buf_clear(&text);
    frame_put(&frame, TAG_METRICS, text.len ? buf_span(&text) : span_str("\n"));
    frame_end(&frame, mark);
    c->io.send(c->io.ctx, CHILD_FRONT_HEALTH, 0, &frame);
}

int health_frame(struct core *c, const struct frame *f)
{
    if (f->type == FRAME_METRICS_ASK && c->health_up) {
        tell_metrics(c);
        return 0;
    }
    if (f->type != FRAME_HELLO || c->health_up)
        return -1;
    c->health_up = true;
    c->io.proved(c->io.ctx, CHILD_FRONT_HEALTH, 0);
    health_tell(c, true);
    return 0;
}
