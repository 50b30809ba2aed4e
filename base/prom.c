/* Writes metrics in Prometheus' text format. */
#include "base/prom.h"

#include <inttypes.h>

static const int64_t BOUND_US[PROM_BUCKETS] = {500,    1000,   2000,   5000,    10000,   20000,   50000,
                                               100000, 200000, 500000, 1000000, 2000000, 5000000, 10000000};

/* A backslash, a line feed and, in a label, a quotation mark would end the text they stand in. */
static void put_escaped(struct buf *out, const char *text, bool label)
{
    for (; *text; text++) {
        if (*text == '\\' || (label && *text == '"'))
            buf_putc(out, '\\');
        if (*text == '\n')
            buf_puts(out, "\\n");
        else
            buf_putc(out, (uint8_t)*text);
    }
}

void prom_family(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_printf(out, "# HELP %s ", name);
    put_escaped(out, help, false);
    buf_printf(out, "\n# TYPE %s %s\n", name, type);
}

static void put_head(struct buf *out, const char *name, const char *suffix, const struct prom_label *labels, size_t n)
{
    buf_printf(out, "%s%s", name, suffix);
    for (size_t i = 0; i < n; i++) {
        buf_printf(out, "%s%s=\"", i ? "," : "{", labels[i].name);
        put_escaped(out, labels[i].value, true);
        buf_putc(out, '"');
    }
    buf_puts(out, n ? "} " : " ");
}

void prom_put(struct buf *out, const char *name, const struct prom_label *labels, size_t n, int64_t value)
{
    put_head(out, name, "", labels, n);
    buf_printf(out, "%" PRId64 "\n", value);
}

static void put_seconds(struct buf *out, int64_t us)
{
    uint64_t u = us < 0 ? 0 - (uint64_t)us : (uint64_t)us, part = u % 1000000;
    int digits = 6;

    buf_printf(out, "%s%" PRIu64, us < 0 ? "-" : "", u / 1000000);
    for (; part && part % 10 == 0; digits--)
        part /= 10;
    if (part)
        buf_printf(out, ".%0*" PRIu64, digits, part);
}

void prom_put_us(struct buf *out, const char *name, const struct prom_label *labels, size_t n, int64_t us)
{
    put_head(out, name, "", labels, n);
    put_seconds(out, us);
    buf_putc(out, '\n');
}

void prom_observe(struct prom_times *t, int64_t us)
{
    size_t n = 0;

    if (us < 0)
        us = 0;
    while (n < PROM_BUCKETS && us > BOUND_US[n])
        n++;
    t->bucket[n]++;
    t->sum_us += (uint64_t)us;
}

void prom_put_times(struct buf *out, const char *name, const struct prom_label *labels, size_t n, const struct prom_times *t)
{
    struct prom_label all[PROM_LABELS + 1];
    uint64_t below = 0;

    for (size_t i = 0; i < n && i < PROM_LABELS; i++)
        all[i] = labels[i];
    for (size_t i = 0; i <= PROM_BUCKETS; i++) {
        BUF_AUTO bound = BUF_INIT(32);

        if (i < PROM_BUCKETS)
            put_seconds(&bound, BOUND_US[i]);
        else
            buf_puts(&bound, "+Inf");
        below += t->bucket[i];
        all[n] = (struct prom_label){"le", buf_str(&bound)};
        put_head(out, name, "_bucket", all, n + 1);
        buf_printf(out, "%" PRIu64 "\n", below);
    }
    put_head(out, name, "_sum", labels, n);
    put_seconds(out, (int64_t)t->sum_us);
    buf_putc(out, '\n');
    put_head(out, name, "_count", labels, n);
    buf_printf(out, "%" PRIu64 "\n", below);
}
