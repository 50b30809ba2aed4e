/* Reads the query of a search, and compares records with it. */
#include "audit/search.h"

#include <string.h>

#include "audit/record.h"
#include "base/num.h"
#include "base/timefmt.h"
#include "policy/names.h"

#define HEX "0123456789abcdef"
#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define ALNUM LOWER "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
#define VALUE_MAX 160

static const char *const MEMBER[SEARCH_FIELD_COUNT] = {
#define X(code, parameter, member) member,
    SEARCH_FIELDS(X)
#undef X
};

static int check_event(const char *text, const char *what, struct err *e)
{
    return text[strspn(text, LOWER ".")] ? err_set(e, ERR_BAD_REQUEST, "%s has letters a-z and dots, such as sign.release", what) : 0;
}

static int check_outcome(const char *text, const char *what, struct err *e)
{
    static const char *const words[] = {"ok", "denied", "error", "intent"};

    for (size_t n = 0; n < sizeof words / sizeof *words; n++)
        if (!strcmp(words[n], text))
            return 0;
    return err_set(e, ERR_BAD_REQUEST, "%s is ok, denied, error or intent", what);
}

static int check_version(const char *text, const char *what, struct err *e)
{
    return text[strspn(text, ALNUM ".+-_")] ? err_set(e, ERR_BAD_REQUEST, "%s has letters, digits and . + - _ only", what) : 0;
}

static int check_digest(const char *text, const char *what, struct err *e)
{
    size_t n = strlen(text);

    if (!text[strspn(text, HEX)] && (n == 64 || n == 96 || n == 128))
        return 0;
    return err_set(e, ERR_BAD_REQUEST, "%s is 64, 96 or 128 lower-case hexadecimal characters", what);
}

static int check_request(const char *text, const char *what, struct err *e)
{
    return text[strspn(text, HEX)] || strlen(text) != 32 ? err_set(e, ERR_BAD_REQUEST, "%s is 32 lower-case hexadecimal characters", what) : 0;
}

static int (*const CHECK[SEARCH_FIELD_COUNT])(const char *text, const char *what, struct err *e) = {
    [SEARCH_EVENT] = check_event, [SEARCH_OUTCOME] = check_outcome, [SEARCH_ACTOR] = name_check,
    [SEARCH_KEY] = name_check,    [SEARCH_APP] = app_check,         [SEARCH_CHANNEL] = name_check,
    [SEARCH_VERSION] = check_version, [SEARCH_DIGEST] = check_digest, [SEARCH_REQUEST] = check_request};

/* 2026-03-03, 2026-03-03T08:09:10Z, and up to six decimals: what is left out is zero. */
static int take_time(const char *text, const char *what, int64_t *out, struct err *e)
{
    static const char rest[] = "0000-00-00T00:00:00.000000Z";
    char full[TIME_TEXT];
    size_t n = strlen(text);

    memcpy(full, rest, sizeof full);
    if (n == 10)
        memcpy(full, text, n);
    else if (n >= 20 && n < TIME_TEXT && n != 21 && text[n - 1] == 'Z')
        memcpy(full, text, n - 1);
    else
        n = 0;
    return n && !time_parse(full, out) ? 0 : err_set(e, ERR_BAD_REQUEST, "%s is a time such as 2026-03-03T08:09:10Z or 2026-03-03", what);
}

static int take_since(struct search *s, const char *text, const char *what, struct err *e)
{
    return take_time(text, what, &s->since, e);
}

static int take_until(struct search *s, const char *text, const char *what, struct err *e)
{
    return take_time(text, what, &s->until, e);
}

static int take_after(struct search *s, const char *text, const char *what, struct err *e)
{
    s->has_after = true;
    return num_parse_u64(text, strlen(text), 0, JSON_INT_MAX, &s->after) ? err_set(e, ERR_BAD_REQUEST, "%s is the number of a record", what) : 0;
}

static int take_limit(struct search *s, const char *text, const char *what, struct err *e)
{
    uint64_t n;

    if (num_parse_u64(text, strlen(text), 1, SEARCH_LIMIT_MAX, &n))
        return err_set(e, ERR_BAD_REQUEST, "%s is a number from 1 to %d", what, SEARCH_LIMIT_MAX);
    s->limit = (unsigned)n;
    return 0;
}

static int take_order(struct search *s, const char *text, const char *what, struct err *e)
{
    s->descending = !strcmp(text, "desc");
    return s->descending || !strcmp(text, "asc") ? 0 : err_set(e, ERR_BAD_REQUEST, "%s is asc or desc", what);
}

