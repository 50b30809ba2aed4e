/* Checks the promises on the durable log with a small model of its own; it shares no code with the fold. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

#define REFUSALS_MAX 680 /* singly recorded in one minute: 10 for each of 17 rows of each of the three who ask, and of nobody */

static const char *text(const json_t *j, const char *member)
{
    const char *t = json_string_value(json_object_get(j, member));

    return t ? t : "";
}

static unsigned ci_of(const char *name)
{
    return !strcmp(name, "ci-b");
}

/* The releases that the simulated clients ask for: 1.0.N of one channel, artifacts nN. A fuzzer asks for any, of which the model has no idea. */
static bool is_modelled(const json_t *record, unsigned version)
{
    const json_t *artifact = json_object_get(record, "artifact");
    char ours[32];

    (void)snprintf(ours, sizeof ours, "1.0.%u", version);
    return !strcmp(text(artifact, "app"), "app") && !strcmp(text(artifact, "channel"), "main") && !strcmp(text(artifact, "version"), ours);
}

static bool is_modelled_name(const json_t *record, unsigned name)
{
    char ours[32];

    (void)snprintf(ours, sizeof ours, "n%u", name);
    return name < SIM_NAMES && !strcmp(text(json_object_get(record, "detail"), "name"), ours);
}

static void see_signature(struct sim *s, struct sim_model *m, const json_t *record)
{
    unsigned who = ci_of(text(json_object_get(record, "actor"), "name"));
    unsigned version = (unsigned)strtoul(text(json_object_get(record, "artifact"), "version") + 4, NULL, 10);
    unsigned name = (unsigned)strtoul(text(json_object_get(record, "detail"), "name") + 1, NULL, 10);
    const char *digest = text(json_object_get(record, "digest"), "hex"), *key = text(json_object_get(record, "key"), "name");

    if (strcmp(sim_life_state(m, key), "active"))
        sim_fail(s, "promise 2: record %llu is a signature by key %s, which was %s before", (unsigned long long)m->seq, key, sim_life_state(m, key));
    if (m->disabled[who] || (who == 1 && m->policy == 1))
        sim_fail(s, "promise 2: record %llu signs for an identity that was %s before", (unsigned long long)m->seq,
                 m->disabled[who] ? "disabled" : "taken out of the policy");
    if (s->any && !is_modelled(record, version))
        return;
    if (version < m->version)
        sim_fail(s, "promise 4: record %llu goes down from version %u to %u", (unsigned long long)m->seq, m->version, version);
    if (version > m->version)
        memset(m->digest, 0, sizeof m->digest);
    m->withdrawn &= version == m->version;
    if (m->withdrawn)
        sim_fail(s, "promise 4: record %llu signs version %u, which was withdrawn", (unsigned long long)m->seq, version);
    m->version = version;
    if (s->any && !is_modelled_name(record, name))
        return;
    if (name >= SIM_NAMES || m->digest[name][0])
        sim_fail(s, "promise 4: record %llu signs a name twice in one version", (unsigned long long)m->seq);
    else
        memcpy(m->digest[name], digest, strlen(digest) + 1);
}

/* An intent first, then one result; a key that exists is made no second time. */
static void see_key(struct sim *s, struct sim_model *m, const json_t *record)
{
    const char *name = text(json_object_get(record, "key"), "name"), *outcome = text(record, "outcome");
    json_t *known = json_object_get(m->keys, name), *intent = json_object_get(record, "intent_seq");

    if (!strcmp(outcome, "intent")) {
        if (known)
            sim_fail(s, "record %llu: an intent for a key that is there already", (unsigned long long)m->seq);
        json_object_set_new(m->keys, name, json_integer((json_int_t)m->seq));
        return;
    }
    if (!intent)
        return; /* refused before anything was intended */
    if (!json_is_integer(known) || json_integer_value(known) != json_integer_value(intent))
        sim_fail(s, "record %llu: the result of a key creation without its intent", (unsigned long long)m->seq);
    if (!strcmp(outcome, "ok"))
        json_object_set_new(m->keys, name, json_true());
    else
        json_object_del(m->keys, name);
}

/* Promise 8: single refusals are few; the rest are counts. */
static void see_refusal(struct sim *s, struct sim_model *m, const json_t *record)
{
    const char *time = text(record, "time");

    if (strncmp(m->minute, time, 16)) {
        memcpy(m->minute, time, 16);
        m->refusals = 0;
    }
    if (++m->refusals > REFUSALS_MAX * (s->kills + 1))
        sim_fail(s, "promise 8: more than %u refusals were recorded one by one in %s", REFUSALS_MAX, m->minute);
}

static void see_confirmation(struct sim *s, struct sim_model *m, const json_t *record)
{
    if (!m->step || (uint64_t)json_integer_value(json_object_get(json_object_get(record, "detail"), "seq")) != m->step)
        sim_fail(s, "record %llu confirms no open step of the clock", (unsigned long long)m->seq);
    m->step = 0;
}

