/* Checks the promises on the durable log with a small model of its own; it shares no code with the fold. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

/* The model: which policy holds, who is disabled, and what the channel's newest version holds. */
struct model {
    unsigned policy;
    bool disabled[2];
    unsigned version;
    bool withdrawn;
    char digest[8][SHA256_HEX];
    uint64_t seq;
    char prev[SHA256_HEX];
};

static const char *text(const json_t *j, const char *member)
{
    const char *t = json_string_value(json_object_get(j, member));

    return t ? t : "";
}

static unsigned ci_of(const char *name)
{
    return !strcmp(name, "ci-b");
}

static void see_signature(struct sim *s, struct model *m, const json_t *record)
{
    unsigned who = ci_of(text(json_object_get(record, "actor"), "name"));
    unsigned version = (unsigned)strtoul(text(json_object_get(record, "artifact"), "version") + 4, NULL, 10);
    unsigned name = (unsigned)strtoul(text(json_object_get(record, "detail"), "name") + 1, NULL, 10);
    const char *digest = text(json_object_get(record, "digest"), "hex");

    if (m->disabled[who] || (who == 1 && m->policy == 1))
        sim_fail(s, "promise 2: record %llu signs for an identity that was %s before", (unsigned long long)m->seq,
                 m->disabled[who] ? "disabled" : "taken out of the policy");
    if (version < m->version)
        sim_fail(s, "promise 4: record %llu goes down from version %u to %u", (unsigned long long)m->seq, m->version, version);
    if (version > m->version)
        memset(m->digest, 0, sizeof m->digest);
    m->withdrawn &= version == m->version;
    if (m->withdrawn)
        sim_fail(s, "promise 4: record %llu signs version %u, which was withdrawn", (unsigned long long)m->seq, version);
    m->version = version;
    if (name >= 8 || m->digest[name][0])
        sim_fail(s, "promise 4: record %llu signs a name twice in one version", (unsigned long long)m->seq);
    else
        memcpy(m->digest[name], digest, strlen(digest) + 1);
}

static void see(struct sim *s, struct model *m, const json_t *record)
{
    const char *event = text(record, "event"), *name = text(json_object_get(record, "detail"), "name");

    if (strcmp(text(record, "outcome"), "ok"))
        return;
    if (!strcmp(event, "sign.release"))
        see_signature(s, m, record);
    else if (!strcmp(event, "release.withdraw"))
        m->withdrawn = true;
    else if (!strcmp(event, "policy.apply"))
        m->policy = !strcmp(text(json_object_get(record, "detail"), "sha256"), s->keys->policy_sha256[1]);
    else if (!strcmp(event, "identity.disable"))
        m->disabled[ci_of(name)] = true;
    else if (!strcmp(event, "identity.enable"))
        m->disabled[ci_of(name)] = false;
}

static void see_line(struct sim *s, struct model *m, const char *line, size_t len, size_t *found)
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
        ++*found;
        if (strcmp(promised, hash))
            sim_fail(s, "promise 1: record %s was acknowledged with another hash", seq);
    }
    see(s, m, record);
    json_decref(record);
    m->seq++;
}

void sim_check(struct sim *s)
{
    struct model m = {0};
    size_t at = 0, found = 0;

    memset(m.prev, '0', SHA256_HEX - 1);
    while (at < s->durable.len && !s->failure[0]) {
        const char *start = (const char *)s->durable.data + at, *end = memchr(start, '\n', s->durable.len - at);

        if (!end)
            break;
        see_line(s, &m, start, (size_t)(end - start), &found);
        at += (size_t)(end - start) + 1;
    }
    if (!s->failure[0] && found != json_object_size(s->acknowledged))
        sim_fail(s, "promise 1: %zu acknowledged records are not in the durable log", json_object_size(s->acknowledged) - found);
}
