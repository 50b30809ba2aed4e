/* The simulated clients: CI jobs that sign, an administrator who changes policy and identities; they remember what was acknowledged. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

static const char *const CI_NAME[] = {"ci-a", "ci-b"};

struct sim_request *sim_free_slot(struct sim *s)
{
    for (unsigned n = 0; n < SIM_PENDING_MAX; n++)
        if (!s->request[n].used)
            return &s->request[n];
    return NULL;
}

void sim_send(struct sim *s, struct sim_request *r, const char *method, const char *target, const char *type, struct span body)
{
    BUF_AUTO frame = BUF_INIT(FRAME_MAX), signature = BUF_INIT(8192), hash_text = BUF_INIT(4096);
    const struct sim_person *p = &s->keys->person[r->person];
    char hash[SHA256_HEX];
    struct frame f;
    struct err e = {0};
    size_t mark;

    r->used = true;
    r->id = ++s->next_id;
    r->asked = s->steps;
    mark = frame_begin(&frame, FRAME_REQUEST, r->id);
    frame_put_str(&frame, TAG_METHOD, method);
    frame_put_str(&frame, TAG_TARGET, target);
    frame_put_str(&frame, TAG_SOURCE, s->source);
    frame_put(&frame, TAG_CERT, buf_span(&p->cert));
    if (body.len) {
        frame_put(&frame, TAG_BODY, body);
        frame_put_str(&frame, TAG_CONTENT_TYPE, type);
    }
    if (r->idem) {
        BUF_AUTO key = BUF_INIT(64);

        buf_printf(&key, "%s-%u-%u", r->kind == SIM_BATCH ? "batch" : "idem", r->person, r->idem);
        frame_put_str(&frame, TAG_IDEMPOTENCY, buf_str(&key));
    }
    if (r->kind != SIM_SIGN && r->kind != SIM_BATCH && r->kind != SIM_NONCE && r->kind != SIM_SEARCH) {
        sha256_hex(body.data, body.len, hash);
        JSON_AUTO *j = json_pack("{s:s, s:s, s:s, s:s, s:s}", "body_sha256", hash, "instance", core_state(s->core)->instance, "method", method, "nonce",
                                 s->nonce, "path", target);
        json_canonical(&hash_text, j);
        sim_ssh_sign(p, buf_span(&hash_text), &signature);
        frame_put(&frame, TAG_KMS_SIGNATURE, buf_span(&signature));
        s->nonce[0] = '\0';
    }
    frame_end(&frame, mark);
    if (frame_parse(buf_span(&frame), &f, &e) || core_on_frame(s->core, r->door, 0, &f, s->now))
        sim_fail(s, "the core refused a front's frame: %s", e.detail);
}

void sim_put_release(struct buf *body, const char *key, unsigned version, unsigned name, unsigned number)
{
    char digest[SHA256_HEX];
    uint8_t seed = (uint8_t)number;

    sha256_hex(&seed, 1, digest);
    buf_printf(body, "{\"key\":\"%s\",\"app\":\"app\",\"channel\":\"main\",\"version\":\"1.0.%u\",\"name\":\"n%u\",\"digest\":{\"alg\":\"sha256\",\"hex\":\"%s\"}}",
               key[0] ? key : "release", version, name, digest);
}

static void ask_sign(struct sim *s, struct sim_request *r)
{
    BUF_AUTO body = BUF_INIT(2048);

    r->kind = SIM_SIGN;
    r->door = CHILD_FRONT_CI;
    sim_put_release(&body, r->key, r->version, r->name, r->digest);
    sim_send(s, r, "POST", "/v1/sign", "application/json", buf_span(&body));
}

void sim_ask_sign(struct sim *s, unsigned person, unsigned version, unsigned name, unsigned digest)
{
    struct sim_request *r = sim_free_slot(s);

    if (!r) {
        sim_fail(s, "more than %d requests are open", SIM_PENDING_MAX);
        return;
    }
    *r = (struct sim_request){.person = person, .version = version, .name = name, .digest = digest};
    ask_sign(s, r);
}

static void ask_nonce(struct sim *s, struct sim_request *r)
{
    r->door = CHILD_FRONT_ADMIN;
    r->person = 2;
    r->kind = SIM_NONCE;
    sim_send(s, r, "POST", "/v1/nonce", "application/json", (struct span){0});
}

static void send_life(struct sim *s, struct sim_request *r, const char *verb, unsigned delay)
{
    BUF_AUTO path = BUF_INIT(128);
    BUF_AUTO body = BUF_INIT(256);

    r->door = CHILD_FRONT_ADMIN;
    r->person = 2;
    r->kind = SIM_LIFE;
    s->lives++;
    buf_printf(&path, "/v1/keys/%s/%s", r->key, verb);
    buf_puts(&body, "{\"reason\":\"sim\"");
    if (!strcmp(verb, "destroy"))
        buf_printf(&body, ",\"%s\":%u", s->production && delay >= 24 ? "delay_hours" : "delay_seconds", delay);
    buf_puts(&body, "}");
    sim_send(s, r, "POST", buf_str(&path), "application/json", buf_span(&body));
}

static void send_confirm(struct sim *s, struct sim_request *r)
{
    BUF_AUTO body = BUF_INIT(256);

    r->door = CHILD_FRONT_ADMIN;
    r->person = 2;
    r->kind = SIM_CONFIRM;
    buf_printf(&body, "{\"seq\":%llu,\"reason\":\"sim\"}", (unsigned long long)s->model.step);
    sim_send(s, r, "POST", "/v1/time/confirm", "application/json", buf_span(&body));
}

/* A slot for a signed request, with a nonce to sign. */
static struct sim_request *with_nonce(struct sim *s)
{
    struct sim_request *r = sim_free_slot(s);

