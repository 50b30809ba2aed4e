/* Metrics in Prometheus' text format, version 0.0.4. */
#ifndef KMS_BASE_PROM_H
#define KMS_BASE_PROM_H

#include "base/buf.h"

#define PROM_BUCKETS 14

struct prom_label {
    const char *name, *value;
};
/* How long things took: counts below fixed bounds from 0.5 ms to 10 s, each bucket for itself, the last one for all that took longer. */
struct prom_times {
    uint64_t bucket[PROM_BUCKETS + 1], sum_us;
};

/* Begins a family: its help and its type ("counter", "gauge", "histogram"). All its samples follow. */
void prom_family(struct buf *out, const char *name, const char *type, const char *help);
/* One sample with n labels; a label's value may be any text. */
void prom_put(struct buf *out, const char *name, const struct prom_label *labels, size_t n, int64_t value);
/* The same for a duration or a moment, given in microseconds and written in seconds. */
void prom_put_us(struct buf *out, const char *name, const struct prom_label *labels, size_t n, int64_t us);
void prom_observe(struct prom_times *t, int64_t us);
/* All samples of one histogram; at most PROM_LABELS labels. */
#define PROM_LABELS 3
void prom_put_times(struct buf *out, const char *name, const struct prom_label *labels, size_t n, const struct prom_times *t);

#endif
