/* A signature from request to reply: parse, decide, reserve, token, decide again, record, reply. */
#include <string.h>

#include "audit/signing.h"
#include "audit/statement.h"
#include "base/enc.h"
#include "base/timefmt.h"
#include "kmsd/core/internal.h"

#define SIGN_TIME (3 * TIME_SECOND_US)
#define INPUT_MAX (RECORD_LINE_MAX + 128)

/* A statement binds the SHA-256 of the artifact, whatever hash its own signature uses; any other scheme signs digests of its own hash. */
static int check_digest(const struct key *k, const struct sign_request *s, struct err *e)
{
    const struct scheme *scheme = scheme_find(k->algorithm, k->scheme);
    const char *wanted = !scheme ? NULL : scheme->statement ? "sha256" : scheme->hash;

    if (!wanted)
        return err_set(e, ERR_INTERNAL, "key %s is of a kind that this program does not know", k->name);
    return strcmp(s->alg, wanted) ? err_set(e, ERR_BAD_DIGEST, "digest.alg is %s; key %s takes %s", s->alg, k->name, wanted) : 0;
}

/* May what the policy allows be signed now? 0 = yes and it is new, 1 = signed before (line set), -1 = no. */
static int decide(struct core *c, struct request *rq, const char **line, struct err *e)
{
    const struct sign_request *s = &rq->sign;
    const struct key *k;
    const struct mark *m;
    const struct release *r;
    int order;

    k = state_key(c->state, s->key);
    if (!k)
        return err_set(e, ERR_NOT_FOUND, "there is no key %s", s->key);
    if (keylife_usable(k, e))
        return -1;
    if (strcmp(k->purpose, "release"))
        return err_set(e, ERR_KEY_NOT_ACTIVE, "key %s is not a release key", s->key);
    if (check_digest(k, s, e))
        return -1;
    m = state_mark(c->state, s->app, s->channel);
    if (!m || !m->version[0])
        return 0;
    order = version_compare(s->version, m->version);
    if (order > 0)
        return 0;
    if (order < 0)
        return err_set(e, ERR_VERSION_NOT_NEWER, "channel %s of %s is at %s, which is newer than %s", s->channel, s->app, m->version, s->version);
    if (strcmp(s->version, m->version))
        return err_set(e, ERR_VERSION_NOT_NEWER, "channel %s of %s is at %s, which has the same precedence as %s", s->channel, s->app, m->version, s->version);
    if (m->withdrawn)
        return err_set(e, ERR_RELEASE_WITHDRAWN, "version %s of channel %s of %s was withdrawn", s->version, s->channel, s->app);
    r = mark_release(m, s->name);
    if (!r)
        return 0;
    if (strcmp(r->key, s->key))
        return err_set(e, ERR_ALREADY_EXISTS, "%s in version %s was signed with key %s; what another key signs needs a name of its own", s->name, s->version, r->key);
    if (strcmp(r->digest, s->digest))
        return err_set(e, ERR_DIGEST_CONFLICT, "%s in version %s was signed with digest %s", s->name, s->version, r->digest);
    *line = r->line;
    return 1;
}

/* What will be signed says of this moment. */
static void fix_facts(const struct core *c, struct request *rq, const struct key *k)
{
    struct signed_facts *f = &rq->facts;

    f->statement = scheme_find(k->algorithm, k->scheme)->statement;
    memcpy(f->scheme, k->scheme, sizeof f->scheme);
    f->key_version = k->version;
    time_format(c->now, f->issued);
    f->head_seq = c->durable - 1;
    memcpy(f->head_hash, c->durable_hash, sizeof f->head_hash);
}

/* What the record will say, but for its place in the log. */
static struct signing signing_of(const struct core *c, const struct request *rq, const char *signature)
{
    const struct sign_request *s = &rq->sign;
    const struct signed_facts *f = &rq->facts;

