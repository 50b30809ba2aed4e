/* Fuzzes the reading of a log at a start, and the looking into it, with segments cut, damaged, misnamed, forked. A plain second reading says what must
 * come of it: exactly the lines that follow one another are handed on, a tail is set aside whole, what is refused is told and left as it was, and the log
 * goes on behind its last record. Input: lines that make the log, by their first byte:
 *   {      a record; its place in the chain is put right
 *   =TEXT  these bytes as they are, \x01 for a line feed and \x02 for a NUL, \x03 for 64 times 0
 *   #N     N KiB of one byte
 *   -N     the last N bytes go
 *   !N     the Nth byte from the end has a bit turned
 *   <N     the chain goes on behind record N of those made
 *   /NAME  another segment, rightly named where no name is given
 *   %      what stands under the name is a directory
 *   @N     the anchor names record N of those made */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit/logscan.h"
#include "base/fsutil.h"
#include "tests/fuzz/folder.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FILES_MAX 6
#define MADE_MAX 24
#define BYTES_MAX (2u << 20)
#define BOOT "00000000000000000000000000000000"
#define EVENT "\"event\":\"a\""

/* What the input makes. */
static struct file {
    char name[48];
    struct buf text;
    bool directory;
} file[FILES_MAX];
static unsigned n_files;
static struct chain made[MADE_MAX + 1]; /* behind so many records */
static unsigned n_made;
static struct anchor anchor;
static bool anchored;

/* What a start must make of it. */
static struct expected {
    struct file *segment[FILES_MAX];
    unsigned n_segments;
    struct line {
        const struct file *in;
        size_t from, len;
    } line[4 * MADE_MAX];
    unsigned n;
    char prev[SHA256_HEX];
    bool taken;
    size_t good;                        /* bytes of the last segment */
} want;

static unsigned handed;                 /* lines handed on */
static unsigned first;                  /* number of the first of them */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    folder_make();
    json_object_seed(1);
    return 0;
}

static void add_file(const char *name, size_t len)
{
    struct file *f = &file[n_files];

    if (n_files == FILES_MAX || len >= sizeof f->name || (len && (name[0] < '0' || name[0] > '9')) || memchr(name, '/', len) || memchr(name, '\0', len))
        return;
    if (len)
        (void)snprintf(f->name, sizeof f->name, "%.*s", (int)len, name);
    else
        (void)snprintf(f->name, sizeof f->name, "%020llu.jsonl", (unsigned long long)made[n_made].next_seq);
    for (unsigned n = 0; n < n_files; n++)
        if (!strcmp(file[n].name, f->name))
            return;
    f->text = BUF_INIT(BYTES_MAX);
    f->directory = false;
    n_files++;
}

static void add_record(struct buf *out, struct span text)
{
    struct err e = {0};
    JSON_AUTO *record = n_made < MADE_MAX ? json_read_object(text.data, text.len, RECORD_LINE_MAX, &e) : NULL;

    if (!record)
        return;
    made[n_made + 1] = made[n_made];
    if (!record_seal(record, &made[n_made + 1], 1000000, BOOT, out, &e))
        n_made++;
}

static void add_bytes(struct buf *out, struct span text)
{
    for (size_t n = 0; n < text.len; n++)
        if (text.data[n] == 3)
            buf_puts(out, made[0].prev);
        else
            buf_putc(out, text.data[n] == 1 ? '\n' : text.data[n] == 2 ? '\0' : text.data[n]);
}

static void add_anchor(uint64_t n)
{
    anchored = true;
    anchor = (struct anchor){.seq = n < n_made ? made[n + 1].next_seq - 1 : n};
    memset(anchor.hash, '0', SHA256_HEX - 1);
    if (n < n_made)
        memcpy(anchor.hash, made[n + 1].prev, SHA256_HEX);
}