static int take_format(struct search *s, const char *text, const char *what, struct err *e)
{
    s->lines = !strcmp(text, "jsonl");
    return s->lines || !strcmp(text, "json") ? 0 : err_set(e, ERR_BAD_REQUEST, "%s is json or jsonl", what);
}

/* Every parameter: those that are compared first, in the order of enum search_field. */
static const struct parameter {
    const char *name;
    int (*take)(struct search *s, const char *text, const char *what, struct err *e); /* NULL: compared */
} PARAMETERS[] = {
#define X(code, parameter, member) {parameter, NULL},
    SEARCH_FIELDS(X)
#undef X
    {"since", take_since}, {"until", take_until}, {"after", take_after}, {"limit", take_limit}, {"order", take_order}, {"format", take_format},
};
#define N_PARAMETERS (sizeof PARAMETERS / sizeof *PARAMETERS)

static int digit(char c)
{
    const char *at = c ? strchr("0123456789abcdefABCDEF", c) : NULL;
    int n = at ? (int)(at - "0123456789abcdefABCDEF") : -1;

    return n > 15 ? n - 6 : n;
}

static int decode(const char *from, size_t len, char out[static VALUE_MAX], struct err *e)
{
    size_t n = 0;

    for (size_t i = 0; i < len && n < VALUE_MAX - 1; i++) {
        int c = (unsigned char)from[i];

        if (c == '%') {
            int high = len - i > 2 ? digit(from[i + 1]) : -1, low = high < 0 ? -1 : digit(from[i + 2]);

            c = low < 0 ? 0 : high * 16 + low;
            i += 2;
        }
        if (c <= ' ' || c >= 0x7F)
            return err_set(e, ERR_BAD_REQUEST, "the query has a character or escape that no value has");
        out[n++] = (char)c;
    }
    out[n] = '\0';
    return n < VALUE_MAX - 1 ? 0 : err_set(e, ERR_BAD_REQUEST, "a value of the query is longer than %d bytes", SEARCH_TEXT_MAX);
}

static int take(struct search *s, size_t n, const char *value, struct err *e)
{
    const char *name = PARAMETERS[n].name;

    if (!*value)
        return err_set(e, ERR_BAD_REQUEST, "query parameter %s is empty", name);
    if (PARAMETERS[n].take)
        return PARAMETERS[n].take(s, value, name, e);
    if (strlen(value) > SEARCH_TEXT_MAX)
        return err_set(e, ERR_BAD_REQUEST, "%s is longer than %d bytes", name, SEARCH_TEXT_MAX);
    memcpy(s->text[n], value, strlen(value) + 1);
    return CHECK[n](value, name, e);
}

int search_parse(const char *query, struct search *out, struct err *e)
{
    struct search s = {.since = INT64_MIN, .until = INT64_MAX, .limit = SEARCH_LIMIT};
    bool seen[N_PARAMETERS] = {false};

    for (const char *at = query; *at;) {
        size_t len = strcspn(at, "&"), name = strcspn(at, "=&"), n = 0;
        char value[VALUE_MAX];

        while (n < N_PARAMETERS && (strlen(PARAMETERS[n].name) != name || memcmp(PARAMETERS[n].name, at, name)))
            n++;
        if (n == N_PARAMETERS || name == len)
            return err_set(e, ERR_UNKNOWN_MEMBER, "query parameter %.*s is not one this route takes", (int)(name > 32 ? 32 : name), at);
        if (seen[n])
            return err_set(e, ERR_BAD_REQUEST, "query parameter %s stands twice", PARAMETERS[n].name);
        seen[n] = true;
        if (decode(at + name + 1, len - name - 1, value, e) || take(&s, n, value, e))
            return -1;
        at += len + (at[len] == '&');
    }
    *out = s;
    return 0;
}

const char *search_value(const json_t *record, enum search_field field)
{
    const char *member = MEMBER[field], *dot = strchr(member, '.');
    char object[16];

    if (!dot)
        return rec_str(record, member);
    memcpy(object, member, (size_t)(dot - member));
    object[dot - member] = '\0';
    return rec_str(rec_obj(record, object), dot + 1);
}

bool search_matches(const struct search *s, const json_t *record)
{
    int64_t time;

    for (unsigned n = 0; n < SEARCH_FIELD_COUNT; n++)
        if (s->text[n][0] && strcmp(s->text[n], search_value(record, (enum search_field)n)))
            return false;
    return !time_parse(rec_str(record, "time"), &time) && time >= s->since && time < s->until;
}
