/* What the files of `kmsd run` share: the processes of one instance. */
#ifndef KMS_SUPERVISOR_SUPERVISOR_H
#define KMS_SUPERVISOR_SUPERVISOR_H

#include "kmsd/settings.h"
#include "kmsd/supervisor/children.h"

#define STOP_US INT64_C(9500000)    /* SIGTERM: requests under way are finished until then */
#define ORPHAN_US INT64_C(2000000)  /* children whose core is gone: their socket tells them */
#define START_US INT64_C(600000000) /* from the start of the core to its first word; a long log without a snapshot takes its time */

struct supervisor {
    struct settings settings;
    struct child core, child[CHILDREN_MAX];
    unsigned n_children;
    struct stream control;
    int signals, listen[3];   /* doors: ci, admin, health */
    bool ready, stopping;
    int64_t stop_by, start_by, kill_at;
    int result;
    char latch[PATH_MAX];      /* the file that a refused PIN leaves behind */
    bool latch_on_disk;        /* it was there: when it goes, sealed lanes start again */
    char lacks[160];           /* what the core said is missing, "" = nothing */
};

void log_child(enum log_level level, const struct child *c, const char *what);
/* start.c */
int start_core(struct supervisor *s, struct err *e) __attribute__((warn_unused_result)); /* and every child that is not latched */
void start_due(struct supervisor *s, int64_t now);  /* whatever has waited long enough */
/* reload.c */
void reload_doors(struct supervisor *s);            /* SIGHUP */
void reload_watch(struct supervisor *s, int64_t now);
/* ends.c */
void reap(struct supervisor *s);
void latch_watch(struct supervisor *s);             /* lets sealed lanes start again once the latch is gone */
void kill_children(const struct supervisor *s);
bool none_left(const struct supervisor *s);
void end(struct supervisor *s, int result);
/* notify.c: systemd's readiness protocol, one datagram (sd_notify(3)). */
void notify(const char *text);

#endif