static void make(char what, struct span rest)
{
    struct file *f = &file[n_files - 1];
    uint8_t *more;
    size_t n = 0;

    for (size_t i = 0; i < rest.len && rest.data[i] >= '0' && rest.data[i] <= '9' && n < 100000; i++)
        n = 10 * n + (size_t)(rest.data[i] - '0');
    switch (what) {
    case '=': add_bytes(&f->text, rest); break;
    case '#':
        if (f->text.len + n * 1024 <= TORN_BYTES_MAX + 1024 && (more = buf_room(&f->text, n * 1024))) {
            memset(more, 'x', n * 1024);
            f->text.len += n * 1024;
        }
        break;
    case '-': f->text.len -= n < f->text.len ? n : f->text.len; break;
    case '!':
        if (n && n <= f->text.len)
            f->text.data[f->text.len - n] ^= 1;
        break;
    case '<':
        if (n_made < MADE_MAX && n < n_made) {
            made[n_made + 1] = made[n + 1];
            n_made++;
        }
        break;
    case '/': add_file((const char *)rest.data, rest.len); break;
    case '%': f->directory = true; break;
    case '@': add_anchor(n); break;
    default: break;
    }
}

static void make_all(struct span text)
{
    n_files = n_made = 0;
    anchored = false;
    chain_start(&made[0]);
    add_file("", 0);
    while (text.len) {
        const uint8_t *lf = memchr(text.data, '\n', text.len);
        struct span line = span_of(text.data, lf ? (size_t)(lf - text.data) : text.len);

        text = lf ? span_of(lf + 1, text.len - line.len - 1) : span_of(NULL, 0);
        if (line.len && *line.data == '{')
            add_record(&file[n_files - 1].text, line);
        else if (line.len)
            make((char)*line.data, span_of(line.data + 1, line.len - 1));
    }
}

static void write_all(void)
{
    for (unsigned n = 0; n < n_files; n++) {
        const char *path = folder_path(file[n].name);
        int fd;

        require(!buf_ok(&file[n].text));
        if (file[n].directory) {
            require(!mkdir(path, 0700));
            continue;
        }
        fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        require(fd >= 0 && !fd_write(fd, file[n].text.data, file[n].text.len) && !close(fd));
    }
}

static void holds(const char *name, struct span text)
{
    BUF_AUTO there = BUF_INIT(BYTES_MAX);
    struct err e = {0};

    require(!file_read(folder_path(name), &there, &e) && span_eq(buf_span(&there), text));
}

static void check_files(void)
{
    for (unsigned n = 0; n < n_files; n++)
        if (!file[n].directory)
            holds(file[n].name, buf_span(&file[n].text));
}

static bool is_line(struct span line)
{
    return line.len && line.len <= RECORD_LINE_MAX && !json_is_canonical(line.data, line.len);
}

/* Does the line stand where the chain goes on? */
static bool follows(struct span line)
{
    struct err e = {0};
    JSON_AUTO *record = is_line(line) ? json_read_object(line.data, line.len, line.len, &e) : NULL;
    const json_t *seq = json_object_get(record, "seq");

    return json_is_integer(seq) && json_integer_value(seq) == (json_int_t)want.n && !strcmp(rec_str(record, "prev"), want.prev);
}

/* Bytes of the segment up to the first that belongs to no line that follows. */
static size_t read_lines(const struct file *f)
{
    size_t at = 0;

    for (const uint8_t *lf; at < f->text.len && (lf = memchr(f->text.data + at, '\n', f->text.len - at));) {
        struct span line = span_of(f->text.data + at, (size_t)(lf - f->text.data) - at);

        if (!follows(line) || want.n == sizeof want.line / sizeof *want.line)
            break;
        want.line[want.n++] = (struct line){f, at, line.len};
        sha256_hex(line.data, line.len, want.prev);
        at += line.len + 1;
        if (anchored && anchor.seq + 1 == want.n && strcmp(anchor.hash, want.prev))
            want.taken = false;
    }
    return at;
}

/* Without NULs no whole line may be lost behind the first that is damaged. */
static bool is_torn(struct span tail)
{
    const uint8_t *lf;

    if (tail.len > TORN_BYTES_MAX || memchr(tail.data, '\0', tail.len))
        return tail.len <= TORN_BYTES_MAX;
    for (bool behind = false; (lf = memchr(tail.data, '\n', tail.len)); behind = true) {
        size_t len = (size_t)(lf - tail.data);

        if (behind && !json_is_canonical(tail.data, len))
            return false;
        tail = span_of(lf + 1, tail.len - len - 1);
        if (!tail.len)
            break;
    }
    return true;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(struct file *const *)a)->name, (*(struct file *const *)b)->name);
}

