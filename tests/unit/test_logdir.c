/* Tests of audit/logdir.c: what is a torn tail and what is damage, which segments belong to a log, and when a file is not appended to. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit/logdir.h"
#include "tests/longlog/records.h"

#define RECORDS 12
#define GROUP 3 /* records of the last group */

static char dir[64];
static struct records g;
static uint64_t seen;

static void path_of(const char *name, char out[static 160])
{
    (void)snprintf(out, 160, "%s/%s", dir, name);
}

static void file_name(uint64_t first, char out[static 32])
{
    (void)snprintf(out, 32, "%020llu.jsonl", (unsigned long long)first);
}

/* Without the syncs of the service: nothing here outlives the test. */
static void put(uint64_t first, struct span text)
{
    char name[32], path[160];
    int fd;

    file_name(first, name);
    path_of(name, path);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    assert_true(fd >= 0 && write(fd, text.data, text.len) == (ssize_t)text.len && !close(fd));
}

static off_t size_of(uint64_t first)
{
    char name[32], path[160];
    struct stat st;

    file_name(first, name);
    path_of(name, path);
    return stat(path, &st) ? -1 : st.st_size;
}

static size_t offset(uint64_t n)
{
    return records_offset(&g, n);
}

static struct span records_of(uint64_t from, uint64_t upto)
{
    return span_of(g.lines.data + offset(from), offset(upto) - offset(from));
}

static void wipe(void)
{
    DIR *d = opendir(dir);
    const struct dirent *entry;

    assert_non_null(d);
    while ((entry = readdir(d)))
        if (entry->d_name[0] != '.' && unlinkat(dirfd(d), entry->d_name, 0))
            assert_int_equal(unlinkat(dirfd(d), entry->d_name, AT_REMOVEDIR), 0);
    closedir(d);
}

static int make(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof dir, "%s/test_logdir.XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
    if (!mkdtemp(dir))
        return -1;
    json_object_seed(1);
    records_begin(&g, 5);
    while (g.n_records < RECORDS + GROUP)
        records_add(&g, 1);
    return 0;
}

static int clean(void **state)
{
    (void)state;
    wipe();
    records_end(&g);
    return rmdir(dir);
}

static int count(void *ctx, const json_t *record, struct span line, struct err *e)
{
    (void)ctx;
    (void)line;
    (void)e;
    assert_int_equal(rec_int(record, "seq"), seen);
    seen++;
    return 0;
}

/* -1 with the reason in e, else 0; *torn: bytes set aside, or found to be. */
static int look(const struct anchor *anchor, bool look_only, size_t *torn, struct err *e)
{
    const struct log_reader reader = {.each = count, .anchor = anchor, .look_only = look_only};
    JSON_AUTO *recovered = NULL;
    struct logdir l;

    seen = 0;
    *torn = 0;
    *e = (struct err){0};
    if (logdir_open(&l, dir, &reader, &recovered, e)) {
        assert_true(l.fd < 0 && l.dir_fd < 0 && !recovered && e->detail[0]);
        return -1;
    }
    logdir_close(&l);
    *torn = rec_int(recovered, "bytes");
    return 0;
}

static void refused(const char *why)
{
    struct err e;
    size_t torn;

    if (!look(NULL, false, &torn, &e))
        fail_msg("taken, where it should say: %s", why);
    if (!strstr(e.detail, why))
        fail_msg("it says: %s", e.detail);
}

/* Opens once and demands so many records and bytes set aside. */
static void taken(uint64_t records, size_t bytes)
{
    struct err e;
    size_t torn;

    if (look(NULL, false, &torn, &e))
        fail_msg("%s", e.detail);
    assert_int_equal(seen, records);
    assert_int_equal(torn, bytes);
}

static void whole(void **state)
{
    (void)state;
    wipe();
    put(0, records_of(0, RECORDS));
    taken(RECORDS, 0);
    assert_int_equal(size_of(0), offset(RECORDS));
}

/* The file kept beside the log holds what was cut. */
static void torn_file_holds(uint64_t seq, struct span tail)
{
    char hash[SHA256_HEX], name[96], path[160];
    uint8_t data[8192];
    ssize_t n;
    int fd;

    sha256_hex(tail.data, tail.len, hash);
    (void)snprintf(name, sizeof name, "torn-%llu-%s", (unsigned long long)seq, hash);
    path_of(name, path);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    n = read(fd, data, sizeof data);
    close(fd);
    assert_true(n >= 0 && span_eq(span_of(data, (size_t)n), tail));
}