static void see(struct sim *s, struct sim_model *m, const json_t *record)
{
    const char *event = text(record, "event"), *name = text(json_object_get(record, "detail"), "name"), *outcome = text(record, "outcome");

    if (strcmp(m->time, text(record, "time")) > 0)
        sim_fail(s, "record %llu goes back in time", (unsigned long long)m->seq);
    (void)snprintf(m->time, sizeof m->time, "%s", text(record, "time"));
    if (!strcmp(outcome, "denied"))
        see_refusal(s, m, record);
    if (!strcmp(event, "key.create"))
        see_key(s, m, record);
    else if (!strncmp(event, "key.", 4))
        sim_see_life(s, m, record, event, outcome);
    if (strcmp(outcome, "ok"))
        return;
    if (!strcmp(event, "sign.release"))
        see_signature(s, m, record);
    else if (!strcmp(event, "time.step"))
        m->step = m->seq;
    else if (!strcmp(event, "time.confirm"))
        see_confirmation(s, m, record);
    else if (!strcmp(event, "release.withdraw"))
        m->withdrawn |= !s->any || is_modelled(record, m->version);
    else if (!strcmp(event, "policy.apply"))
        m->policy = !strcmp(text(json_object_get(record, "detail"), "sha256"), s->keys->policy_sha256[1]);
    else if (!strcmp(event, "identity.disable"))
        m->disabled[ci_of(name)] = true;
    else if (!strcmp(event, "identity.enable"))
        m->disabled[ci_of(name)] = false;
}

static void see_line(struct sim *s, struct sim_model *m, const char *line, size_t len)
{
    json_t *record = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
    const char *promised;
    char seq[32], hash[SHA256_HEX];

    if (!record || (uint64_t)json_integer_value(json_object_get(record, "seq")) != m->seq || strcmp(text(record, "prev"), m->prev)) {
        sim_fail(s, "promise 3: the chain breaks at record %llu", (unsigned long long)m->seq);
        json_decref(record);
        return;
    }
    sha256_hex(line, len, hash);
    memcpy(m->prev, hash, sizeof hash);
    (void)snprintf(seq, sizeof seq, "%llu", (unsigned long long)m->seq);
    promised = json_string_value(json_object_get(s->acknowledged, seq));
    if (promised) {
        m->found++;
        if (strcmp(promised, hash))
            sim_fail(s, "promise 1: record %s was acknowledged with another hash", seq);
    }
    see(s, m, record);
    json_decref(record);
    m->seq++;
}

struct span sim_line(const struct sim *s, int64_t seq)
{
    const char *at = (const char *)s->durable.data, *end = at + s->durable.len, *lf;

    for (; at < end && (lf = memchr(at, '\n', (size_t)(end - at))); at = lf + 1)
        if (!seq--)
            return span_of(at, (size_t)(lf - at));
    return span_of(NULL, 0);
}

static void model_clear(struct sim_model *m)
{
    json_decref(m->keys);
    json_decref(m->life);
    *m = (struct sim_model){.keys = json_object(), .life = json_object()};
    memset(m->prev, '0', SHA256_HEX - 1);
}

static void read_on(struct sim *s, struct sim_model *m)
{
    while (m->at < s->durable.len && !s->failure[0]) {
        const char *start = (const char *)s->durable.data + m->at, *end = memchr(start, '\n', s->durable.len - m->at);

        if (!end)
            break;
        see_line(s, m, start, (size_t)(end - start));
        m->at += (size_t)(end - start) + 1;
    }
}

/* A record is acknowledged after it is durable: what was read before it was acknowledged is looked up when the whole log is read. */
void sim_check(struct sim *s)
{
    if (!s->model.keys || s->durable.len < s->model.at)
        model_clear(&s->model);
    read_on(s, &s->model);
}

void sim_check_all(struct sim *s)
{
    model_clear(&s->model);
    read_on(s, &s->model);
    if (!s->failure[0] && s->model.found != json_object_size(s->acknowledged))
        sim_fail(s, "promise 1: %zu acknowledged records are not in the durable log", json_object_size(s->acknowledged) - s->model.found);
}

void sim_explain(struct sim *s, const struct sim_request *r, const char *slug)
{
    const struct sim_model *m = &s->model;

    sim_check(s);
    if (r->kind != SIM_SIGN)
        return;
    if (!strcmp(slug, "version-not-newer") && r->version >= m->version)
        sim_fail(s, "promise 4: version %u was refused as not newer, but the log stands at %u", r->version, m->version);
    if (!strcmp(slug, "digest-conflict") && (r->version > m->version || (r->version == m->version && !m->digest[r->name][0])))
        sim_fail(s, "promise 4: a digest conflict was answered for a name that the log does not have in version %u", r->version);
    if ((!strcmp(slug, "key-not-active") || !strcmp(slug, "key-compromised")) && !s->lives && r->key[0] != 'k')
        sim_fail(s, "a key was refused as %s though nothing ever changed", slug);
    if (!strcmp(slug, "forbidden") && !m->disabled[r->person] && !(r->person == 1 && m->policy == 1) && s->changes == 0)
        sim_fail(s, "promise 2: a signature was refused though nothing ever changed");
}