static void expect(void)
{
    char name[64];

    want.n_segments = want.n = 0;
    want.taken = true;
    want.good = 0;
    memset(want.prev, '0', SHA256_HEX - 1);
    for (unsigned n = 0; n < n_files; n++)
        if (strlen(file[n].name) == 26 && strspn(file[n].name, "0123456789") == 20 && !strcmp(file[n].name + 20, ".jsonl"))
            want.segment[want.n_segments++] = &file[n];
    qsort(want.segment, want.n_segments, sizeof *want.segment, by_name);
    want.taken = want.n_segments > 0;
    for (unsigned n = 0; n < want.n_segments && want.taken; n++) {
        const struct file *f = want.segment[n];

        (void)snprintf(name, sizeof name, "%020u.jsonl", want.n);
        if (strcmp(f->name, name) || f->directory) {
            want.taken = false;
            return;
        }
        want.good = read_lines(f);
        if (want.good < f->text.len)
            want.taken &= n + 1 == want.n_segments && is_torn(span_of(f->text.data + want.good, f->text.len - want.good));
    }
    want.taken &= !anchored || anchor.seq < want.n;
}

static struct span text_of(const struct line *l)
{
    return span_of(l->in->text.data + l->from, l->len);
}

static int each(void *ctx, const json_t *record, struct span line, struct err *e)
{
    unsigned n = first + handed++;

    (void)ctx;
    (void)e;
    require(n < want.n && rec_int(record, "seq") == n && span_eq(line, text_of(&want.line[n])));
    return 0;
}

/* Left open where it was taken and l is not NULL. */
static bool start(const struct log_place *from, bool look_only, struct logdir *l, json_t **recovered)
{
    const struct log_reader reader = {.each = each, .anchor = anchored ? &anchor : NULL, .look_only = look_only};
    struct err e = {0};
    int failed;

    handed = 0;
    first = from ? (unsigned)from->next : 0;
    failed = logdir_open_at(l, folder, from, &reader, recovered, &e);
    require(!failed || (failed == -1 && e.code == ERR_LOG_UNAVAILABLE && e.detail[0] && l->fd < 0 && l->dir_fd < 0 && !*recovered));
    return !failed;
}

/* A start from the beginning: what it hands on, and what it says it sets aside. */
static bool start_as_wanted(bool look_only, struct logdir *l)
{
    JSON_AUTO *recovered = NULL;
    bool taken = start(NULL, look_only, l, &recovered);
    const struct file *last;
    char hash[SHA256_HEX], name[128];
    struct span tail;

    require(taken == want.taken);
    if (!taken)
        return false;
    require(handed == want.n);
    last = want.segment[want.n_segments - 1];
    require(l->size == (off_t)want.good && !strcmp(l->name, last->name));
    tail = want.good < last->text.len ? span_of(last->text.data + want.good, last->text.len - want.good) : span_of(NULL, 0);
    require(!recovered == !tail.len);
    if (!tail.len)
        return true;
    sha256_hex(tail.data, tail.len, hash);
    (void)snprintf(name, sizeof name, "torn-%u-%s", want.n, hash);
    require(rec_int(recovered, "bytes") == tail.len && !strcmp(rec_str(recovered, "sha256"), hash) && !strcmp(rec_str(recovered, "file"), name));
    if (!look_only)
        holds(name, tail);
    return true;
}

/* Whatever the log is like, a line that is found is that record's. */
static bool find_line(unsigned seq, struct buf *line)
{
    struct err e = {0};

    if (logscan_line(folder, seq, line, &e)) {
        require(e.code == ERR_LOG_UNAVAILABLE && e.detail[0]);
        return false;
    }
    JSON_AUTO *record = is_line(buf_span(line)) ? json_read_object(line->data, line->len, line->len, &e) : NULL;
    require(record && json_is_integer(json_object_get(record, "seq")) && json_integer_value(json_object_get(record, "seq")) == (json_int_t)seq);
    return true;
}

