/* A record that is appended while the service is stopped. */
#ifndef KMS_SUPERVISOR_OFFLINELOG_H
#define KMS_SUPERVISOR_OFFLINELOG_H

#include "audit/logdir.h"
#include "audit/state/state.h"
#include "kmsd/settings.h"
#include "kmsd/supervisor/account.h"

struct offline_log {
    const struct settings *settings;
    struct account owner;      /* as whom its files are made */
    struct state *state;       /* as of the last record */
    struct logdir log;
    json_t *recovered;         /* detail of log.recovered where a torn tail was cut, else NULL */
};

#define OFFLINE_LOG_CLOSED {.log.fd = -1} /* before it is opened; closing that, or what failed to open, is fine */

/* Reads the whole log, which must hold its anchor. The service must be stopped, its locks held. */
int offline_log_open(struct offline_log *l, const struct settings *s, struct err *e) __attribute__((warn_unused_result));
/* The same of a log as it is, whatever its anchor says. */
int offline_log_open_anyway(struct offline_log *l, const struct settings *s, struct err *e) __attribute__((warn_unused_result));
/* Seals the record (taken over) behind the last one, has the fold take it, makes it durable. hash and seq: of the record. */
int offline_log_append(struct offline_log *l, json_t *record, uint64_t *seq, char hash[static SHA256_HEX],
                       struct err *e) __attribute__((warn_unused_result));
/* A body beside the log. */
int offline_log_blob(struct offline_log *l, const char *sha256, struct span data, struct err *e) __attribute__((warn_unused_result));
void offline_log_close(struct offline_log *l);

#endif
