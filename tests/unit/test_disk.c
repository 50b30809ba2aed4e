/* Tests of kmsd/core/io/disk.c: the real thread on a real directory. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "kmsd/core/io/disk.h"
#include "tests/longlog/records.h"
#include "tests/unit/diskcalls.h"

#define RECORDS 400
#define WAIT_MS 10000   /* for what must come */
#define QUIET_MS 600    /* for what must not: more than two looks for room */
#define BLOCKS 1000000
#define MANY 20000
#define MANY_LOOKS 5000
#define LINE 10
#define STOPS 100
#define FIRST "00000000000000000000.jsonl"
#define INSTANCE "0123456789abcdef0123456789abcdef"

static char dir[64], audit[80], log_path[128], anchor_path[128];
static struct records g;
static struct disk *d;
static int done_fd;
static uint64_t have;               /* records in the log */
static struct buf lines;            /* of the group under way */
static struct core_blob blob[CORE_BLOBS_MAX];

static void path_of(const char *name, char out[static 128])
{
    (void)snprintf(out, 128, "%s/%s", dir, name);
}

static size_t offset(uint64_t n)
{
    return records_offset(&g, n);
}

static void hash_of(uint64_t seq, char out[static SHA256_HEX])
{
    sha256_hex(g.lines.data + offset(seq), offset(seq + 1) - offset(seq) - 1, out);
}

static int count(void *ctx, const json_t *record, struct span line, struct err *e)
{
    (void)ctx;
    (void)line;
    (void)e;
    assert_int_equal(rec_int(record, "seq"), have);
    have++;
    return 0;
}

static void open_log(struct logdir *l, struct anchor *anchor)
{
    const struct log_reader reader = {.each = count, .anchor = anchor};
    enum anchor_file_state state;
    JSON_AUTO *recovered = NULL;
    struct err e = {0};

    have = 0;
    if (anchor_file_need(anchor_path, anchor, &state, &e) || logdir_open(l, audit, &reader, &recovered, &e))
        fail_msg("%s", e.detail);
    assert_null(recovered);
}

static void forget(void)
{
    char was[CALLS_TRACE];

    calls_trace(was);
}

static void start(void)
{
    struct anchor anchor;
    struct keeper keeper;
    struct logdir l;
    struct err e = {0};

    open_log(&l, &anchor);
    keeper_init(&keeper, anchor_path, &anchor);
    forget();
    d = disk_start(&l, &keeper, &done_fd, &e);
    if (!d)
        fail_msg("%s", e.detail);
}

static void stop(void)
{
    disk_stop(d);
    d = NULL;
}

static void no_faults(void)
{
    calls.write_errno = calls.sync_errno = calls.space_errno = calls.reserve_errno = calls.thread_errno = 0;
    calls.half = calls.held = calls.creeping = false;
    calls.waits = AS_ASKED;
    calls.blocks = BLOCKS;
}

