/* Gathers what a check found, and brings it into order. */
#include "audit/verify/report.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void report_free(struct report *r)
{
    free(r->list);
    for (size_t i = 0; i < r->n_notes; i++)
        free(r->note[i]);
    *r = (struct report){0};
}

/* Two findings of one kind and reason whose ranges touch are one finding. */
static bool join(struct finding *into, const struct finding *f)
{
    if (into->kind != f->kind || into->has_seq != f->has_seq || into->has_line != f->has_line || strcmp(into->reason, f->reason))
        return false;
    if (!f->has_seq && !f->has_line)
        return false;
    if (f->has_seq && (f->seq_first > into->seq_last + 1 || f->seq_first < into->seq_first))
        return false;
    if (f->has_line && (f->line_first > into->line_last + 1 || f->line_first < into->line_first))
        return false;
    if (f->has_seq && f->seq_last > into->seq_last)
        into->seq_last = f->seq_last;
    if (f->has_line && f->line_last > into->line_last)
        into->line_last = f->line_last;
    return true;
}

static void add(struct report *r, struct finding f, const char *reason)
{
    struct finding *more;

    memcpy(f.reason, reason, strnlen(reason, sizeof f.reason - 1));
    r->tampered |= f.kind != FINDING_BLOB_MISSING && f.kind != FINDING_UNUSABLE;
    if (r->n && join(&r->list[r->n - 1], &f))
        return;
    if (r->n >= FINDINGS_MAX) {
        r->more++;
        return;
    }
    if (!(r->n & (r->n - 1))) {
        more = realloc(r->list, (r->n ? 2 * r->n : 1) * sizeof *more);
        if (!more) {
            r->more++;
            return;
        }
        r->list = more;
    }
    f.order = r->n;
    r->list[r->n++] = f;
}

void report_records(struct report *r, enum finding_kind kind, uint64_t first, uint64_t last, const char *reason)
{
    add(r, (struct finding){.kind = kind, .has_seq = true, .seq_first = first, .seq_last = last}, reason);
}

void report_both(struct report *r, enum finding_kind kind, uint64_t first, uint64_t last, uint64_t line_first, uint64_t line_last,
                 const char *reason)
{
    add(r, (struct finding){.kind = kind, .has_seq = true, .seq_first = first, .seq_last = last, .has_line = true, .line_first = line_first,
                            .line_last = line_last}, reason);
}

void report_lines(struct report *r, enum finding_kind kind, uint64_t line_first, uint64_t line_last, const char *reason)
{
    add(r, (struct finding){.kind = kind, .has_line = true, .line_first = line_first, .line_last = line_last}, reason);
}

void report_other(struct report *r, enum finding_kind kind, const char *fmt, ...)
{
    char text[REASON_MAX];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    add(r, (struct finding){.kind = kind}, text);
}

void report_note(struct report *r, const char *fmt, ...)
{
    char text[REASON_MAX];
    va_list ap;

    if (r->n_notes == NOTES_MAX)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    r->note[r->n_notes] = strdup(text);
    r->n_notes += r->note[r->n_notes] != NULL;
}

bool report_is_altered(const struct report *r, uint64_t seq)
{
    for (size_t i = 0; i < r->n; i++)
        if (r->list[i].kind == FINDING_ALTERED && r->list[i].has_seq && seq >= r->list[i].seq_first && seq <= r->list[i].seq_last)
            return true;
    return false;
}

static int by_place(const void *a, const void *b)
{
    const struct finding *x = a, *y = b;

    if (x->has_seq != y->has_seq)
        return x->has_seq ? -1 : 1;
    if (x->has_seq && x->seq_first != y->seq_first)
        return x->seq_first < y->seq_first ? -1 : 1;
    if (!x->has_seq && x->has_line && y->has_line && x->line_first != y->line_first)
        return x->line_first < y->line_first ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

void report_finish(struct report *r)
{
    size_t kept = 0;

    if (!r->n)
        return;
    qsort(r->list, r->n, sizeof *r->list, by_place);
    for (size_t i = 1; i < r->n; i++)
        if (!join(&r->list[kept], &r->list[i]))
            r->list[++kept] = r->list[i];
    r->n = kept + 1;
}

int report_exit(const struct report *r)
{
    if (r->tampered)
        return 1;
    return r->n + r->more ? 2 : 0;
}