/* A crash may leave any part of the last group: whole records stay, the rest is set aside, and the next start finds nothing more to do. */
static void cut_anywhere(void **state)
{
    uint64_t n = RECORDS - GROUP;

    (void)state;
    wipe();
    for (size_t cut = offset(RECORDS - GROUP); cut <= offset(RECORDS); cut++) {
        struct span tail;
        struct err e;
        size_t torn;

        if (cut >= offset(n + 1))
            n++;
        tail = span_of(g.lines.data + offset(n), cut - offset(n));
        put(0, span_of(g.lines.data, cut));
        assert_int_equal(look(NULL, true, &torn, &e), 0);
        assert_true(seen == n && torn == tail.len);
        assert_int_equal(size_of(0), cut);
        if (cut % 97 && tail.len > 1 && cut + 1 != offset(n + 1))
            continue;
        taken(n, tail.len);
        assert_int_equal(size_of(0), offset(n));
        if (tail.len)
            torn_file_holds(n, tail);
        taken(n, 0);
    }
}

/* A whole line that lacks nothing but its LF was never acknowledged as a line. */
static void no_line_end(void **state)
{
    size_t last = offset(RECORDS) - offset(RECORDS - 1);

    (void)state;
    wipe();
    put(0, span_of(g.lines.data, offset(RECORDS) - 1));
    taken(RECORDS - 1, last - 1);
    assert_int_equal(size_of(0), offset(RECORDS - 1));
}

static struct buf copy_of(uint64_t records)
{
    struct buf b = BUF_INIT(4u << 20);

    buf_put(&b, g.lines.data, offset(records));
    assert_false(b.failed);
    return b;
}

/* Readable records behind the damage: somebody edited the file, and nothing of it is cut. */
static void records_behind(void **state)
{
    (void)state;
    for (size_t back = 2; back <= RECORDS; back++) {
        BUF_AUTO b = copy_of(RECORDS);

        wipe();
        b.data[offset(RECORDS - back) + 9] ^= 1;
        put(0, buf_span(&b));
        refused("no torn tail");
        assert_int_equal(seen, RECORDS - back);
        assert_int_equal(size_of(0), offset(RECORDS));
    }
}

/* A record left out shows in the one behind it. */
static void record_removed(void **state)
{
    BUF_AUTO b = copy_of(RECORDS - 3);

    (void)state;
    wipe();
    buf_put(&b, g.lines.data + offset(RECORDS - 2), offset(RECORDS) - offset(RECORDS - 2));
    put(0, buf_span(&b));
    refused("does not follow the record before it");
}

/* A number below 0 is none, not even that of the first record. */
static void number_below_zero(void **state)
{
    BUF_AUTO b = BUF_INIT(256);

    (void)state;
    buf_puts(&b, "{\"prev\":\"");
    for (int n = 1; n < SHA256_HEX; n++)
        buf_putc(&b, '0');
    buf_puts(&b, "\",\"seq\":-1}\n");
    wipe();
    put(0, buf_span(&b));
    taken(0, b.len);
}

/* Pages that never reached the disk read as NUL, also in front of later ones that did. */
static void nul_pages(void **state)
{
    size_t from = offset(RECORDS - GROUP), bytes = offset(RECORDS) - from;
    BUF_AUTO b = copy_of(RECORDS);

    (void)state;
    wipe();
    memset(b.data + from, 0, offset(RECORDS - 1) - from);
    put(0, buf_span(&b));
    taken(RECORDS - GROUP, bytes);
    assert_int_equal(size_of(0), from);
    memset(b.data + from, 0, bytes);
    put(0, buf_span(&b));
    taken(RECORDS - GROUP, bytes);
}

static void tail_too_long(void **state)
{
    (void)state;
    for (int fill = 'x'; fill >= 0; fill -= 'x')
        for (size_t more = 0; more < 2; more++) {
            BUF_AUTO b = copy_of(RECORDS);
            BUF_AUTO tail = BUF_INIT(TORN_BYTES_MAX + 1);

            wipe();
            while (tail.len < TORN_BYTES_MAX + more)
                buf_putc(&tail, (uint8_t)fill);
            buf_put(&b, tail.data, tail.len);
            put(0, buf_span(&b));
            if (more)
                refused("no torn tail");
            else
                taken(RECORDS, TORN_BYTES_MAX);
            assert_int_equal(size_of(0), offset(RECORDS) + (more ? tail.len : 0));
        }
}

