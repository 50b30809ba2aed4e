/* kms-audit verify: puts the checks together and says what they found. */
#include "audit/verify/verify.h"

#include <getopt.h>
#include <inttypes.h>
#include <string.h>

#include "audit/verify/arena.h"
#include "audit/verify/check.h"
#include "audit/verify/head.h"
#include "base/enc.h"

const char VERIFY_HELP[] =
    "usage: kms-audit verify DIR [--head SEQ:HASH]... [--chain-only] [--output table|json]\n"
    "\n"
    "Checks the audit log in DIR (a data directory, its audit/ folder, or a copy of either). Needs neither daemon nor network; changes nothing.\n"
    "\n"
    "  --head SEQ:HASH      a head you hold: record SEQ must have that hash. Every answer of the service carries one, and every release\n"
    "                       statement a log_head. May be given several times. Without it nobody can tell a complete rewrite or a cut.\n"
    "  --chain-only         only lines, numbers and hashes; no members, signatures, requests, bodies or rules\n"
    "  --output table|json  findings as text (default) or as one JSON object\n"
    "\n"
    "Checked: names and joins of segments; every line's bytes, canonical form, members, size, number, predecessor and time; every release\n"
    "signature with its recorded public key; that the policy of that point decides so, by the rule that is named; every person's signed request,\n"
    "its key, nonce and body, and that the record does what it asks; the bodies in blobs/; how keys came to be and what became of them, and that no\n"
    "stopped one signs, under whatever name; whose each certificate is, and that it was not over; that versions of a channel never go down and\n"
    "no name is signed twice. It takes all processors, and 40 bytes of memory a record.\n"
    "Every damaged range is listed, not only the first. An unfinished line at the very end (a crash) is a note.\n"
    "\n"
    "exit: 0 sound, 1 tampered, 2 evidence missing or unusable, 64 wrong usage\n";

struct options {
    const char *dir;
    struct head heads[HEADS_MAX];
    size_t n_heads;
    bool chain_only, json;
};

static int usage(const char *what, const char *value)
{
    if (*what) /* else getopt_long has said it */
        fprintf(stderr, "kms-audit verify: %s%s\n", what, value);
    fputs("kms-audit verify --help says more.\n", stderr);
    return EXIT_USAGE;
}

/* 0 = go on, 1 = done (help was asked for), EXIT_USAGE. */
static int parse(int argc, char **argv, struct options *o)
{
    static const struct option known[] = {{"head", required_argument, NULL, 'H'}, {"chain-only", no_argument, NULL, 'c'},
                                          {"output", required_argument, NULL, 'o'}, {"help", no_argument, NULL, 'h'}, {0}};
    int opt;

    optind = 0;
    memset(o, 0, sizeof *o);
    while ((opt = getopt_long(argc, argv, "ho:", known, NULL)) != -1) {
        if (opt == 'h') {
            fputs(VERIFY_HELP, stdout);
            return 1;
        }
        if (opt == 'c')
            o->chain_only = true;
        else if (opt == 'o' && (!strcmp(optarg, "json") || !strcmp(optarg, "table")))
            o->json = !strcmp(optarg, "json");
        else if (opt == 'o')
            return usage("--output takes table or json, not ", optarg);
        else if (opt == 'H' && o->n_heads == HEADS_MAX)
            return usage("too many heads", "");
        else if (opt == 'H' && head_parse(optarg, &o->heads[o->n_heads++]))
            return usage("--head takes SEQ:HASH, a number and 64 hexadecimal digits in lower case, not ", optarg);
        else if (opt == '?')
            return usage("", "");
    }
    if (optind + 1 != argc)
        return usage(optind == argc ? "which directory?" : "one directory at a time", "");
    o->dir = argv[optind];
    return 0;
}

static void remark_files(const struct segments *s, const struct chain *c, struct report *r)
{
    for (size_t i = 0; i < s->n; i++) {
        /* A new segment may still be empty, or hold nothing but an unfinished line. */
        bool next = i + 1 == s->n && s->list[i].first == (c->has_records ? c->last_seq + 1 : 0);

        if (s->list[i].bytes || next)
            continue;
        report_other(r, FINDING_SEGMENT, "%s holds no record", s->list[i].name);
    }
    for (size_t i = 0; i < s->n_stray; i++)
        report_note(r, "%s is no part of a log", s->stray[i]);
    if (c->tail_bytes)
        report_note(r, "%s ends with %" PRIu64 " bytes of an unfinished line from byte %" PRIu64 " on, as a crash leaves them; the service "
                       "cuts them when it starts again", s->list[c->tail_segment].name, c->tail_bytes, c->tail_offset);
    if (!c->has_records)
        report_other(r, FINDING_UNUSABLE, "%s holds no log", s->dir);
}

static int examine(const struct options *o, struct segments *s, struct chain *c, struct check *k, struct err *e)
{
    if (segments_open(s, o->dir, e))
        return -1;
    chain_init(c, s);
    if (chain_read(c, k->report, e) || chain_judge(c, k->report, e))
        return -1;
    remark_files(s, c, k->report);
    k->segments = s;
    k->chain = c;
    k->counts.chain_only = o->chain_only;
    k->counts.records = c->n_records;
    if (!o->chain_only && check_run(k, e))
        return -1;
    heads_check(c, o->heads, o->n_heads, k->report);
    return 0;
}

static void print(const struct options *o, const struct chain *c, struct check *k)
{
    const struct places where = {c, chain_place};
    const uint8_t *hash = c->has_records ? chain_hash(c, c->last_seq) : NULL;
    char text[SHA256_HEX] = "";

    if (hash)
        hex_encode(hash, SHA256_LEN, text);
    k->counts.head_hash = text;
    k->counts.head_seq = c->last_seq;
    report_finish(k->report);
    (o->json ? report_print_json : report_print_text)(k->report, &where, &k->counts, stdout);
    k->counts.head_hash = "";
}

int verify_main(int argc, char **argv)
{
    static struct options o;
    struct segments s = {0};
    struct chain c = {0};
    struct report r = {0};
    static struct check k; /* too large for the stack */
    struct err e = {0};
    int code = parse(argc, argv, &o);

    if (code)
        return code == EXIT_USAGE ? code : EXIT_SOUND;
    k.report = &r;
    arena_serve_json();
    if (examine(&o, &s, &c, &k, &e))
        report_other(&r, FINDING_UNUSABLE, "%s", e.detail);
    print(&o, &c, &k);
    code = report_exit(&r);
    check_free(&k);
    report_free(&r);
    chain_free(&c);
    segments_free(&s);
    return code;
}