static int set_up(void **state)
{
    struct anchor anchor = {.instance = INSTANCE};
    struct err e = {0};
    int fd;

    (void)state;
    no_faults();
    (void)snprintf(dir, sizeof dir, "%s/test_disk.XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
    if (!mkdtemp(dir))
        return -1;
    (void)snprintf(audit, sizeof audit, "%s/audit", dir);
    path_of("anchor", anchor_path);
    path_of("audit/" FIRST, log_path);
    hash_of(0, anchor.hash);
    if (logdir_make(audit, &e) || anchor_file_create(anchor_path, &anchor, &e))
        return -1;
    fd = open(log_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    return fd < 0 || write(fd, g.lines.data, offset(1)) != (ssize_t)offset(1) || close(fd) || sem_init(&calls.reached, 0, 0) ||
           sem_init(&calls.gate, 0, 0);
}

static int gone(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static int tear_down(void **state)
{
    (void)state;
    no_faults();
    sem_post(&calls.gate);
    if (d)
        stop();
    buf_free(&lines);
    for (unsigned n = 0; n < CORE_BLOBS_MAX; n++)
        buf_free(&blob[n].data);
    sem_destroy(&calls.reached);
    sem_destroy(&calls.gate);
    return nftw(dir, gone, 8, FTW_DEPTH | FTW_PHYS);
}

/* The group is written, and its sync is waiting. */
static void wait_until_held(void)
{
    struct timespec until;

    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &until), 0);
    until.tv_sec += WAIT_MS / 1000;
    if (sem_clockwait(&calls.reached, CLOCK_MONOTONIC, &until))
        fail_msg("nothing is synced");
}

static void submit_bytes(uint64_t seq, const void *data, size_t len, unsigned n_blobs)
{
    const struct core_group group = {&lines, seq, blob, n_blobs};

    lines.max = 1u << 20;
    buf_clear(&lines);
    buf_put(&lines, data, len);
    disk_submit(d, &group);
}

/* The next records of the log, and that many blobs. */
static void submit(uint64_t n, unsigned n_blobs)
{
    static unsigned bodies;

    for (unsigned i = 0; i < n_blobs; i++) {
        blob[i].data.max = 64;
        buf_clear(&blob[i].data);
        buf_printf(&blob[i].data, "body %u", ++bodies);
        sha256_hex(blob[i].data.data, blob[i].data.len, blob[i].sha256);
    }
    submit_bytes(have, g.lines.data + offset(have), offset(have + n) - offset(have), n_blobs);
}

static bool told(int ms)
{
    struct pollfd p = {.fd = done_fd, .events = POLLIN};

    return poll(&p, 1, ms) == 1;
}

static int outcome(bool *done, struct core_room *room, struct err *e)
{
    *e = (struct err){0};
    if (!told(WAIT_MS))
        fail_msg("nothing was told");
    return disk_result(d, done, room, e);
}

/* From here on the group belongs to the test again. */
static void acknowledged(uint64_t n)
{
    struct core_room room;
    struct err e;
    bool done;

    if (outcome(&done, &room, &e))
        fail_msg("%s", e.detail);
    assert_true(done);
    have += n;
    memset(lines.data, '#', lines.len);
}

static void refused(const char *why)
{
    struct core_room room;
    struct err e;
    bool done;

    assert_int_equal(outcome(&done, &room, &e), -1);
    if (!strstr(e.detail, why))
        fail_msg("it says: %s", e.detail);
}

static void traced(const char *want)
{
    char was[CALLS_TRACE];

    calls_trace(was);
    assert_string_equal(was, want);
}

static off_t log_size(void)
{
    struct stat st;

    return stat(log_path, &st) ? -1 : st.st_size;
}

/* The first n records to the byte. */
static void log_holds(uint64_t n)
{
    BUF_AUTO b = BUF_INIT(16u << 20);
    struct err e = {0};

    assert_int_equal(file_read(log_path, &b, &e), 0);
    assert_int_equal(b.len, offset(n));
    assert_memory_equal(b.data, g.lines.data, b.len);
}

static void blobs_are_there(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        BUF_AUTO b = BUF_INIT(64);
        struct err e = {0};

        assert_int_equal(logdir_blob_read(audit, blob[i].sha256, &b, &e), 0);
        assert_true(span_eq(buf_span(&b), buf_span(&blob[i].data)));
    }
}

static void anchor_names(uint64_t seq)
{
    enum anchor_file_state state;
    char hash[SHA256_HEX];
    struct anchor a = {0};
    struct err e = {0};

    hash_of(seq, hash);
    assert_int_equal(anchor_file_read(anchor_path, &a, &state, &e), 0);
    assert_int_equal(state, ANCHOR_FILE_WHOLE);
    assert_int_equal(a.seq, seq);
    assert_string_equal(a.hash, hash);
    assert_string_equal(a.instance, INSTANCE);
}

/* Each group is in the log before the next one, its blobs before its lines, and all of it synced before it is told of. */
static void in_order(void **state)
{
    char want[CORE_BLOBS_MAX * 4 + 4];
    uint64_t was;

    (void)state;
    start();
    for (unsigned n = 0; n < 60; n++) {
        unsigned n_blobs = n % (CORE_BLOBS_MAX + 1);

        want[0] = '\0';
        for (unsigned i = 0; i < n_blobs; i++)
            memcpy(want + i * 4, "bsrd", 5);
        memcpy(want + n_blobs * 4, "LS!", 4);
        submit(1 + n % 7, n_blobs);
        acknowledged(1 + n % 7);
        traced(want);
        log_holds(have);
        blobs_are_there(n_blobs);
        assert_false(told(0));
    }
    was = have;
    stop();
    anchor_names(was - 1);
    start();
    assert_int_equal(have, was);
    submit(3, 0);
    acknowledged(3);
    log_holds(was + 3);
}

