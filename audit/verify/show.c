/* kms-audit show: records as readable lines, or as they are. */
#include "audit/verify/show.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "audit/verify/filter.h"
#include "audit/verify/printable.h"
#include "audit/verify/segments.h"
#include "audit/verify/state.h"
#include "audit/verify/verify.h"

static const char HELP[] =
    "usage: kms-audit show DIR [FILTERS] [--raw]\n"
    "\n"
    "Prints the records of the log in DIR, one a line, oldest first. It checks nothing: kms-audit verify does.\n"
    "\n"
    "  --event E            event (sign.release, policy.apply ...) or area (sign, key, identity ...)\n"
    "  --outcome O          ok, denied, error, intent\n"
    "  --actor A            name of the identity that acted\n"
    "  --key K              name of the key\n"
    "  --app A, --channel C, --version V\n"
    "  --since T, --until T a day (2026-03-03) or a time in UTC (2026-03-03T08:09:10Z); until a day includes it\n"
    "  --seq A-B            records A to B; also A, A- and -B\n"
    "  --raw                the bytes of the lines, for other programs; without it, characters that could deceive a reader are escaped\n"
    "\n"
    "exit: 0 done, 2 the log cannot be read, holds lines that are no records, or cannot be printed; 64 wrong usage\n";

struct options {
    const char *dir;
    struct filter filter;
    bool raw;
};

static int usage(const char *what, const char *value)
{
    if (*what) /* else getopt_long has said it */
        fprintf(stderr, "kms-audit show: %s%s\n", what, value);
    fputs("kms-audit show --help says more.\n", stderr);
    return EXIT_USAGE;
}

static int set(struct options *o, int opt, const char *value)
{
    struct filter *f = &o->filter;
    const char **text = opt == 'e' ? &f->event : opt == 'k' ? &f->key : opt == 'a' ? &f->actor : opt == 'p' ? &f->app : opt == 'c' ? &f->channel :
                        opt == 'v' ? &f->version : opt == 'o' ? &f->outcome : NULL;

    if (opt == 'o' && !filter_outcome_exists(value))
        return usage("--outcome takes ok, denied, error or intent, not ", value);
    if (text)
        *text = value;
    else if (opt == 'r')
        o->raw = true;
    else if (opt == 's' || opt == 'u')
        return filter_time(value, opt == 'u', opt == 's' ? &f->since : &f->until) ? usage("not a day or time in UTC: ", value) : 0;
    else if (opt == 'n')
        return filter_seq(f, value) ? usage("--seq takes A-B, A, A- or -B, not ", value) : 0;
    else
        return usage("", "");
    return 0;
}

static int parse(int argc, char **argv, struct options *o)
{
    static const struct option known[] = {
        {"event", required_argument, NULL, 'e'}, {"key", required_argument, NULL, 'k'}, {"actor", required_argument, NULL, 'a'},
        {"app", required_argument, NULL, 'p'}, {"channel", required_argument, NULL, 'c'}, {"version", required_argument, NULL, 'v'},
        {"outcome", required_argument, NULL, 'o'}, {"since", required_argument, NULL, 's'}, {"until", required_argument, NULL, 'u'},
        {"seq", required_argument, NULL, 'n'}, {"raw", no_argument, NULL, 'r'}, {"help", no_argument, NULL, 'h'}, {0}};
    int opt, failed;

    o->filter = FILTER_ALL;
    optind = 0;
    while ((opt = getopt_long(argc, argv, "h", known, NULL)) != -1) {
        if (opt == 'h') {
            fputs(HELP, stdout);
            return 1;
        }
        failed = set(o, opt, optarg);
        if (failed)
            return failed;
    }
    if (optind + 1 != argc)
        return usage(optind == argc ? "which directory?" : "one directory at a time", "");
    o->dir = argv[optind];
    return 0;
}

static void put(struct buf *out, const char *label, const json_t *object, const char *member)
{
    const json_t *v = json_object_get(object, member);

    if (json_is_integer(v))
        buf_printf(out, "%s%" PRId64, label, (int64_t)json_integer_value(v));
    else if (json_is_string(v) && json_string_length(v)) {
        buf_puts(out, label);
        printable_put(out, json_string_value(v), json_string_length(v));
    }
}

static void put_record(struct buf *out, const json_t *r)
{
    const json_t *actor = json_object_get(r, "actor"), *artifact = json_object_get(r, "artifact"), *detail = json_object_get(r, "detail");

    buf_printf(out, "%" PRIu64 " ", count_of(r, "seq"));
    put(out, "", r, "time");
    put(out, "  ", r, "event");
    put(out, " ", r, "outcome");
    put(out, "  ", actor, "name");
    put(out, " (", actor, "kind");
    buf_puts(out, json_object_get(actor, "kind") ? ")" : "");
    put(out, " key=", json_object_get(r, "key"), "name");
    put(out, ":", json_object_get(r, "key"), "version");
    put(out, " app=", artifact, "app");
    put(out, " channel=", artifact, "channel");
    put(out, " version=", artifact, "version");
    put(out, " name=", detail, "name");
    put(out, " identity=", json_object_get(detail, "identity"), "name");
    put(out, " sha256=", json_object_get(r, "digest"), "hex");
    put(out, " policy=", detail, "sha256");
    put(out, " rule=", r, "rule");
    put(out, " intent=", r, "intent_seq");
    put(out, " reason=", r, "reason");
    put(out, " source=", r, "source_claimed");
    put(out, " from=", r, "src");
    put(out, " req=", r, "req");
    buf_putc(out, '\n');
}

/* 1 = no record. */
static int show_line(const struct options *o, const struct line *l, struct buf *out)
{
    struct err e = {0};
    JSON_AUTO *record = l->len <= LINE_MAX_BYTES ? json_read_object(l->data, l->len, LINE_MAX_BYTES, &e) : NULL;

    if (!record)
        return 1;
    if (!filter_match(&o->filter, record))
        return 0;
    buf_clear(out);
    if (o->raw) {
        buf_put(out, l->data, l->len);
        buf_putc(out, '\n');
    } else {
        put_record(out, record);
    }
    (void)fwrite(out->data, 1, out->len, stdout);
    return 0;
}

int show_main(int argc, char **argv)
{
    struct options o = {0};
    struct segments s = {0};
    struct walk w;
    struct line l;
    struct err e = {0};
    BUF_AUTO out = BUF_INIT(1u << 20);
    uint64_t bad = 0;
    int got = parse(argc, argv, &o);

    if (got)
        return got == EXIT_USAGE ? got : EXIT_SOUND;
    if (segments_open(&s, o.dir, &e)) {
        fprintf(stderr, "kms-audit show: %s\n", e.detail);
        return EXIT_UNUSABLE;
    }
    walk_begin(&w, &s);
    while ((got = walk_next(&w, &l, &e)) > 0)
        bad += (unsigned)show_line(&o, &l, &out);
    walk_end(&w);
    if (got < 0)
        fprintf(stderr, "kms-audit show: %s\n", e.detail);
    else if (!s.n)
        fprintf(stderr, "kms-audit show: %s holds no log\n", s.dir);
    else if (bad)
        fprintf(stderr, "kms-audit show: %" PRIu64 " lines are no records; kms-audit verify says which\n", bad);
    if (!filter_event_known(o.filter.event))
        fprintf(stderr, "kms-audit show: this version knows no event or area %s: is it misspelled?\n", o.filter.event);
    got = got < 0 || bad || !s.n ? EXIT_UNUSABLE : EXIT_SOUND;
    segments_free(&s);
    return got;
}
