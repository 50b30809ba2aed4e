/* kmsd-reader: the only program that knows SQLite; searches the audit log, and holds no key. */
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "base/log.h"
#include "base/num.h"
#include "base/secret.h"
#include "kmsd/reader/reader.h"

#define EXIT_USAGE 2
#define EXIT_SETTINGS 1 /* never 78: a reader that cannot start keeps no service from starting */
#define LOCK_WAIT_MS 5000
#define PID_MAX INT32_MAX

static const char usage_text[] = "usage: kmsd-reader --settings FILE [--parent PID]   serves frames on descriptor 3; started by kmsd\n"
                                 "       kmsd-reader --settings FILE --rebuild        makes the index of the audit log anew\n";

struct arguments {
    const char *settings;
    uint64_t parent;
    bool rebuild;
};

static int parse(int argc, char **argv, struct arguments *a)
{
    static const struct option options[] = {
        {"settings", required_argument, NULL, 's'}, {"parent", required_argument, NULL, 'p'}, {"rebuild", no_argument, NULL, 'r'}, {0}};
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
        switch (c) {
        case 's': a->settings = optarg; break;
        case 'r': a->rebuild = true; break;
        case 'p':
            if (num_parse_u64(optarg, strlen(optarg), 1, PID_MAX, &a->parent))
                return -1;
            break;
        default: return -1;
        }
    return a->settings && optind == argc ? 0 : -1;
}

static int reader_lock(const struct settings *s, struct err *e)
{
    char dir[PATH_MAX], lock[PATH_MAX];
    char *slash;

    memcpy(dir, s->index, sizeof dir);
    slash = strrchr(dir, '/');
    slash[slash == dir] = '\0';
    if (dir_make(dir, 0750, e) || path_join(lock, sizeof lock, dir, "lock"))
        return e->code ? -1 : err_set(e, ERR_BAD_REQUEST, "the path of the index is too long");
    return lock_file(lock, LOCK_WAIT_MS, e);
}

int main(int argc, char **argv)
{
    static struct settings settings;
    struct arguments a = {0};
    struct err e = {0};
    uint32_t seed;
    bool locked;

    process_harden();
    (void)umask(027);
    log_program("kmsd-reader");
    if (parse(argc, argv, &a))
        return fputs(usage_text, stderr), EXIT_USAGE;
    if (a.parent)
        process_tie_to_parent((int)a.parent);
    (void)sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
    if (settings_load(a.settings, &settings, &e)) {
        fprintf(stderr, "kmsd-reader: %s\n", e.detail);
        return EXIT_SETTINGS;
    }
    log_set(settings.log_format, settings.log_level);
    locked = reader_lock(&settings, &e) >= 0;
    if (a.rebuild && !locked)
        return fprintf(stderr, "kmsd rebuild-index: %s\n", e.detail), EXIT_SETTINGS;
    if (a.rebuild)
        return reader_rebuild(&settings);
    if (sched_getscheduler(0) != SCHED_IDLE) /* signatures come first: kmsd starts this process so that it gets what they leave */
        log_line(LOG_LEVEL_WARNING, "priority", "text=\"this process runs like any other\"");
    sqlite3_randomness(sizeof seed, &seed); /* SQLite opens its random source while it still can */
    return reader_serve(&settings, locked ? NULL : e.detail);
}
