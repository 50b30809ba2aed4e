/* kmsctl audit: search, show and follow the service's audit log. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "base/num.h"
#include "client/api.h"
#include "client/audit.h"
#include "client/config.h"
#include "client/escape.h"
#include "client/output.h"

#define SHOWN_DEFAULT 100
#define SHOWN_MAX 1000000
#define PAGE 200
#define POLL_MS 1000
#define AWAY_MS 5000
#define ANY UINT64_MAX

static const struct column COLUMNS[] = {{"SEQ", "record.seq"},         {"TIME", "record.time"},        {"EVENT", "record.event"},
                                        {"OUTCOME", "record.outcome"}, {"ACTOR", "record.actor.name"}, {"APP", "record.artifact.app"},
                                        {"CHANNEL", "record.artifact.channel"}, {"VERSION", "record.artifact.version"}, {NULL, NULL}};

static int too_many(struct context *c)
{
    return kms_fail_text(&c->error, KMS_REFUSED, "the service's list does not come to an end");
}

/* Pages until enough records are there; an empty page may still have a next one. */
static int collect(struct context *c, const char *filters, uint64_t limit, json_t *items)
{
    int64_t after = -1;

    for (bool first = true; (uint64_t)json_array_size(items) < limit; first = false) {
        uint64_t left = limit - json_array_size(items);
        BUF_AUTO query = BUF_INIT(AUDIT_TARGET_MAX);
        AUDIT_PAGE_AUTO page = {0};

        buf_printf(&query, "%sorder=%s&limit=%llu", filters, c->args.value[OPT_OLDEST] ? "asc" : "desc",
                   (unsigned long long)(left < PAGE ? left : PAGE));
        if (!first)
            buf_printf(&query, "&after=%lld", (long long)after);
        if (audit_page(c, buf_str(&query), &page))
            return -1;
        if (json_array_extend(items, (json_t *)(uintptr_t)page.items))
            return kms_fail_text(&c->error, KMS_REFUSED, "out of memory");
        if (page.next < 0)
            return 0;
        if (!first && (c->args.value[OPT_OLDEST] ? page.next <= after : page.next >= after)) /* each page leads on, or it would go round */
            return too_many(c);
        after = page.next;
    }
    return 0;
}

int cmd_audit_search(struct context *c)
{
    BUF_AUTO filters = BUF_INIT(AUDIT_TARGET_MAX);
    JSON_AUTO *items = json_array();
    uint64_t limit;

    if (config_number(c, OPT_LIMIT, 1, SHOWN_MAX, SHOWN_DEFAULT, &limit) || audit_filters(c, &filters) || config_connect(c) ||
        collect(c, buf_str(&filters), limit, items))
        return -1;
    output_list(c, items, COLUMNS);
    /* Nothing found reads as 'it never happened', also where the word is misspelled. */
    if (!json_array_size(items) && c->args.value[OPT_EVENT])
        output_note("no record fits; kmsd-log(5) lists the events, in case %s is misspelled", c->args.value[OPT_EVENT]);
    return 0;
}

/* The answer is the line of the log, byte for byte: what is shown hashes to what is shown. */
int cmd_audit_show(struct context *c)
{
    KMS_ANSWER_AUTO a = {0};
    char target[64], hash[SHA256_HEX];
    uint64_t seq;
    struct err why = {0};

    if (num_parse_u64(c->args.word[0], strlen(c->args.word[0]), 0, JSON_INT_MAX, &seq)) {
        err_set(&why, ERR_BAD_REQUEST, "'%s' is no number of a record", c->args.word[0]);
        return kms_fail(&c->error, KMS_USAGE, &why);
    }
    snprintf(target, sizeof(target), "/v1/audit/records/%llu", (unsigned long long)seq);
    if (config_connect(c) || api_get(c, KMS_DOOR_ADMIN, target, &a))
        return -1;
    sha256_hex(a.body.data, a.body.len, hash);
    if (!c->json)
        json_object_set_new(a.json, "hash", json_string(hash));
    output_object(c, a.json);
    return 0;
}