static void three_segments(void)
{
    wipe();
    put(0, records_of(0, 4));
    put(4, records_of(4, 8));
    put(8, records_of(8, RECORDS));
}

/* Only the last segment can have been written when the crash came. */
static void torn_in_the_middle(void **state)
{
    (void)state;
    three_segments();
    taken(RECORDS, 0);
    put(4, span_of(g.lines.data + offset(4), offset(8) - offset(4) - 10));
    refused("no torn tail");
    put(4, records_of(4, 8));
    put(8, span_of(g.lines.data + offset(8), offset(RECORDS) - offset(8) - 10));
    taken(RECORDS - 1, offset(RECORDS) - offset(RECORDS - 1) - 10);
}

static void move(const char *from, const char *to)
{
    char a[160], b[160];

    path_of(from, a);
    path_of(to, b);
    assert_int_equal(rename(a, b), 0);
}

static void segments_gone(void **state)
{
    static const uint64_t first[] = {0, 4, 8};
    char name[32], path[160];

    (void)state;
    for (unsigned n = 0; n < 2; n++) { /* the last one's absence only an anchor shows */
        three_segments();
        file_name(first[n], name);
        path_of(name, path);
        assert_int_equal(unlink(path), 0);
        refused("missing or renamed");
    }
    for (unsigned n = 0; n < 3; n++) {
        char other[32];

        three_segments();
        file_name(first[n], name);
        file_name(first[n] + 1, other);
        move(name, other);
        refused("missing or renamed");
    }
    wipe();
    refused("holds no log");
    assert_int_equal(rmdir(dir), 0);
    refused("the log directory");
    assert_int_equal(mkdir(dir, 0750), 0);
}

/* A crash between the making of a segment and its first group leaves it empty at the end, nowhere else. */
static void segments_empty(void **state)
{
    (void)state;
    three_segments();
    put(8, span_of("", 0));
    taken(8, 0);
    put(4, span_of("", 0));
    refused("missing or renamed");
    wipe();
    put(0, span_of("", 0));
    taken(0, 0);
}

static void strange_segments(void **state)
{
    char name[32], path[160];

    (void)state;
    three_segments();
    file_name(8, name);
    move(name, "elsewhere");
    path_of(name, path);
    assert_int_equal(symlink("elsewhere", path), 0);
    refused(name);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0750), 0);
    refused(name);
    three_segments();
    put(8, records_of(4, 8)); /* a copy under the name of the next */
    refused("does not follow");
}

static void anchored(uint64_t seq, struct anchor *a)
{
    size_t at = offset(seq);

    *a = (struct anchor){.seq = seq};
    sha256_hex(g.lines.data + at, offset(seq + 1) - at - 1, a->hash);
}

/* The anchor names a record that was on disk: a tail that holds it is never cut, a log without it is never taken. */
static void anchor(void **state)
{
    const size_t torn_at = offset(RECORDS - 1) + 20;
    struct anchor a;
    struct err e;
    size_t torn;

    (void)state;
    for (uint64_t seq = 0; seq <= RECORDS; seq++) {
        int want = seq < RECORDS ? 0 : -1;

        wipe();
        put(0, records_of(0, RECORDS));
        anchored(seq, &a);
        assert_int_equal(look(&a, false, &torn, &e), want);
        put(0, span_of(g.lines.data, torn_at));
        assert_int_equal(look(&a, false, &torn, &e), seq < RECORDS - 1 ? 0 : -1);
        if (seq >= RECORDS - 1)
            assert_non_null(strstr(e.detail, "is not cut"));
        assert_int_equal(size_of(0), seq < RECORDS - 1 ? offset(RECORDS - 1) : torn_at);
        put(0, records_of(0, RECORDS));
        a.hash[5] = a.hash[5] == '0' ? '1' : '0';
        assert_int_equal(look(&a, false, &torn, &e), -1);
    }
}

static struct logdir l;

static void open_log(uint64_t records)
{
    const struct log_reader reader = {.each = count};
    JSON_AUTO *recovered = NULL;
    struct err e = {0};

    wipe();
    put(0, records_of(0, records));
    seen = 0;
    if (logdir_open(&l, dir, &reader, &recovered, &e))
        fail_msg("%s", e.detail);
}