/* A body that is there already stays as it is. */
static void blob_again(void **state)
{
    char path[256];
    struct stat before, after;

    (void)state;
    start();
    submit(1, 1);
    acknowledged(1);
    traced("bsrdLS!");
    (void)snprintf(path, sizeof path, "%s/blobs/%s", audit, blob[0].sha256);
    assert_int_equal(stat(path, &before), 0);
    submit_bytes(have, g.lines.data + offset(have), offset(have + 1) - offset(have), 1);
    acknowledged(1);
    traced("LS!");
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    log_holds(have);
}

/* Nothing is told, and no anchor names the group, while its sync takes its time; and nobody who asks meanwhile waits for it. */
static void told_when_synced(void **state)
{
    char problem[KEEPER_TEXT];
    struct core_room room;

    (void)state;
    start();
    submit(2, 0);
    acknowledged(2);
    calls.held = true;
    submit(5, 2);
    wait_until_held();
    blobs_are_there(2);
    log_holds(have + 5);
    assert_false(told(QUIET_MS));
    disk_room(d, &room);
    assert_int_equal(room.lines, LOG_RESERVE - (offset(have) - offset(1)));
    disk_anchor_problem(d, problem);
    assert_string_equal(problem, "");
    anchor_names(have - 1);
    calls.held = false;
    sem_post(&calls.gate);
    acknowledged(5);
    log_holds(have);
    stop();
    anchor_names(have - 1);
}

static void rename_to(const char *from, const char *to)
{
    char a[128], b[128];

    path_of(from, a);
    path_of(to, b);
    assert_int_equal(rename(a, b), 0);
}

static void limit_files(rlim_t most)
{
    struct rlimit r;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &r), 0);
    r.rlim_cur = most < r.rlim_max ? most : r.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &r), 0);
}

static void write_fails(void) { calls.write_errno = EIO; }
static void sync_fails(void) { calls.sync_errno = EIO; }
static void space_unknown(void) { calls.space_errno = EIO; }
static void disk_full(void)
{
    calls.half = true;
    calls.write_errno = ENOSPC;
}
static void quota_used(void)
{
    calls.half = true;
    calls.write_errno = EDQUOT;
}
static void file_too_long(void) { limit_files((rlim_t)log_size() + 100); }
static void any_length(void) { limit_files(RLIM_INFINITY); }
static void blobs_gone(void) { rename_to("audit/blobs", "audit/away"); }
static void blobs_back(void) { rename_to("audit/away", "audit/blobs"); }
static void log_gone(void) { rename_to("audit/" FIRST, "audit/away"); }
static void log_back(void) { rename_to("audit/away", "audit/" FIRST); }
static void log_longer(void) { assert_int_equal(truncate(log_path, log_size() + 1), 0); }
static void log_shorter(void) { assert_int_equal(truncate(log_path, log_size() - 1), 0); }

/* Once it has failed it has failed: what went wrong may be over, but the end of the log is no longer what it was. */
static void failures(void **state)
{
    static const struct {
        void (*deed)(void), (*undo)(void);
        const char *says;
        bool written; /* the group is in the file, though nobody was told so */
    } fault[] = {
        {write_fails, no_faults, "writing the log", false},
        {disk_full, no_faults, "No space left", false},
        {quota_used, no_faults, "quota exceeded", false},
        {file_too_long, any_length, "File too large", false},
        {sync_fails, no_faults, "syncing the log", true},
        {space_unknown, no_faults, "the file system of", true},
        {blobs_gone, blobs_back, "/blobs/", false},
        {log_gone, log_back, "was removed", false},
        {log_longer, log_shorter, "changed while running", false},
    };
    struct sigaction ignore = {.sa_handler = SIG_IGN};

    (void)state;
    assert_int_equal(sigaction(SIGXFSZ, &ignore, NULL), 0);
    for (unsigned n = 0; n < sizeof fault / sizeof *fault; n++) {
        uint64_t good;

        calls.waits = PATIENT; /* what fails is the group, not a look for room before it */
        start();
        submit(2, 1);
        acknowledged(2);
        submit(1, 0);
        acknowledged(1);
        good = have;
        fault[n].deed();
        submit(4, 1);
        refused(fault[n].says);
        fault[n].undo();
        log_holds(fault[n].written ? good + 4 : good);
        forget();
        submit(4, 1);
        refused(fault[n].says);
        traced("!");
        submit(1, 0);
        refused(fault[n].says);
        traced("!");
        log_holds(fault[n].written ? good + 4 : good);
        stop();
        anchor_names(good - 1);
    }
}