    if (!r)
        abort();
    *r = (struct sim_request){0};
    ask_nonce(s, r);
    for (unsigned n = 0; n < 4 && !s->nonce[0]; n++)
        sim_disk_step(s);
    r = sim_free_slot(s);
    if (!r)
        abort();
    *r = (struct sim_request){0};
    return r;
}

void sim_confirm(struct sim *s)
{
    send_confirm(s, with_nonce(s));
}

void sim_order(struct sim *s, const char *key, const char *verb, unsigned delay)
{
    struct sim_request *r = with_nonce(s);

    (void)snprintf(r->key, sizeof r->key, "%s", key);
    send_life(s, r, verb, delay);
}

static void send_key(struct sim *s, struct sim_request *r, unsigned number)
{
    BUF_AUTO body = BUF_INIT(256);

    r->door = CHILD_FRONT_ADMIN;
    r->person = 2;
    r->kind = SIM_KEY;
    buf_printf(&body, "{\"name\":\"k%u\",\"algorithm\":\"p256\",\"scheme\":\"statement\"}", number);
    sim_send(s, r, "POST", "/v1/keys", "application/json", buf_span(&body));
}

void sim_ask_key(struct sim *s, unsigned number)
{
    send_key(s, with_nonce(s), number);
}

static void ask_change(struct sim *s, struct sim_request *r)
{
    BUF_AUTO path = BUF_INIT(128);

    r->door = CHILD_FRONT_ADMIN;
    r->person = 2;
    if (!s->nonce[0]) {
        ask_nonce(s, r);
        return;
    }
    s->changes++;
    if (!sim_random(s, 4)) {
        send_key(s, r, (unsigned)sim_random(s, 12));
        return;
    }
    if (sim_random(s, 2)) {
        const char *verb = sim_pick_life(s, r);

        send_life(s, r, verb, 1 + (unsigned)sim_random(s, 3));
        return;
    }
    if (s->model.step && !sim_random(s, 4)) {
        send_confirm(s, r);
        return;
    }
    if (!sim_random(s, 8)) {
        BUF_AUTO body = BUF_INIT(256);

        r->kind = SIM_WITHDRAW;
        buf_printf(&body, "{\"app\":\"app\",\"channel\":\"main\",\"version\":\"1.0.%u\",\"reason\":\"sim\"}",
                   1 + s->signed_ok / 4 + (unsigned)sim_random(s, 2));
        sim_send(s, r, "POST", "/v1/releases/withdraw", "application/json", buf_span(&body));
        return;
    }
    if (sim_random(s, 2)) {
        r->kind = SIM_POLICY;
        r->policy = (unsigned)sim_random(s, SIM_POLICIES);
        sim_send(s, r, "PUT", "/v1/policy", "application/yaml", span_str(s->keys->policy_text[r->policy]));
        return;
    }
    r->kind = sim_random(s, 2) ? SIM_DISABLE : SIM_ENABLE;
    buf_printf(&path, "/v1/identities/%s/%s", CI_NAME[sim_random(s, 2)], r->kind == SIM_DISABLE ? "disable" : "enable");
    sim_send(s, r, "POST", buf_str(&path), "application/json", span_str("{\"reason\":\"sim\"}"));
}

