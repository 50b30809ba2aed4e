/* The event loop of the core process: turns descriptors into events, and effects into frames. */
#include "kmsd/core/io/host.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "audit/logscan.h"
#include "base/fsutil.h"
#include "base/log.h"

/* What an epoll entry means: a child's slot, or one of these. */
enum { TAG_CONTROL = HOST_CHILDREN_MAX, TAG_DISK, TAG_TIMER, TAG_SNAPSHOT };
#define TICK_NS 100000000L
#define EVENTS_MAX 32

static int watch(struct host *h, int op, int fd, uint32_t events, uint64_t tag)
{
    struct epoll_event ev = {.events = events, .data.u64 = tag};

    return epoll_ctl(h->epoll, op, fd, &ev);
}

int host_init(struct host *h, int control_fd, struct err *e)
{
    const struct itimerspec every = {{0, TICK_NS}, {0, TICK_NS}};

    h->epoll = epoll_create1(EPOLL_CLOEXEC);
    h->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    stream_init(&h->control, control_fd);
    if (h->epoll < 0 || h->timer_fd < 0 || timerfd_settime(h->timer_fd, 0, &every, NULL) || watch(h, EPOLL_CTL_ADD, h->disk_fd, EPOLLIN, TAG_DISK) ||
        watch(h, EPOLL_CTL_ADD, h->snapshot_fd, EPOLLIN, TAG_SNAPSHOT) || watch(h, EPOLL_CTL_ADD, h->timer_fd, EPOLLIN, TAG_TIMER) ||
        watch(h, EPOLL_CTL_ADD, control_fd, EPOLLIN, TAG_CONTROL))
        return err_errno(e, ERR_INTERNAL, errno, "the event loop");
    return 0;
}

static struct host_child *find(struct host *h, enum child_role role, unsigned index)
{
    for (unsigned n = 0; n < HOST_CHILDREN_MAX; n++)
        if (h->child[n].used && h->child[n].role == role && h->child[n].index == index)
            return &h->child[n];
    return NULL;
}

static void send_frame(void *ctx, enum child_role role, unsigned index, const struct buf *frame)
{
    struct host_child *ch = find(ctx, role, index);

    if (ch)
        buf_put(&ch->stream.out, frame->data, frame->len);
}

/* Every request wants a few bytes: the kernel is asked for those of several at once. None is given out twice, or kept. */
static void take_random(void *ctx, void *out, size_t len)
{
    struct host *h = ctx;

    if (len > sizeof h->random)
        abort();
    if (len > h->random_left) {
        if (random_bytes(h->random, sizeof h->random))
            abort();
        h->random_left = sizeof h->random;
    }
    h->random_left -= len;
    memcpy(out, h->random + h->random_left, len);
    explicit_bzero(h->random + h->random_left, len);
}

static void append(void *ctx, const struct core_group *group)
{
    disk_submit(((struct host *)ctx)->disk, group);
}

static void snapshot(void *ctx, uint64_t seq, uint64_t keep, struct buf *text)
{
    snapshots_submit(((struct host *)ctx)->snapshots, seq, keep, text);
}

static void kill_child(void *ctx, enum child_role role, unsigned index, const char *reason)
{
    struct host *h = ctx;
    struct host_child *ch = find(h, role, index);
    size_t mark;

    if (!ch)
        return;
    mark = frame_begin(&h->control.out, FRAME_KILL, 0);
    frame_put_u64(&h->control.out, TAG_ROLE, role);
    frame_put_u64(&h->control.out, TAG_INDEX, index);
    frame_put_u64(&h->control.out, TAG_PID, ch->pid);
    frame_put_str(&h->control.out, TAG_REASON, reason);
    frame_end(&h->control.out, mark);
}

static void proved(void *ctx, enum child_role role, unsigned index)
{
    struct host *h = ctx;
    struct host_child *ch = find(h, role, index);
    size_t mark;

    if (!ch)
        return;
    mark = frame_begin(&h->control.out, FRAME_PROVED, 0);
    frame_put_u64(&h->control.out, TAG_ROLE, role);
    frame_put_u64(&h->control.out, TAG_INDEX, index);
    frame_put_u64(&h->control.out, TAG_PID, ch->pid);
    frame_end(&h->control.out, mark);
}

static void note(void *ctx, enum core_note level, const char *event, const char *text)
{
    static const enum log_level levels[] = {LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR};

    (void)ctx;
    log_line(levels[level], event, "text=\"%s\"", text);
}