static void room_is(uint64_t want_lines, uint64_t want_blocks)
{
    struct core_room room;

    disk_room(d, &room);
    assert_int_equal(room.lines, want_lines);
    assert_int_equal(room.blobs, want_blocks * CALLS_BLOCK);
}

/* Told without a group. */
static void room_told(uint64_t want_lines, uint64_t want_blocks)
{
    struct core_room room;
    struct err e;
    bool done;

    if (outcome(&done, &room, &e))
        fail_msg("%s", e.detail);
    assert_false(done);
    assert_int_equal(room.lines, want_lines);
    assert_int_equal(room.blobs, want_blocks * CALLS_BLOCK);
    room_is(want_lines, want_blocks);
}

/* What others take and give back is told of by itself, once; what the log takes, with its group. */
static void room(void **state)
{
    struct core_room behind;
    size_t used;
    struct err e;
    bool done;

    (void)state;
    calls.reserve_errno = ENOSPC;
    start();
    room_is(0, BLOCKS);
    assert_false(told(QUIET_MS));
    calls.reserve_errno = 0;
    room_told(LOG_RESERVE, BLOCKS);
    calls.blocks = 77;
    room_told(LOG_RESERVE, 77);
    assert_false(told(QUIET_MS));
    used = offset(have + 9) - offset(have);
    submit(9, 0);
    assert_int_equal(outcome(&done, &behind, &e), 0);
    assert_true(done && behind.lines == LOG_RESERVE - used && behind.blobs == 77 * CALLS_BLOCK);
    room_is(LOG_RESERVE - used, 77);
    have += 9;
    traced("!!LS!");
    stop();
    calls.reserve_errno = EOPNOTSUPP; /* a file system that does not reserve promises half of what it has */
    start();
    room_is(77 * CALLS_BLOCK / 2, 77);
}

/* Who is slow to ask hears of both at once: the end of the group, and the room as it is by now. */
static void room_behind_an_end(void **state)
{
    struct core_room now = {0};
    struct err e;
    bool done;

    (void)state;
    start();
    submit(1, 0);
    assert_true(told(WAIT_MS));
    calls.blocks = 77;
    for (int ms = 0; ms < WAIT_MS && now.blobs != 77 * CALLS_BLOCK; ms += 10) {
        disk_room(d, &now);
        assert_int_equal(poll(NULL, 0, 10), 0);
    }
    assert_int_equal(outcome(&done, &now, &e), 0);
    assert_true(done && now.blobs == 77 * CALLS_BLOCK);
    have++;
    calls.blocks = 78;
    room_told(LOG_RESERVE - (offset(have) - offset(1)), 78); /* and of that end once */
}

/* A disk that fails with nothing under way has failed. */
static void fails_idle(void **state)
{
    struct core_room behind;
    struct err e;
    bool done = true;

    (void)state;
    start();
    submit(1, 0);
    acknowledged(1);
    calls.space_errno = EIO;
    assert_int_equal(outcome(&done, &behind, &e), -1);
    assert_false(done);
    assert_non_null(strstr(e.detail, "the file system of"));
    no_faults();
    assert_false(told(QUIET_MS));
    forget();
    submit(1, 1);
    refused("the file system of");
    traced("!");
    log_holds(have);
    stop();
    anchor_names(have - 1);
}

