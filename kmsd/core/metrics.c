/* Counts what happens. */
#include "kmsd/core/metrics.h"

#include <string.h>

#include "kmsd/core/internal.h"

const unsigned metrics_status[METRIC_STATUSES] = {200, 201, 202, 207, 400, 401, 403, 404, 405, 408, 409, 411, 413, 415, 422, 429, 431, 500, 503, 0};
/* As the doors name them; the last one stands for whatever else they say. */
const char *const metrics_tls[METRIC_TLS] = {
    "tls-aborted", "tls-crowded-out", "tls-expired", "tls-handshake", "tls-no-certificate", "tls-not-yet-valid",
    "tls-timeout", "tls-untrusted",   "tls-version", "tls-wrong-purpose", "http-refused", "other",
};

static size_t status_number(unsigned status)
{
    size_t n = 0;

    while (n < METRIC_STATUSES - 1 && metrics_status[n] != status)
        n++;
    return n;
}

void metrics_answered(struct core *c, const struct request *rq, unsigned status)
{
    struct metrics *m = &c->metrics;

    if (!rq->batch)
        m->requests[rq->door == CHILD_FRONT_ADMIN][route_number(rq->route)][status_number(status)]++;
    if (rq->rule[0])
        (*(status == 403 ? &m->denied : &m->allowed))++;
}

void metrics_released(struct core *c, const struct after *a)
{
    struct metrics *m = &c->metrics;

    if (!a->arrived)
        return;
    prom_observe(&m->door[a->door == CHILD_FRONT_ADMIN], c->clock.boot - a->arrived);
    if (!a->signature)
        return;
    prom_observe(&m->commit, c->clock.boot - a->sealed);
    prom_observe(&m->sign, c->clock.boot - a->arrived);
}

void metrics_tls_refused(struct core *c, const char *reason, uint64_t n)
{
    size_t k = 0;

    while (k < METRIC_TLS - 1 && strcmp(metrics_tls[k], reason))
        k++;
    c->metrics.tls[k] += n;
}

void metrics_child_end(struct core *c, enum child_role role)
{
    if ((unsigned)role < METRIC_ROLES)
        c->metrics.child_ends[role]++;
}