static int record_hash(void *ctx, uint64_t seq, char out[static SHA256_HEX])
{
    struct log_place place;
    struct err e = {0};

    if (logscan_seek(((struct host *)ctx)->audit_dir, seq + 1, &place, &e)) {
        log_line(LOG_LEVEL_ERROR, "log", "text=\"%s\"", e.detail);
        return -1;
    }
    memcpy(out, place.prev, SHA256_HEX);
    return 0;
}

struct core_io host_io(struct host *h)
{
    return (struct core_io){.ctx = h, .send = send_frame, .random = take_random, .append = append, .kill = kill_child, .proved = proved,
                            .snapshot = snapshot, .note = note, .record_hash = record_hash};
}

static void drop_child(struct host *h, struct host_child *ch)
{
    if (!ch->used)
        return;
    (void)epoll_ctl(h->epoll, EPOLL_CTL_DEL, ch->stream.fd, NULL);
    stream_close(&ch->stream);
    ch->used = false;
}

/* A child that speaks out of turn ends; the supervisor starts another. */
static void punish(struct host *h, struct host_child *ch, const char *why)
{
    log_line(LOG_LEVEL_ERROR, "child", "role=%d index=%u pid=%llu text=\"%s\"", (int)ch->role, ch->index, (unsigned long long)ch->pid, why);
    kill_child(h, ch->role, ch->index, "protocol");
    drop_child(h, ch);
}

static void serve_child(struct host *h, struct host_child *ch)
{
    struct frame f;
    struct err e = {0};
    int more, got = stream_fill(&ch->stream);

    while (ch->used && (more = stream_next(&ch->stream, &f, &e)) != 0) {
        if (more < 0) {
            punish(h, ch, e.detail);
            return;
        }
        if (core_on_frame(h->core, ch->role, ch->index, &f, clock_wall_us())) {
            punish(h, ch, "a frame that does not belong here");
            return;
        }
    }
    if (got < 0)
        drop_child(h, ch); /* CHILD_GONE tells the core */
}

static void add_child(struct host *h, const struct frame *f)
{
    enum child_role role = (enum child_role)frame_u64(f, TAG_ROLE);
    unsigned index = (unsigned)frame_u64(f, TAG_INDEX);
    struct host_child *old = find(h, role, index), *ch = NULL;
    int fd = h->control.passed_fd;

    h->control.passed_fd = -1;
    if (old)
        drop_child(h, old);
    for (unsigned n = 0; n < HOST_CHILDREN_MAX && !ch; n++)
        if (!h->child[n].used)
            ch = &h->child[n];
    if (fd < 0 || !ch) {
        log_line(LOG_LEVEL_ERROR, "child", "text=\"a child came without a socket or place\"");
        if (fd >= 0)
            close(fd);
        return;
    }
    *ch = (struct host_child){.used = true, .role = role, .index = index, .pid = frame_u64(f, TAG_PID)};
    stream_init(&ch->stream, fd);
    core_on_child(h->core, role, index, true, "", clock_wall_us());
    (void)watch(h, EPOLL_CTL_ADD, fd, EPOLLIN, (uint64_t)(ch - h->child));
}

static void lose_child(struct host *h, const struct frame *f)
{
    enum child_role role = (enum child_role)frame_u64(f, TAG_ROLE);
    unsigned index = (unsigned)frame_u64(f, TAG_INDEX);
    struct host_child *ch = find(h, role, index);
    char reason[64] = "";

    if (frame_text(f, TAG_REASON, reason, sizeof reason))
        reason[0] = '\0';
    if (ch)
        drop_child(h, ch);
    core_on_child(h->core, role, index, false, reason, clock_wall_us());
}

/* -1: the supervisor is gone, and with it our reason to live. */
static int serve_control(struct host *h, struct err *e)
{
    struct frame f;
    int more, got = stream_fill(&h->control);

    while ((more = stream_next(&h->control, &f, e)) > 0) {
        if (f.type == FRAME_CHILD)
            add_child(h, &f);
        else if (f.type == FRAME_CHILD_GONE)
            lose_child(h, &f);
        else if (f.type == FRAME_STOP) {
            snapshots_hurry(h->snapshots);
            core_on_stop(h->core, "told to stop", clock_wall_us());
        }
    }
    if (more < 0)
        return -1;
    return got < 0 ? err_set(e, ERR_INTERNAL, "the supervisor is gone") : 0;
}