static void put_text(struct buf *line, const char *label, const json_t *object, const char *member)
{
    const json_t *v = json_object_get(object, member);

    if (json_is_string(v) && json_string_length(v))
        buf_printf(line, "%s%s", label, json_string_value(v));
    else if (json_is_integer(v))
        buf_printf(line, "%s%lld", label, (long long)json_integer_value(v));
}

/* One record, one line. */
static int print_record(struct context *c, const json_t *record)
{
    const json_t *actor = json_object_get(record, "actor"), *artifact = json_object_get(record, "artifact");
    BUF_AUTO line = BUF_INIT(1 << 20), safe = BUF_INIT(8 << 20);

    if (c->json) {
        output_object(c, record);
    } else {
        put_text(&line, "", record, "seq");
        put_text(&line, "  ", record, "time");
        put_text(&line, "  ", record, "event");
        put_text(&line, " ", record, "outcome");
        put_text(&line, "  ", actor, "name");
        put_text(&line, " key=", json_object_get(record, "key"), "name");
        put_text(&line, " app=", artifact, "app");
        put_text(&line, " channel=", artifact, "channel");
        put_text(&line, " version=", artifact, "version");
        put_text(&line, " rule=", record, "rule");
        put_text(&line, " reason=", record, "reason");
        put_text(&line, " from=", record, "src");
        escape_text(&safe, buf_span(&line), ESCAPE_LINE);
        puts(buf_str(&safe));
    }
    return output_finish(c);
}

static void pause_ms(long ms)
{
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

    while (nanosleep(&left, &left) && errno == EINTR)
        ;
}

struct following {
    const char *filters;
    int64_t after;                 /* the last record that was looked at; -1 = none yet */
    uint64_t left;                 /* records still to be printed */
};

/* What is new since the last time; 1 = there may be more at once. */
static int look(struct context *c, struct following *f)
{
    BUF_AUTO query = BUF_INIT(AUDIT_TARGET_MAX);
    AUDIT_PAGE_AUTO page = {0};
    const json_t *item;
    size_t i;

    buf_printf(&query, "%slimit=%llu", f->filters, (unsigned long long)(f->left < PAGE ? f->left : PAGE));
    if (f->after >= 0)
        buf_printf(&query, "&after=%lld", (long long)f->after);
    if (audit_page(c, buf_str(&query), &page))
        return -1;
    json_array_foreach((json_t *)(uintptr_t)page.items, i, item)
    {
        if (print_record(c, json_object_get(item, "record")))
            return -1;
        f->left--;
    }
    if (page.next < 0 && page.indexed - 1 < f->after)
        return 0; /* the index is being made anew, and is not yet as far as it was */
    if (page.next >= 0 && page.next <= f->after)
        return too_many(c);
    f->after = page.next >= 0 ? page.next : page.indexed - 1;
    return page.next >= 0;
}

/* Behind the newest record there is, unless told otherwise. */
static int start_of(struct context *c, int64_t *after)
{
    const char *text = c->args.value[OPT_AFTER];
    AUDIT_PAGE_AUTO page = {0};
    uint64_t seq;

    if (text && num_parse_u64(text, strlen(text), 0, JSON_INT_MAX, &seq))
        return kms_fail_text(&c->error, KMS_USAGE, "--after is the number of a record, not '%s'", text);
    if (config_connect(c))
        return -1;
    if (text) {
        *after = (int64_t)seq;
        return 0;
    }
    if (audit_page(c, "order=desc&limit=1", &page))
        return -1;
    *after = page.indexed - 1;
    return 0;
}

int cmd_audit_follow(struct context *c)
{
    BUF_AUTO filters = BUF_INIT(AUDIT_TARGET_MAX);
    struct following f = {0};

    if (audit_filters(c, &filters) || config_number(c, OPT_LIMIT, 1, ANY, ANY, &f.left) || start_of(c, &f.after))
        return -1;
    f.filters = buf_str(&filters);
    while (f.left) {
        int more = look(c, &f);

        if (more < 0 && c->error.status != KMS_UNREACHABLE)
            return -1;
        if (more < 0)
            output_note("%s; looking again", c->error.title[0] ? c->error.title : c->error.detail);
        if (more <= 0 && f.left)
            pause_ms(more < 0 ? AWAY_MS : POLL_MS);
    }
    return 0;
}