/* One Idempotency-Key names one body: the rest of the request follows from it. */
static void choose_by_idem(struct sim_request *r, unsigned idem)
{
    r->idem = idem;
    r->person = idem % 2;
    r->version = 1 + idem / 4;
    r->name = idem % 3;
    r->digest = idem % 2;
    if (idem % 4 == 3)
        (void)snprintf(r->key, sizeof r->key, "k%u", idem / 4 % SIM_KEYS);
}

void sim_ask_again(struct sim *s, unsigned idem)
{
    struct sim_request *r = sim_free_slot(s);

    if (!r)
        abort();
    *r = (struct sim_request){0};
    choose_by_idem(r, idem);
    ask_sign(s, r);
}

void sim_client_step(struct sim *s)
{
    struct sim_request *r = sim_free_slot(s);

    if (!r)
        return;
    *r = (struct sim_request){0};
    if (!sim_random(s, 4)) {
        ask_change(s, r);
        return;
    }
    r->person = (unsigned)sim_random(s, 2);
    r->version = 1 + s->signed_ok / 4 + (unsigned)sim_random(s, 3);
    r->name = (unsigned)sim_random(s, 3);
    r->digest = (unsigned)sim_random(s, 2);
    if (!sim_random(s, 3)) {
        choose_by_idem(r, 1 + s->signed_ok % (SIM_IDEMS - 1));
    } else if (!sim_random(s, 4)) {
        (void)snprintf(r->key, sizeof r->key, "k%u", (unsigned)sim_random(s, sim_random(s, 8) ? SIM_KEYS : 12));
    }
    if (sim_random(s, 4))
        ask_sign(s, r);
    else
        sim_ask_batch(s, r);
}

/* An acknowledgement is a promise: its record must be durable now and for ever. */
void sim_acknowledge(struct sim *s, struct sim_idem *idem, const json_t *body)
{
    const json_t *record = json_object_get(body, "record");
    BUF_AUTO seq = BUF_INIT(32);

    buf_printf(&seq, "%lld", (long long)json_integer_value(json_object_get(record, "seq")));
    if (!record || !json_object_get(record, "hash")) {
        sim_fail(s, "an acknowledgement names no record");
        return;
    }
    json_object_set(s->acknowledged, buf_str(&seq), json_object_get(record, "hash"));
    if (idem) {
        const char *hash = json_string_value(json_object_get(record, "hash"));

        if (idem->answered && strcmp(idem->hash, hash))
            sim_fail(s, "a request repeated under its Idempotency-Key was answered with another record");
        idem->answered = true;
        memcpy(idem->hash, hash, SHA256_HEX);
    }
}

void sim_on_reply(struct sim *s, enum child_role door, const struct frame *f)
{
    struct err e = {0};

    for (unsigned n = 0; n < SIM_PENDING_MAX; n++) {
        struct sim_request *r = &s->request[n];

        if (!r->used || r->id != f->id || r->door != door)
            continue;
        r->used = false;
        if (r->many)
            sim_hear_many(s, f);
        if (r->any || r->many)
            return;
        JSON_AUTO *body = json_read_object(f->field[TAG_BODY].data, f->field[TAG_BODY].len, FRAME_MAX, &e);

        if (!body) {
            sim_fail(s, "an answer is no JSON object: %s", e.detail);
            return;
        }
        if (r->kind == SIM_SEARCH) {
            sim_hear_search(s, r, (unsigned)frame_u64(f, TAG_STATUS), body);
            return;
        }
        if (frame_u64(f, TAG_STATUS) / 100 != 2) {
            const char *type = json_string_value(json_object_get(body, "type"));

            s->refused++;
            sim_explain(s, r, type ? type + sizeof SIM_PROBLEM - 1 : "");
            return;
        }
        if (r->kind == SIM_BATCH) {
            sim_hear_batch(s, r, body);
            return;
        }
        if (r->kind == SIM_NONCE) {
            const char *nonce = json_string_value(json_object_get(body, "nonce"));

            memcpy(s->nonce, nonce, strlen(nonce) + 1);
            return;
        }
        if (frame_u64(f, TAG_STATUS) == 202) { /* it promises nothing: what comes of it is told elsewhere */
            if (r->kind != SIM_KEY)
                sim_fail(s, "something else than the creation of a key is put off");
            return;
        }
        s->signed_ok += r->kind == SIM_SIGN;
        s->keys_made += r->kind == SIM_KEY;
        sim_heard_life(s, r, body);
        sim_acknowledge(s, r->idem ? &s->idem[r->idem] : NULL, body);
        return;
    }
    sim_fail(s, "a reply came for a request that nobody made");
}