static void flush_all(struct host *h)
{
    for (unsigned n = 0; n < HOST_CHILDREN_MAX; n++) {
        struct host_child *ch = &h->child[n];
        int left = ch->used && ch->stream.out.len ? stream_flush(&ch->stream) : 0;

        if (!ch->used)
            continue;
        if (left < 0 || ch->stream.out.failed) {
            punish(h, ch, "it does not read its answers");
            continue;
        }
        if ((left > 0) != ch->want_out) {
            ch->want_out = left > 0;
            (void)watch(h, EPOLL_CTL_MOD, ch->stream.fd, EPOLLIN | (ch->want_out ? (uint32_t)EPOLLOUT : 0), n);
        }
    }
    if (h->control.out.len && stream_flush(&h->control) < 0)
        log_line(LOG_LEVEL_ERROR, "control", "text=\"the supervisor does not listen\"");
}

/* Tells the supervisor when everything works, and when something that will not pass by itself is missing. */
static void say_ready(struct host *h)
{
    const char *lacks = core_lacks(h->core);
    bool ready = core_ready(h->core);
    size_t mark, n = lacks ? strnlen(lacks, sizeof h->lacks - 1) : 0;

    if ((!ready && !lacks) || (ready == h->ready && strlen(h->lacks) == n && !memcmp(h->lacks, lacks ? lacks : "", n)))
        return;
    h->ready = ready;
    memcpy(h->lacks, lacks ? lacks : "", n);
    h->lacks[n] = '\0';
    mark = frame_begin(&h->control.out, FRAME_READY, 0);
    if (!ready)
        frame_put_str(&h->control.out, TAG_REASON, h->lacks);
    frame_end(&h->control.out, mark);
}

static void end_snapshot(struct host *h)
{
    char sha256[SHA256_HEX];
    struct err e = {0};
    bool failed = snapshots_result(h->snapshots, sha256, &e) != 0;

    if (failed)
        log_line(LOG_LEVEL_WARNING, "snapshot", "text=\"%s\"", e.detail);
    core_on_snapshot(h->core, failed ? NULL : sha256, clock_wall_us());
}

static int dispatch(struct host *h, uint64_t tag, struct err *e)
{
    char problem[KEEPER_TEXT];
    struct core_room room;
    uint64_t ticks;
    bool done;

    if (tag < HOST_CHILDREN_MAX) {
        if (h->child[tag].used)
            serve_child(h, &h->child[tag]);
        return 0;
    }
    if (tag == TAG_CONTROL)
        return serve_control(h, e);
    if (tag == TAG_TIMER) {
        if (read(h->timer_fd, &ticks, sizeof ticks) <= 0)
            return 0;
        disk_anchor_problem(h->disk, problem);
        core_on_anchor(h->core, problem);
        core_on_tick(h->core, clock_wall_us());
        return 0;
    }
    if (tag == TAG_SNAPSHOT) {
        end_snapshot(h);
        return 0;
    }
    if (disk_result(h->disk, &done, &room, e))
        return -1;
    if (done)
        core_on_disk(h->core, clock_wall_us());
    core_on_room(h->core, &room, clock_wall_us());
    return 0;
}

/* Not longer than that, where it is not negative; kernels before 5.11 count in milliseconds. */
static int wait_for_events(struct host *h, struct epoll_event events[static EVENTS_MAX], int64_t us)
{
    const struct timespec most = {us / 1000000, us % 1000000 * 1000};
    int n = us < 0 ? epoll_wait(h->epoll, events, EVENTS_MAX, -1) : epoll_pwait2(h->epoll, events, EVENTS_MAX, &most, NULL);

    return n < 0 && errno == ENOSYS ? epoll_wait(h->epoll, events, EVENTS_MAX, (int)(us / 1000) + 1) : n;
}

int host_run(struct host *h, struct err *e)
{
    struct epoll_event events[EVENTS_MAX];
    int64_t wall, boot;

    while (!core_finished(h->core)) {
        int64_t again = core_turn(h->core, clock_boot_us());

        say_ready(h);
        flush_all(h);
        int n = wait_for_events(h, events, again);

        if (n < 0 && errno != EINTR)
            return err_errno(e, ERR_INTERNAL, errno, "epoll");
        clock_both_us(&wall, &boot); /* first of all: nothing is decided by a clock that was set before that is recorded */
        core_on_clock(h->core, wall, boot);
        for (int i = 0; i < n; i++)
            if (dispatch(h, events[i].data.u64, e))
                return -1;
    }
    flush_all(h);
    return 0;
}
