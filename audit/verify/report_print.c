/* Prints the findings of a check, as text or as one JSON object. */
#include <inttypes.h>
#include <string.h>

#include "audit/verify/canon.h"
#include "audit/verify/printable.h"
#include "audit/verify/report.h"

#define OUT_MAX (64u << 20)

static const char *const WORD[] = {
#define X(code, word) [FINDING_##code] = word,
    FINDINGS(X)
#undef X
};
static const char *const VERDICT[] = {"sound", "tampered", "evidence missing or unusable"};

static void flush(struct buf *b, FILE *out)
{
    if (b->len)
        (void)fwrite(b->data, 1, b->len, out);
    buf_clear(b);
}

static void put_place(struct buf *b, const struct finding *f, const struct places *where)
{
    struct place from, to;

    if (!f->has_line || where->of(where->ctx, f->line_first, &from) || where->of(where->ctx, f->line_last, &to))
        return;
    if (strcmp(from.file, to.file)) {
        buf_printf(b, "      %s line %" PRIu64 ", byte %" PRIu64 " to ", from.file, from.line, from.offset);
        buf_printf(b, "%s line %" PRIu64 ", byte %" PRIu64 "\n", to.file, to.line, to.end - 1);
        return;
    }
    buf_printf(b, "      %s ", from.file);
    if (from.line == to.line)
        buf_printf(b, "line %" PRIu64, from.line);
    else
        buf_printf(b, "lines %" PRIu64 "-%" PRIu64, from.line, to.line);
    buf_printf(b, ", bytes %" PRIu64 "-%" PRIu64 "\n", from.offset, to.end - 1);
}

static void put_finding(struct buf *b, const struct finding *f, const struct places *where)
{
    if (f->has_seq && f->seq_first == f->seq_last)
        buf_printf(b, "FAIL  record %" PRIu64 ": ", f->seq_first);
    else if (f->has_seq)
        buf_printf(b, "FAIL  records %" PRIu64 "-%" PRIu64 ": ", f->seq_first, f->seq_last);
    else
        buf_puts(b, f->has_line ? "FAIL  lines that are no records: " : "FAIL  ");
    buf_puts(b, WORD[f->kind]);
    if (f->reason[0])
        buf_puts(b, ": ");
    printable_put(b, f->reason, strlen(f->reason));
    buf_putc(b, '\n');
    put_place(b, f, where);
}

static void put_summary(struct buf *b, const struct report *r, const struct report_counts *c)
{
    buf_printf(b, "%s: %" PRIu64 " records", VERDICT[report_exit(r)], c->records);
    if (c->chain_only)
        buf_puts(b, ", chain only: no signature was checked");
    else
        buf_printf(b, "; verified: %" PRIu64 " release signatures, %" PRIu64 " signed requests, %" PRIu64 " bodies, %" PRIu64 " decisions",
                   c->signatures, c->requests, c->blobs, c->decisions);
    if (r->n + r->more)
        buf_printf(b, "; %zu findings", r->n + r->more);
    buf_putc(b, '\n');
    if (c->head_hash[0])
        buf_printf(b, "last record: %" PRIu64 ":%s\n", c->head_seq, c->head_hash);
}

void report_print_text(const struct report *r, const struct places *where, const struct report_counts *counts, FILE *out)
{
    BUF_AUTO b = BUF_INIT(OUT_MAX);

    for (size_t i = 0; i < r->n; i++) {
        put_finding(&b, &r->list[i], where);
        flush(&b, out);
    }
    if (r->more)
        buf_printf(&b, "FAIL  %zu more findings are not shown\n", r->more);
    for (size_t i = 0; i < r->n_notes; i++) {
        buf_puts(&b, "note  ");
        printable_put(&b, r->note[i], strlen(r->note[i]));
        buf_putc(&b, '\n');
    }
    put_summary(&b, r, counts);
    flush(&b, out);
}

static void put_text(struct buf *b, const char *text)
{
    BUF_AUTO clean = BUF_INIT(16 * REASON_MAX);

    printable_put(&clean, text, strlen(text));
    canon_string(b, buf_str(&clean), clean.len);
}

static void json_place(struct buf *b, const struct places *where, uint64_t line, const char *name)
{
    struct place p;

    if (where->of(where->ctx, line, &p))
        return;
    buf_printf(b, "\"%s\":{\"bytes\":[%" PRIu64 ",%" PRIu64 "],\"file\":\"%s\",\"line\":%" PRIu64 "},", name, p.offset, p.end, p.file, p.line);
}

static void json_finding(struct buf *b, const struct finding *f, const struct places *where)
{
    buf_putc(b, '{');
    if (f->has_line)
        json_place(b, where, f->line_first, "first_line");
    buf_puts(b, "\"kind\":");
    put_text(b, WORD[f->kind]);
    buf_putc(b, ',');
    if (f->has_line)
        json_place(b, where, f->line_last, "last_line");
    buf_puts(b, "\"reason\":");
    put_text(b, f->reason);
    if (f->has_seq)
        buf_printf(b, ",\"records\":[%" PRIu64 ",%" PRIu64 "]", f->seq_first, f->seq_last);
    buf_putc(b, '}');
}

void report_print_json(const struct report *r, const struct places *where, const struct report_counts *c, FILE *out)
{
    BUF_AUTO b = BUF_INIT(OUT_MAX);

    buf_printf(&b, "{\"bodies\":%" PRIu64 ",\"chain_only\":%s,\"decisions\":%" PRIu64 ",\"findings\":[", c->blobs, c->chain_only ? "true" : "false", c->decisions);
    for (size_t i = 0; i < r->n; i++) {
        if (i)
            buf_putc(&b, ',');
        json_finding(&b, &r->list[i], where);
        flush(&b, out);
    }
    buf_printf(&b, "],\"findings_not_shown\":%zu,", r->more);
    if (c->head_hash[0])
        buf_printf(&b, "\"head\":{\"hash\":\"%s\",\"seq\":%" PRIu64 "},", c->head_hash, c->head_seq);
    buf_puts(&b, "\"notes\":[");
    for (size_t i = 0; i < r->n_notes; i++) {
        if (i)
            buf_putc(&b, ',');
        put_text(&b, r->note[i]);
    }
    buf_printf(&b, "],\"records\":%" PRIu64 ",\"requests\":%" PRIu64 ",\"signatures\":%" PRIu64 ",\"verdict\":\"%s\"}\n", c->records, c->requests,
               c->signatures, VERDICT[report_exit(r)]);
    flush(&b, out);
}