static int append(uint64_t from, uint64_t upto)
{
    struct err e = {0};
    int failed = logdir_append(&l, from, records_of(from, upto), &e);

    assert_true(!failed == !e.detail[0]);
    return failed;
}

static void appends(void **state)
{
    (void)state;
    open_log(4);
    assert_int_equal(append(4, 6), 0);
    assert_int_equal(append(6, 7), 0);
    logdir_close(&l);
    taken(7, 0);
}

/* As if the open segment had grown to that size: its length only, for what the bound decides. */
static void resize(off_t size)
{
    assert_int_equal(ftruncate(l.fd, size), 0);
    l.size = size;
}

/* A group after the bound begins a segment that is named after its first record; a file that has that name already is not written to. */
static void next_segment(void **state)
{
    (void)state;
    open_log(4);
    resize(SEGMENT_BYTES_MAX - 1);
    assert_int_equal(append(4, 5), 0);
    assert_int_equal(size_of(5), -1);
    assert_int_equal(append(5, 6), 0);
    assert_int_equal(append(6, 8), 0);
    logdir_close(&l);
    assert_int_equal(size_of(5), offset(8) - offset(5));
    put(0, records_of(0, 5));
    taken(8, 0);
    open_log(4);
    put(4, span_of("", 0));
    resize(SEGMENT_BYTES_MAX);
    assert_int_equal(append(4, 6), -1);
    assert_true(size_of(4) == 0 && size_of(0) == (off_t)SEGMENT_BYTES_MAX);
    logdir_close(&l);
}

static void replace(const char *path)
{
    assert_int_equal(unlink(path), 0);
    put(0, records_of(0, 4));
}
static void gone(const char *path)
{
    assert_int_equal(unlink(path), 0);
}
static void shorter(const char *path)
{
    assert_int_equal(truncate(path, (off_t)offset(3)), 0);
}
static void longer(const char *path)
{
    assert_int_equal(truncate(path, (off_t)offset(4) + 1), 0);
}
static void linked(const char *path)
{
    char other[160];

    path_of("other", other);
    assert_int_equal(link(path, other), 0);
}
static void renamed(const char *path)
{
    char other[160];

    path_of("other", other);
    assert_int_equal(rename(path, other), 0);
}

/* What another hand did to the open file is never written over, nor left behind for a new segment. */
static void foreign_hands(void **state)
{
    static void (*const deed[])(const char *path) = {replace, gone, shorter, longer, linked, renamed};
    char name[32], path[160];

    (void)state;
    file_name(0, name);
    path_of(name, path);
    for (unsigned n = 0; n < sizeof deed / sizeof *deed; n++) {
        struct stat before, after;

        open_log(4);
        deed[n](path);
        assert_int_equal(fstat(l.fd, &before), 0);
        if (!append(4, 5))
            fail_msg("deed %u went unnoticed", n);
        assert_int_equal(fstat(l.fd, &after), 0);
        assert_int_equal(before.st_size, after.st_size);
        logdir_close(&l);
    }
    open_log(4);
    resize(SEGMENT_BYTES_MAX);
    gone(path);
    assert_int_equal(append(4, 5), -1);
    assert_int_equal(size_of(4), -1);
    logdir_close(&l);
}

static void begin(void **state)
{
    JSON_AUTO *genesis = record_new("log.genesis", "ok", &actor_system, "0");
    struct err e = {0};

    (void)state;
    wipe();
    assert_int_equal(logdir_begin(dir, genesis, 1, "00", &e), 0);
    taken(1, 0);
    assert_int_equal(logdir_begin(dir, genesis, 1, "00", &e), -1);
    assert_int_equal(e.code, ERR_ALREADY_EXISTS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole), cmocka_unit_test(cut_anywhere), cmocka_unit_test(no_line_end), cmocka_unit_test(records_behind),
        cmocka_unit_test(record_removed), cmocka_unit_test(number_below_zero), cmocka_unit_test(nul_pages), cmocka_unit_test(tail_too_long),
        cmocka_unit_test(torn_in_the_middle),
        cmocka_unit_test(segments_gone), cmocka_unit_test(segments_empty), cmocka_unit_test(strange_segments), cmocka_unit_test(anchor),
        cmocka_unit_test(appends), cmocka_unit_test(next_segment), cmocka_unit_test(foreign_hands), cmocka_unit_test(begin)};

    return cmocka_run_group_tests(tests, make, clean);
}