/* Until the anchor's problem is one, or is none. */
static void wait_for_problem(bool wanted, char out[static KEEPER_TEXT])
{
    for (int ms = 0; ms < WAIT_MS; ms += 10) {
        disk_anchor_problem(d, out);
        if (!out[0] == !wanted)
            return;
        assert_int_equal(poll(NULL, 0, 10), 0);
    }
    fail_msg("the anchor's problem: \"%s\"", out);
}

/* An anchor that cannot be written holds up no group, and is written as soon as it can be. */
static void anchor_problem(void **state)
{
    char problem[KEEPER_TEXT];

    (void)state;
    start();
    assert_int_equal(unlink(anchor_path), 0);
    assert_int_equal(mkdir(anchor_path, 0700), 0);
    submit(1, 0);
    acknowledged(1);
    wait_for_problem(true, problem);
    assert_non_null(strstr(problem, "anchor"));
    submit(1, 0);
    acknowledged(1);
    assert_int_equal(rmdir(anchor_path), 0);
    wait_for_problem(false, problem); /* with no group to follow */
    anchor_names(have - 1);
}

static unsigned descriptors(void)
{
    DIR *all = opendir("/proc/self/fd");
    unsigned n = 0;

    assert_non_null(all);
    while (readdir(all))
        n++;
    closedir(all);
    return n;
}

static void *stop_it(void *ctx)
{
    disk_stop(d);
    return ctx;
}

/* The end waits for the group under way, which is durable then, and named by the anchor. */
static void stop_under_way(void **state)
{
    unsigned before = descriptors();
    pthread_t t;

    (void)state;
    start();
    calls.held = true;
    submit(6, 1);
    wait_until_held();
    assert_int_equal(pthread_create(&t, NULL, stop_it, NULL), 0);
    assert_int_equal(poll(NULL, 0, 100), 0);
    assert_int_equal(pthread_tryjoin_np(t, NULL), EBUSY);
    anchor_names(0);
    calls.held = false;
    sem_post(&calls.gate);
    assert_int_equal(pthread_join(t, NULL), 0);
    d = NULL;
    traced("bsrdLS!");
    log_holds(have + 6);
    blobs_are_there(1);
    anchor_names(have + 5);
    assert_int_equal(descriptors(), before);
}

/* Without a group, and with one of which nobody knows how far it came: all of it is there or nothing, and the anchor says which. */
static void stop_at_once(void **state)
{
    unsigned before = descriptors();

    (void)state;
    for (unsigned n = 0; n < STOPS; n++) {
        uint64_t was, now;

        start();
        was = now = have;
        if (n) {
            submit(3, 0);
            for (volatile unsigned i = 0; i < n * 2000; i++)
                ;
        }
        stop();
        if (n && log_size() != (off_t)offset(was))
            now += 3;
        log_holds(now);
        anchor_names(now - 1);
    }
    assert_int_equal(descriptors(), before);
}

/* The descriptors do not show that somebody took the directory away; the first group does. */
static void directory_gone(void **state)
{
    struct anchor anchor;
    struct keeper keeper;
    struct logdir l;
    struct err e = {0};

    (void)state;
    open_log(&l, &anchor);
    keeper_init(&keeper, anchor_path, &anchor);
    assert_int_equal(nftw(audit, gone, 8, FTW_DEPTH | FTW_PHYS), 0);
    d = disk_start(&l, &keeper, &done_fd, &e);
    assert_non_null(d);
    submit(1, 0);
    refused("was removed");
    submit(1, 1);
    refused("was removed");
    stop();
    anchor_names(0);
}

/* No thread, the reason, and the log is still the caller's. */
static void no_start(const struct logdir *l, const struct keeper *keeper, const char *why)
{
    struct err e = {0};
    int fd = -2;

    assert_null(disk_start(l, keeper, &fd, &e));
    if (!strstr(e.detail, why))
        fail_msg("it says: %s", e.detail);
    assert_int_equal(fd, -2);
    assert_true(fcntl(l->fd, F_GETFD) >= 0 && fcntl(l->dir_fd, F_GETFD) >= 0);
}

