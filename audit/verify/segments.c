/* The segment files of a log, in order, read as one sequence of lines. */
#include "audit/verify/segments.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fsutil.h"
#include "base/num.h"

#define DIGITS 20

static bool is_segment(const char *name, uint64_t *first)
{
    size_t zeros = strspn(name, "0");

    if (strlen(name) != SEGMENT_NAME || strcmp(name + DIGITS, ".jsonl"))
        return false;
    if (zeros >= DIGITS)
        zeros = DIGITS - 1;
    return !num_parse_u64(name + zeros, DIGITS - zeros, 0, JSON_INT_MAX, first);
}

static bool is_known(const char *name)
{
    return name[0] == '.' || !strcmp(name, "blobs") || !strcmp(name, "lock") || !strncmp(name, "torn-", 5);
}

static int by_first(const void *a, const void *b)
{
    const struct segment *x = a, *y = b;

    return x->first < y->first ? -1 : x->first > y->first;
}

static int add(struct segments *s, const char *name, uint64_t first)
{
    struct segment *more = realloc(s->list, (s->n + 1) * sizeof *more);

    if (!more)
        return -1;
    s->list = more;
    more[s->n] = (struct segment){.first = first};
    memcpy(more[s->n++].name, name, SEGMENT_NAME);
    return 0;
}

static void add_stray(struct segments *s, const char *name)
{
    if (s->n_stray < sizeof s->stray / sizeof *s->stray)
        memcpy(s->stray[s->n_stray++], name, strnlen(name, sizeof s->stray[0] - 1));
}

static bool is_dir(const char *path)
{
    struct stat st;

    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

int segments_open(struct segments *s, const char *dir, struct err *e)
{
    const struct dirent *entry;
    uint64_t first;
    DIR *d;

    *s = (struct segments){0};
    if (path_join(s->dir, sizeof s->dir, dir, "audit"))
        return err_set(e, ERR_NOT_FOUND, "the path of the directory is too long");
    if (!is_dir(s->dir)) {
        if (strlen(dir) >= sizeof s->dir)
            return err_set(e, ERR_NOT_FOUND, "the path of the directory is too long");
        memcpy(s->dir, dir, strlen(dir) + 1);
    }
    d = opendir(s->dir);
    if (!d)
        return err_errno(e, ERR_NOT_FOUND, errno, "%s", s->dir);
    while ((entry = readdir(d))) {
        if (is_segment(entry->d_name, &first)) {
            if (add(s, entry->d_name, first)) {
                closedir(d);
                return err_set(e, ERR_INTERNAL, "out of memory");
            }
        } else if (!is_known(entry->d_name)) {
            add_stray(s, entry->d_name);
        }
    }
    closedir(d);
    if (s->n)
        qsort(s->list, s->n, sizeof *s->list, by_first);
    return 0;
}

void segments_free(struct segments *s)
{
    free(s->list);
    *s = (struct segments){0};
}

int segments_path(const struct segments *s, const char *name, char *out, size_t size)
{
    return path_join(out, size, s->dir, name);
}

void walk_begin(struct walk *w, const struct segments *s)
{
    *w = (struct walk){.segments = s, .reader = {.fd = -1}};
}

int walk_seek(struct walk *w, size_t segment, uint64_t offset, struct err *e)
{
    char path[4200];

    walk_end(w);
    w->at = segment;
    if (segments_path(w->segments, w->segments->list[segment].name, path, sizeof path))
        return err_set(e, ERR_NOT_FOUND, "the path of a segment is too long");
    if (line_open(&w->reader, path, offset, e))
        return -1;
    w->open = true;
    return 0;
}

int walk_next(struct walk *w, struct line *out, struct err *e)
{
    for (;;) {
        int got;

        if (!w->open) {
            if (w->at >= w->segments->n)
                return 0;
            if (walk_seek(w, w->at, 0, e))
                return -1;
        }
        got = line_next(&w->reader, out, e);
        if (got < 0)
            return err_context(e, "%s", w->segments->list[w->at].name);
        if (got)
            return 1;
        if (w->at + 1 >= w->segments->n)
            return 0;
        walk_end(w);
        w->at++;
    }
}

void walk_end(struct walk *w)
{
    if (w->open)
        line_close(&w->reader);
    w->open = false;
}
