/* `kmsd anchor`: shows what the anchor says about the log, and, told to, goes on with a log that does not hold it. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/enc.h"
#include "base/fsutil.h"
#include "base/num.h"
#include "kmsd/supervisor/anchorlook.h"
#include "kmsd/supervisor/commands.h"
#include "kmsd/supervisor/offline.h"
#include "kmsd/supervisor/offlinelog.h"

static const char USAGE[] =
    "usage: kmsd anchor (--settings FILE | --dir DIR) [--accept --reason TEXT [--token SEQ:HASH] [--yes]]\n"
    "\n"
    "Shows which record the anchor names and whether the log holds it. Exit code 1: it does not.\n"
    "\n"
    "  --accept           go on with the log as it is: appends a record anchor.reset and writes a new anchor. The service must not run\n"
    "  --reason TEXT      why, in words; it stands in the log\n"
    "  --token SEQ:HASH   also overrule this anchor on the token, as the refusal of the service named it\n"
    "  --yes              do not ask\n"
    "\n"
    "What the log lost stays lost: releases that were signed after its end are not in it, and their versions can be signed again.\n";

struct accept {
    struct settings settings;
    const char *reason;
    bool accept, yes, token;
    uint64_t token_seq;
    char token_hash[SHA256_HEX];
    struct anchor_look look;
};

static int fail(const struct err *e)
{
    fprintf(stderr, "kmsd anchor: %s\n", e->detail);
    return 1;
}

static void show(const struct anchor_look *l)
{
    if (l->file <= ANCHOR_FILE_HALF)
        printf("anchor   record %llu:%s%s\n", (unsigned long long)l->anchor.seq, l->anchor.hash, l->file == ANCHOR_FILE_HALF ? " (one slot is damaged)" : "");
    else
        printf("anchor   %s\n", anchor_look_word(l));
    printf("log      record %llu:%s is its last%s\n", (unsigned long long)(l->records ? l->records - 1 : 0), l->head,
           l->torn ? ", behind it stand bytes that are no record" : "");
    printf("verdict  %s\n", anchor_look_word(l));
}

static int parse_head(const char *text, struct accept *a)
{
    size_t n = strcspn(text, ":");
    uint8_t bytes[SHA256_LEN];

    if (!text[n] || num_parse_u64(text, n, 0, ANCHOR_COUNTER_MAX, &a->token_seq) || hex_decode(text + n + 1, strlen(text + n + 1), bytes, sizeof bytes))
        return -1;
    memcpy(a->token_hash, text + n + 1, SHA256_HEX);
    a->token = true;
    return 0;
}

static bool confirmed(const struct accept *a)
{
    char word[16] = "";

    if (a->yes)
        return true;
    if (!isatty(STDIN_FILENO)) {
        fputs("kmsd anchor: nobody to ask; say --yes\n", stderr);
        return false;
    }
    printf("Go on with this log, and record that it was so decided? Type accept: ");
    fflush(stdout);
    if (!fgets(word, sizeof word, stdin) || strcmp(word, "accept\n")) {
        fputs("kmsd anchor: nothing was changed\n", stderr);
        return false;
    }
    return true;
}

static json_t *reset_record(const struct accept *a, uint64_t counter)
{
    const struct anchor *old = &a->look.anchor;
    json_t *record = record_new("anchor.reset", "ok", &actor_system, "");
    json_t *detail = json_pack("{s:I, s:s}", "counter", (json_int_t)counter, "how", anchor_look_word(&a->look));

    if (a->look.file <= ANCHOR_FILE_HALF)
        json_object_set_new(detail, "old", json_pack("{s:I, s:s, s:I}", "counter", (json_int_t)old->counter, "hash", old->hash, "seq", (json_int_t)old->seq));
    if (a->token)
        json_object_set_new(detail, "token", record_head(a->token_seq, a->token_hash));
    json_object_set_new(record, "detail", detail);
    record_text(record, "reason", a->reason);
    return record;
}

static int create(const struct offline_log *log, const struct anchor *next, struct err *e)
{
    int failed;

    if (account_enter(&log->owner, e))
        return -1;
    failed = anchor_file_create(log->settings->anchor, next, e);
    account_leave(&log->owner);
    return failed;
}

/* First the record, then the anchor: after a crash in between the service still refuses, and this command is run again. */
static int rewrite(const struct accept *a, struct offline_log *log, struct err *e)
{
    struct anchor next = {.counter = anchor_next_counter(a->look.anchor.counter, clock_wall_us())};

    if (strcmp(log->state->head, a->look.head))
        return err_set(e, ERR_BUSY, "the log changed while it was read; run the command again");
    if (offline_log_append(log, reset_record(a, next.counter), &next.seq, next.hash, e))
        return -1;
    memcpy(next.instance, log->state->instance, sizeof next.instance);
    if (create(log, &next, e))
        return -1;
    printf("accepted; record %llu:%s says so, and the anchor names it\n", (unsigned long long)next.seq, next.hash);
    return 0;
}

static int go_on(const struct accept *a, struct err *e)
{
    struct offline_log log = OFFLINE_LOG_CLOSED;
    int failed = offline_log_open_anyway(&log, &a->settings, e) || rewrite(a, &log, e);

    offline_log_close(&log);
    return failed;
}

static int run(struct accept *a)
{
    struct err e = {0};

    if (a->accept && (offline_reason(a->reason, &e) || offline_owner(&a->settings, &e) || offline_lock(&a->settings, &e)))
        return fail(&e);
    if (anchor_look(&a->settings, &a->look, &e))
        return fail(&e);
    show(&a->look);
    if (!a->accept)
        return anchor_look_sound(&a->look) ? 0 : 1;
    if (anchor_look_sound(&a->look) && !a->token) {
        err_set(&e, ERR_ALREADY_EXISTS, "the log holds the anchor: there is nothing to accept");
        return fail(&e);
    }
    if (!confirmed(a))
        return 1;
    return go_on(a, &e) ? fail(&e) : 0;
}

int command_anchor(int argc, char **argv)
{
    static const struct option options[] = {{"settings", required_argument, NULL, 's'}, {"dir", required_argument, NULL, 'd'}, {"accept", no_argument, NULL, 'a'},
                                            {"reason", required_argument, NULL, 'r'},   {"token", required_argument, NULL, 't'}, {"yes", no_argument, NULL, 'y'},
                                            {"help", no_argument, NULL, 'h'},           {0}};
    struct accept a = {0};
    char file[PATH_MAX] = "";
    struct err e = {0};
    const char *why;
    bool bad = false;
    int opt;

    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (opt == 's' || opt == 'd')
            bad |= path_join(file, sizeof file, opt == 'd' ? optarg : "", opt == 'd' ? "kmsd.yaml" : optarg) != 0;
        else if (opt == 'a')
            a.accept = true;
        else if (opt == 'r')
            a.reason = optarg;
        else if (opt == 't')
            bad |= parse_head(optarg, &a) != 0;
        else if (opt == 'y')
            a.yes = true;
        else
            return opt == 'h' ? fputs(USAGE, stdout), 0 : offline_usage(argv, USAGE, NULL);
    }
    why = bad ? "the path is too long, or --token is not SEQ:HASH" : optind != argc ? "there is an argument that is no option" :
          !file[0] ? "which instance? --dir or --settings is missing" : a.accept && !a.reason ? "--accept needs --reason TEXT" :
          !a.accept && (a.reason || a.token || a.yes) ? "--reason, --token and --yes go with --accept" : NULL;
    if (why)
        return offline_usage(argv, USAGE, why);
    return settings_load(file, &a.settings, &e) ? fail(&e) : run(&a);
}
