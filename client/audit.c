/* Asks the service for pages of its audit log. */
#include "client/audit.h"

#include <ctype.h>
#include <string.h>

#include "client/api.h"

static const struct {
    enum opt_code option;
    const char *parameter;
} FILTERS[] = {
    {OPT_EVENT, "event"},     {OPT_OUTCOME, "outcome"}, {OPT_ACTOR, "actor"},   {OPT_KEY, "key"},     {OPT_APP, "app"},     {OPT_CHANNEL, "channel"},
    {OPT_VERSION, "version"}, {OPT_DIGEST, "digest"},   {OPT_REQUEST, "request"}, {OPT_SINCE, "since"}, {OPT_UNTIL, "until"},
};

/* RFC 3986: whatever is not plain is escaped, so that no value can end and begin another parameter. */
static void put_value(struct buf *out, const char *text)
{
    for (; *text; text++)
        if (isalnum((unsigned char)*text) || strchr("._-:", *text))
            buf_putc(out, (uint8_t)*text);
        else
            buf_printf(out, "%%%02X", (unsigned)(unsigned char)*text);
}

/* The environment's app, channel and key are for signing: only what is on the command line counts. */
int audit_filters(struct context *c, struct buf *query)
{
    struct search unused;
    struct err why = {0};

    for (size_t n = 0; n < sizeof(FILTERS) / sizeof(FILTERS[0]); n++) {
        const char *text = c->args.value[FILTERS[n].option];

        if (!text)
            continue;
        if (FILTERS[n].option == OPT_DIGEST && !strncmp(text, "sha", 3) && strchr(text, ':'))
            text = strchr(text, ':') + 1;
        buf_printf(query, "%s=", FILTERS[n].parameter);
        put_value(query, text);
        buf_putc(query, '&');
    }
    if (buf_ok(query))
        return kms_fail_text(&c->error, KMS_USAGE, "the filters are too long");
    return search_parse(buf_str(query), &unused, &why) ? kms_fail(&c->error, KMS_USAGE, &why) : 0;
}

void audit_page_free(struct audit_page *p)
{
    kms_answer_free(&p->answer);
}

int audit_page(struct context *c, const char *query, struct audit_page *out)
{
    BUF_AUTO target = BUF_INIT(AUDIT_TARGET_MAX);
    const json_t *next, *indexed;

    *out = (struct audit_page){.next = -1};
    buf_printf(&target, "/v1/audit/records?%s", query);
    if (buf_ok(&target))
        return kms_fail_text(&c->error, KMS_USAGE, "the filters are too long");
    if (api_get(c, KMS_DOOR_ADMIN, buf_str(&target), &out->answer))
        return -1;
    out->items = json_object_get(out->answer.json, "items");
    next = json_object_get(out->answer.json, "next");
    indexed = json_object_get(out->answer.json, "indexed");
    if (!json_is_array(out->items) || !json_is_integer(indexed) || !(json_is_null(next) || (json_is_integer(next) && json_integer_value(next) >= 0)))
        return kms_fail_text(&c->error, KMS_REFUSED, "the service's answer is no page of its log");
    out->next = json_is_integer(next) ? json_integer_value(next) : -1;
    out->indexed = json_integer_value(indexed);
    return 0;
}