    return (struct signing){
        .actor = request_actor(rq), .req = rq->req, .src = rq->src, .idem = rq->idem, .body_sha256 = rq->body_sha256, .rule = rq->rule, .policy = rq->policy,
        .app = s->app, .channel = s->channel, .version = s->version, .name = s->name, .alg = s->alg, .digest = s->digest, .source_claimed = s->source,
        .size = s->size, .key = s->key, .scheme = f->scheme, .signature = signature, .key_version = f->key_version, .statement = f->statement,
        .environment = strcmp(c->state->mode, "dev") ? "production" : "development", .issued = f->issued, .head_hash = f->head_hash, .head_seq = f->head_seq,
    };
}

/* What the lane is given: a statement in its pre-authentication encoding, or a digest. */
static int put_input(bool statement, const struct buf *payload, struct span digest, struct buf *out, struct err *e)
{
    uint8_t bytes[SCHEME_DIGEST_MAX];

    if (statement) {
        statement_pae(buf_span(payload), out);
    } else {
        if (digest.len / 2 > sizeof bytes || hex_decode((const char *)digest.data, digest.len, bytes, digest.len / 2))
            return err_set(e, ERR_INTERNAL, "there is no digest to sign");
        buf_put(out, bytes, digest.len / 2);
    }
    return buf_ok(payload) || buf_ok(out) ? err_set(e, ERR_INTERNAL, "the statement could not be built") : 0;
}

/* The line of the record alone must rebuild what was signed, byte for byte. payload: the statement that it stands for. */
static int check_rebuilt(const struct core *c, const struct request *rq, const struct record_line *line, struct buf *payload, struct err *e)
{
    bool statement = record_line_is(line, LINE_EVENT, "sign.release");
    BUF_AUTO again = BUF_INIT(INPUT_MAX);

    if ((statement && statement_payload(line, c->state->instance, payload, e)) ||
        put_input(statement, payload, record_line_string(line, LINE_DIGEST), &again, e))
        return -1;
    return span_eq(buf_span(&again), buf_span(&rq->input)) ? 0 : err_set(e, ERR_INTERNAL, "the record would not rebuild what was signed");
}

/* The line of the record as the next one, in c->line. */
static int make_line(struct core *c, const struct request *rq, struct span signature, struct record_line *out, struct err *e)
{
    BUF_AUTO b64 = BUF_INIT(8192);
    struct signing s;

    b64_encode(&b64, signature.data, signature.len);
    if (!signature.len || buf_ok(&b64))
        return err_set(e, ERR_INTERNAL, "the token lane answered with %zu bytes, which are no signature", signature.len);
    s = signing_of(c, rq, buf_str(&b64));
    buf_clear(&c->line);
    signing_put(&s, &c->state->chain, c->now, c->start.boot, &c->line);
    return buf_ok(&c->line) ? err_set(e, ERR_INTERNAL, "the record does not fit a line of %d bytes", RECORD_LINE_MAX)
                            : record_line_read(buf_span(&c->line), out, e);
}

static int record_signature(struct core *c, struct request *rq, const struct frame *result, struct record_line *line, struct buf *payload, struct err *e)
{
    const char *stored = NULL;
    int verdict;

    if (!identify_again(c, rq, e) || authorise(c, rq, rq->sign.key, rq->sign.app, rq->sign.channel, e))
        return -1;
    verdict = decide(c, rq, &stored, e);
    if (verdict)
        return verdict < 0 ? -1 : err_set(e, ERR_BUSY, "the same release was signed meanwhile; ask again for its signature");
    return make_line(c, rq, result->field[TAG_OUTPUT], line, e) || check_rebuilt(c, rq, line, payload, e) ? -1 : commit_signature(c, line, e);
}

static void on_signed(struct core *c, struct request *rq, const struct frame *result, struct err *e)
{
    BUF_AUTO payload = BUF_INIT(RECORD_LINE_MAX);
    struct record_line line;

    if (!result || record_signature(c, rq, result, &line, &payload, e)) {
        request_refuse(c, rq, e);
        return;
    }
    c->metrics.signatures++;
    flight_end(c, rq);
    reply_line(c, rq, &line, buf_span(&payload));
    wake_waiters(c);
}