static void starts_that_fail(void **state)
{
    struct rlimit all, none;
    struct anchor anchor;
    struct keeper keeper;
    struct logdir l;
    unsigned before;

    (void)state;
    open_log(&l, &anchor);
    keeper_init(&keeper, anchor_path, &anchor);
    before = descriptors();
    calls.space_errno = EIO;
    no_start(&l, &keeper, "the file system of");
    calls.space_errno = 0;
    calls.reserve_errno = EIO;
    no_start(&l, &keeper, "reserving space");
    calls.reserve_errno = 0;
    calls.thread_errno = EAGAIN;
    no_start(&l, &keeper, "the disk thread does not start");
    calls.thread_errno = 0;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &all), 0);
    none = all;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    no_start(&l, &keeper, "the disk thread does not start");
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &all), 0);
    assert_int_equal(descriptors(), before);
    logdir_close(&l);
    log_holds(have);
}

/* One thread hands groups over, each as soon as the one before it was told of; the other one waits for them. */
struct many {
    unsigned total;
    atomic_uint submitted;
    sem_t next;
    atomic_bool over;
};

static void *submit_many(void *ctx)
{
    struct many *m = ctx;

    for (unsigned n = 0; n < m->total; n++) {
        char line[16];

        while (sem_wait(&m->next))
            ;
        if (m->over)
            break;
        for (volatile unsigned i = 0; i < n % 256 * 16; i++) /* it comes before, into and after the thread's lying down */
            ;
        (void)snprintf(line, sizeof line, "%09u\n", n);
        m->submitted = n + 1;
        submit_bytes(1 + n, line, LINE, 0);
    }
    return NULL;
}

static const char *answered(struct many *m, unsigned *n)
{
    struct core_room behind;
    struct err e = {0};
    bool done;

    if (!told(WAIT_MS))
        return "a wake-up was lost";
    if (disk_result(d, &done, &behind, &e))
        return "it failed";
    if (!done)
        return NULL;
    if (m->submitted != ++*n)
        return "a group was told of twice";
    if (log_size() != (off_t)(offset(1) + (size_t)*n * LINE))
        return "a group was told of that is not there";
    return sem_post(&m->next) ? "sem_post" : NULL;
}

static void run_many(unsigned total)
{
    BUF_AUTO b = BUF_INIT(1u << 20);
    struct many m = {.total = total};
    const char *wrong = NULL;
    struct err e = {0};
    unsigned n = 0;
    pthread_t t;

    start();
    assert_int_equal(sem_init(&m.next, 0, 1), 0);
    assert_int_equal(pthread_create(&t, NULL, submit_many, &m), 0);
    while (!wrong && n < total)
        wrong = answered(&m, &n);
    m.over = true;
    sem_post(&m.next);
    assert_int_equal(pthread_join(t, NULL), 0);
    sem_destroy(&m.next);
    if (wrong)
        fail_msg("%s, after %u groups", wrong, n);
    stop();
    assert_int_equal(file_read(log_path, &b, &e), 0);
    assert_int_equal(b.len, offset(1) + (size_t)total * LINE);
    for (n = 0; n < total; n++)
        assert_int_equal(strtoul((const char *)b.data + offset(1) + (size_t)n * LINE, NULL, 10), n);
}

/* No group is left lying: where a wake-up is lost nothing else wakes the thread. */
static void many_groups(void **state)
{
    (void)state;
    calls.waits = PATIENT;
    run_many(MANY);
}

/* What is told of room between the groups neither hides the end of one nor looks like it. */
static void many_looks(void **state)
{
    (void)state;
    calls.waits = HASTY;
    calls.creeping = true;
    run_many(MANY_LOOKS);
}

static int make(void **state)
{
    (void)state;
    json_object_seed(1);
    records_begin(&g, 5);
    records_add(&g, RECORDS - 1);
    return 0;
}

static int clean(void **state)
{
    (void)state;
    records_end(&g);
    return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(in_order),       TEST(blob_again),     TEST(told_when_synced), TEST(failures),       TEST(room),
        TEST(fails_idle),     TEST(anchor_problem), TEST(stop_under_way),   TEST(stop_at_once),   TEST(room_behind_an_end),
        TEST(directory_gone), TEST(many_groups),    TEST(many_looks),       TEST(starts_that_fail),
    };

    return cmocka_run_group_tests(tests, make, clean);
}
