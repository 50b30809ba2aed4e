/* What an operator should look at: each with what to do about it. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "kmsd/core/internal.h"

#define SNAPSHOTS_LATE 8 /* as many times the records from one to the next: a large one takes a minute */
#define WARN_EVERY (86400 * TIME_SECOND_US)

static void warn(json_t *list, const char *what, const char *cure)
{
    json_array_append_new(list, json_pack("{s:s, s:s}", "do", cure, "what", what));
}

static void warn_f(json_t *list, const char *cure, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void warn_f(json_t *list, const char *cure, const char *fmt, ...)
{
    char text[256];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    warn(list, text, cure);
}

static void certificates(const struct core *c, json_t *list)
{
    struct shown_certificate shown[CERTIFICATES_SHOWN];
    unsigned n = tally_certificates(c, shown);

    for (unsigned i = 0; i < n; i++) {
        int64_t left = shown[i].not_after - c->clock.wall;
        bool ca = !strcmp(shown[i].name, "ca");
        const char *cure = ca ? "kmsd renew-ca makes the next one; both are trusted until the old one is dropped"
                              : "kmsd renew-server makes a new one";

        if (left <= 0)
            warn_f(list, cure, "the certificate %s has ended", shown[i].name);
        else if (left < CERT_SOON)
            warn_f(list, cure, "the certificate %s ends in %" PRId64 " days", shown[i].name, left / (86400 * TIME_SECOND_US));
    }
}

void warnings_tick(struct core *c)
{
    JSON_AUTO *list = NULL;
    const json_t *warning;
    size_t n;

    if (c->clock.boot < c->warn_again || (!c->front[0].not_after && !c->front[1].not_after))
        return;
    c->warn_again = c->clock.boot + WARN_EVERY;
    list = json_array();
    certificates(c, list);
    json_array_foreach(list, n, warning)
    {
        BUF_AUTO text = BUF_INIT(512);

        buf_printf(&text, "%s; %s", json_string_value(json_object_get(warning, "what")), json_string_value(json_object_get(warning, "do")));
        c->io.note(c->io.ctx, CORE_NOTE_WARNING, "certificate", buf_str(&text));
    }
}

static void counted(const struct core *c, json_t *list)
{
    struct tally t;
    int64_t lost;

    tally(c, &t);
    lost = t.found[TALLY_MISSING] + t.found[TALLY_DUPLICATE];
    if (lost)
        warn_f(list, "kmsctl key list names them; bring back the token that holds them",
               "the token does not hold %" PRId64 " of the keys as recorded", lost);
    if (t.ending)
        warn_f(list, "kmsctl renew, run as each of them; kmsctl identity list names them",
               "the last certificate of %" PRId64 " identities ends within 21 days", t.ending);
    if (t.ended)
        warn_f(list, "kmsctl identity disable those that are gone; let the others in anew",
               "the last certificate of %" PRId64 " enabled identities has ended",
               t.ended);
}

#define DESTRUCTIONS_SHOWN 8

static bool destruction(void *ctx, struct key *k)
{
    json_t *list = ctx;

    if (k->state != KEY_DESTROYING || json_array_size(list) >= DESTRUCTIONS_SHOWN)
        return true;
    if (k->erase_seq)
        warn_f(list, "it goes on as soon as the token works; see the messages of kmsd-core", "key %s is being removed from the token", k->name);
    else
        warn_f(list, "if that is not meant: kmsctl key restore NAME --reason TEXT", "key %s is going to be destroyed, %s at the earliest", k->name,
               k->due);
    return true;
}

static void destructions(const struct core *c, json_t *list)
{
    JSON_AUTO *found = json_array();

    state_each_key(c->state, "", destruction, found);
    json_array_extend(list, found);
}

json_t *warnings_view(const struct core *c)
{
    json_t *list = health_reasons(c, true);

    if (c->anchor.problem[0])
        warn(list, c->anchor.problem, "see the messages of kmsd-core; the place of the anchor must take writes");
    if (c->state->time_frozen) {
        BUF_AUTO cure = BUF_INIT(160);

        buf_printf(&cure, "if that was meant: kmsctl time confirm --seq %" PRIu64 " --reason TEXT", c->state->time_step);
        warn(list, "the clock was set; nothing that waits for a moment comes to pass", buf_str(&cure));
    }
    if (!strcmp(c->sandbox, "off") || !strcmp(c->sandbox, "none"))
        warn(list, "a process is not confined", "set sandbox: auto, or run a kernel with seccomp and Landlock");
    if (c->io.snapshot && c->start.snapshot_records && c->state->chain.next_seq - c->snapshot.usable > SNAPSHOTS_LATE * c->start.snapshot_records)
        warn(list, "no state snapshot could be written for long", "see the messages of kmsd-core; audit.snapshots must take writes");
    certificates(c, list);
    counted(c, list);
    destructions(c, list);
    return list;
}