static int still_wanted(struct core *c, struct request *rq, struct err *e)
{
    return keylife_answerable(c, rq->sign.key, e);
}

static int send_to_lane(struct core *c, struct request *rq, const struct key *k, struct err *e)
{
    BUF_AUTO payload = BUF_INIT(RECORD_LINE_MAX);
    struct signing s;
    struct lane_op *op;

    buf_free(&rq->input);
    rq->input = BUF_INIT(INPUT_MAX);
    fix_facts(c, rq, k);
    s = signing_of(c, rq, "");
    if (s.statement)
        signing_statement(&s, c->state->instance, &payload);
    if (put_input(s.statement, &payload, span_str(s.digest), &rq->input, e))
        return -1;
    op = lane_op_key(lane_op_new(CHILD_LANE_SIGN, FRAME_SIGN, c->clock.boot + SIGN_TIME, 2, on_signed, rq), k, buf_span(&rq->input));
    if (!op)
        return err_set(e, ERR_BUSY, "the service is out of memory");
    op->wanted = still_wanted;
    flight_begin(c, rq);
    lane_submit(c, op);
    return 0;
}

static int dry_run(struct core *c, struct request *rq, int verdict)
{
    reply_json(c, rq, 200, json_pack("{s:s, s:b, s:s, s:s, s:s}", "decision", "allow", "signed_before", verdict == 1, "rule", rq->rule, "policy", rq->policy,
                                     "request_id", rq->req));
    return 0;
}

static int consider(struct core *c, struct request *rq, struct err *e)
{
    struct wait_list *where;
    const struct key *k;
    const char *line = NULL;
    int verdict;

    if (authorise(c, rq, rq->sign.key, rq->sign.app, rq->sign.channel, e))
        return -1;
    k = state_key(c->state, rq->sign.key);
    if (k && keylife_usable(k, e)) /* a repeated request is answered only while its key could sign it anew */
        return -1;
    verdict = idem_check(c, rq, e);
    if (verdict)
        return verdict < 0 ? -1 : 0;
    where = kept_back(c, rq);
    if (where)
        return wait_for(c, rq, where, e);
    verdict = decide(c, rq, &line, e);
    if (verdict < 0)
        return -1;
    if (rq->sign.dry_run)
        return dry_run(c, rq, verdict);
    if (verdict == 1) {
        reply_record(c, rq, span_str(line));
        return 0;
    }
    if (room_check(c, e) || reconcile_check(c, state_key(c->state, rq->sign.key), e))
        return -1;
    return send_to_lane(c, rq, state_key(c->state, rq->sign.key), e);
}

/* Most bodies are read where they stand, in the request's own copy. */
static int read_body(struct request *rq, struct json_flat *flat, struct json_reader *r, struct err *e)
{
    if (rq->body.len > SIGN_BODY_MAX || json_flat_read(request_text(rq), rq->body.len, flat))
        return request_json(rq, r, e);
    json_begin_flat(r, flat);
    return 0;
}

int sign_handle(struct core *c, struct request *rq, struct err *e)
{
    struct json_flat flat;
    struct json_reader r;
    int plain;

    if (rq->sign.key)
        return consider(c, rq, e); /* it waited */
    plain = batch_begin_plain(c, rq, e);
    if (plain <= 0)
        return plain;
    if (read_body(rq, &flat, &r, e))
        return -1;
    if (json_has(&r, "items"))
        return batch_begin(c, rq, &r, e);
    if (rq->body.len > SIGN_BODY_MAX)
        return err_set(e, ERR_TOO_LARGE, "the body has %zu bytes, a sign request may have %u", rq->body.len, SIGN_BODY_MAX);
    return sign_request_parse(&r, &rq->sign, e) ? -1 : consider(c, rq, e);
}
