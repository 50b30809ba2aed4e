/* kmsd-core: reads the log, folds it, and serves until told to stop. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/enc.h"
#include "base/fsutil.h"
#include "base/log.h"
#include "base/secret.h"
#include "kmsd/core/io/host.h"
#include "kmsd/core/io/start.h"
#include "kmsd/sandbox/sandbox.h"
#include "kmsd/settings.h"

enum { EXIT_REFUSES = 78, CONTROL_FD = 3, PROGRAM_MAX = 64 << 20, LOCK_WAIT_MS = 5000 };

#define SNAPSHOT_PIECE (32u << 10) /* some 50 microseconds that a request may wait for */

struct boot {
    struct settings settings;
    struct state *state;
    struct logdir log;
    struct anchor anchor;
    json_t *recovered, *programs;
    uint64_t snapshot;
};

static int hash_file(const char *path, size_t max, char out[static SHA256_HEX], struct err *e)
{
    BUF_AUTO text = BUF_INIT(max);

    if (file_read(path, &text, e))
        return -1;
    sha256_hex(text.data, text.len, out);
    return 0;
}

/* The programs beside this one, by name. */
static int hash_programs(json_t *programs, struct err *e)
{
    static const char *const names[][2] = {{"kmsd-core", "kmsd_core"}, {"kmsd-front", "kmsd_front"}, {"kmsd-token", "kmsd_token"},
                                           {"kmsd-reader", "kmsd_reader"}};
    char self[PATH_MAX], path[PATH_MAX], hash[SHA256_HEX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

    if (n <= 0)
        return err_set(e, ERR_INTERNAL, "/proc/self/exe cannot be read");
    self[n] = '\0';
    *strrchr(self, '/') = '\0';
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (path_join(path, sizeof path, self, names[i][0]) || hash_file(path, PROGRAM_MAX, hash, e) ||
            json_object_set_new(programs, names[i][1], json_string(hash)))
            return -1;
    return 0;
}

static int describe(struct boot *b, struct core_start *s, struct err *e)
{
    uint8_t id[16];
    BUF_AUTO boot_id = BUF_INIT(128);

    if (random_bytes(id, sizeof id))
        return err_set(e, ERR_INTERNAL, "no random bytes");
    hex_encode(id, sizeof id, s->boot);
    if (file_read("/proc/sys/kernel/random/boot_id", &boot_id, e))
        return -1;
    memcpy(s->boot_id, buf_str(&boot_id), strcspn(buf_str(&boot_id), "\n") < sizeof s->boot_id ? strcspn(buf_str(&boot_id), "\n") : 0);
    memcpy(s->version, KMSD_VERSION, sizeof KMSD_VERSION);
    b->programs = json_object();
    s->programs = b->programs;
    s->recovered = b->recovered;
    s->snapshot_records = b->settings.snapshot_records;
    s->snapshot_piece = SNAPSHOT_PIECE;
    s->snapshot_seq = b->snapshot;
    start_measure(&b->settings, b->snapshot, &s->log_bytes, &s->snapshot_time_us);
    s->fronts = 2;
    s->lanes = 1 + settings_lanes(&b->settings);
    return hash_file(b->settings.file, 1 << 20, s->settings_sha256, e) || hash_file(b->settings.keys.module, PROGRAM_MAX, s->module_sha256, e)
               ? -1
               : hash_programs(b->programs, e);
}

/* Without it nobody could tell that the log was put back. */
static int read_anchor(struct boot *b, struct err *e)
{
    enum anchor_file_state state;

    if (anchor_file_need(b->settings.anchor, &b->anchor, &state, e))
        return -1;
    if (state == ANCHOR_FILE_HALF)
        log_line(LOG_LEVEL_WARNING, "anchor", "path=\"%s\" text=\"one of its two slots is damaged; the other one serves\"", b->settings.anchor);
    return 0;
}

static int own_anchor(const struct boot *b, struct err *e)
{
    return strcmp(b->anchor.instance, b->state->instance) ? anchor_refuse(&b->anchor, ANCHOR_FOREIGN, "the anchor", 0, e) : 0;
}

static int open_log(struct boot *b, struct err *e)
{
    char lock[PATH_MAX];

    if (path_join(lock, sizeof lock, b->settings.audit_dir, "lock") || lock_file(lock, LOCK_WAIT_MS, e) < 0)
        return err_context(e, "the log %s", b->settings.audit_dir);
    return read_anchor(b, e) || start_read(&b->settings, &b->anchor, &b->state, &b->log, &b->recovered, &b->snapshot, e) ||
                   own_anchor(b, e)
               ? -1
               : 0;
}

static int serve(struct boot *b, struct err *e)
{
    struct host h = {.audit_dir = b->settings.audit_dir};
    struct core_start start = {0};
    struct core_room room;
    struct keeper keeper;
    int64_t now;
    struct core_io io = host_io(&h);
    int result;

    keeper_init(&keeper, b->settings.anchor, &b->anchor);
    if (describe(b, &start, e) || sandbox_enter(SANDBOX_CORE, &b->settings, start.sandbox, e) || !(h.disk = disk_start(&b->log, &keeper, &h.disk_fd, e)) ||
        !(h.snapshots = snapshots_start(b->settings.snapshots_dir, &h.snapshot_fd, e)) || host_init(&h, CONTROL_FD, e))
        return -1;
    disk_room(h.disk, &room);
    start.room = &room;
    clock_both_us(&now, &start.since_boot_us);
    h.core = core_new(b->state, &io, &start, now, e);
    b->state = NULL;
    if (!h.core)
        return -1;
    result = host_run(&h, e);
    if (!result) {
        snapshots_stop(h.snapshots);
        disk_stop(h.disk);
    }
    if (!result && core_refuses(h.core))
        result = EXIT_REFUSES; /* the core said why */
    core_free(h.core);
    return result;
}

static int arguments(int argc, char **argv, const char **file)
{
    static const struct option options[] = {{"settings", required_argument, NULL, 's'}, {"parent", required_argument, NULL, 'p'}, {0}};
    int opt, parent = 0;

    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (opt == 's')
            *file = optarg;
        else if (opt == 'p')
            parent = (int)strtol(optarg, NULL, 10);
        else
            return -1;
    }
    process_tie_to_parent(parent);
    return *file && optind == argc ? 0 : -1;
}

int main(int argc, char **argv)
{
    struct boot b = {.log.fd = -1};
    struct err e = {0};
    const char *file = NULL;
    int failed;

    process_harden();
    log_program("kmsd-core");
    (void)sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
    (void)sigaction(SIGINT, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
    (void)sigaction(SIGTERM, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
    if (arguments(argc, argv, &file)) {
        fprintf(stderr, "kmsd-core is started by kmsd, not by hand\n");
        return 64;
    }
    failed = settings_load(file, &b.settings, &e);
    if (!failed)
        log_set(b.settings.log_format, b.settings.log_level);
    if (failed || open_log(&b, &e)) {
        log_line(LOG_LEVEL_ERROR, "start", "text=\"%s\"", e.detail);
        return e.code == ERR_INTERNAL ? 1 : EXIT_REFUSES; /* what the machine could not do now it may do later */
    }
    failed = serve(&b, &e);
    if (failed < 0)
        log_line(LOG_LEVEL_ERROR, "core", "text=\"%s\"", e.detail);
    state_free(b.state);
    json_decref(b.recovered);
    json_decref(b.programs);
    return failed < 0 ? 1 : failed;
}