static bool note(void *ctx, const json_t *record)
{
    unsigned *n = ctx;

    require(json_is_integer(json_object_get(record, "seq")) && json_integer_value(json_object_get(record, "seq")) >= 0);
    ++*n;
    return true;
}

static unsigned look_back(void)
{
    struct err e = {0};
    unsigned n = 0;

    if (logscan_back(folder, "a", note, &n, &e))
        require(e.code == ERR_LOG_UNAVAILABLE && e.detail[0]);
    return n;
}

static void look_anyhow(void)
{
    for (unsigned seq = 0; seq < 3; seq++) {
        BUF_AUTO line = BUF_INIT(RECORD_LINE_MAX);
        struct log_place place;
        struct err e = {0};

        (void)find_line(seq, &line);
        if (!logscan_seek(folder, seq + 1, &place, &e) && !logscan_join(folder, &place, &e))
            require(place.next == seq + 1 && logdir_is_segment(place.segment));
        else
            require(e.code == ERR_LOG_UNAVAILABLE && e.detail[0]);
    }
    (void)look_back();
}

/* In a whole log every record is found, and read on from. */
static void look_into(void)
{
    unsigned events = 0;
    BUF_AUTO none = BUF_INIT(RECORD_LINE_MAX);

    for (unsigned n = 0; n < want.n; n++) {
        BUF_AUTO line = BUF_INIT(RECORD_LINE_MAX);
        struct span text = text_of(&want.line[n]);
        JSON_AUTO *recovered = NULL;
        struct log_place place;
        struct err e = {0};
        char hash[SHA256_HEX];
        struct logdir l;

        events += memmem(text.data, text.len, EVENT, strlen(EVENT)) != NULL;
        require(find_line(n, &line) && span_eq(buf_span(&line), text));
        require(!logscan_seek(folder, n + 1, &place, &e) && !logscan_join(folder, &place, &e));
        sha256_hex(text.data, text.len, hash);
        require(place.next == n + 1 && !strcmp(place.segment, want.line[n].in->name) && place.offset == want.line[n].from + text.len + 1);
        require(!strcmp(place.prev, hash));
        require(start(&place, true, &l, &recovered) && handed == want.n - n - 1 && !recovered);
        logdir_close(&l);
    }
    require(look_back() == events && !find_line(want.n, &none));
}

/* The log takes one more record, and a next start reads it. */
static void go_on(struct logdir *l)
{
    struct file *last = want.segment[want.n_segments - 1];
    struct chain chain = {.next_seq = want.n};
    BUF_AUTO line = BUF_INIT(RECORD_LINE_MAX);
    JSON_AUTO *record = json_pack("{s:s}", "event", "a");
    struct err e = {0};

    memcpy(chain.prev, want.prev, SHA256_HEX);
    require(!record_seal(record, &chain, 1, BOOT, &line, &e) && !logdir_append(l, want.n, buf_span(&line), &e));
    buf_put(&last->text, line.data, line.len);
    expect();
    require(want.taken && want.n == chain.next_seq && want.good == last->text.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct logdir l;
    int fd = dup(0), again;

    require(fd >= 0 && !close(fd));
    make_all(span_of(data, size));
    write_all();
    expect();
    if (start_as_wanted(true, &l))
        logdir_close(&l);
    check_files();
    look_anyhow();
    if (start_as_wanted(false, &l)) {
        want.segment[want.n_segments - 1]->text.len = want.good;
        check_files();
        go_on(&l);
        logdir_close(&l);
        check_files();
        require(start_as_wanted(false, &l));
        logdir_close(&l);
        look_into();
    } else {
        check_files();
        require(folder_wipe() == n_files); /* nothing was set aside */
    }
    (void)folder_wipe();
    while (n_files)
        buf_free(&file[--n_files].text);
    again = dup(0);
    require(again == fd && !close(again)); /* nothing is left open */
    return 0;
}
