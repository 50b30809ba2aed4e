/* The child processes: what each is started with, and when it is started again. */
#ifndef KMS_SUPERVISOR_CHILDREN_H
#define KMS_SUPERVISOR_CHILDREN_H

#include <limits.h>
#include <sys/types.h>

#include "base/stream.h"
#include "kmsd/supervisor/account.h"

#define CHILDREN_MAX 16
#define BACKOFF_FIRST_US INT64_C(100000)
#define BACKOFF_MAX_US INT64_C(30000000)
#define BACKOFF_LIVED_US INT64_C(10000000) /* who lived longer starts again at once */
#define TOKEN_PAUSE_MAX_US INT64_C(1000000)

enum { EXIT_REFUSES = 78 };

struct child {
    enum child_role role;
    struct account account;
    unsigned index;
    pid_t pid;                 /* 0 = not running */
    int64_t started, retry_at; /* retry_at: when it is started again; 0 = not waiting */
    int64_t backoff;           /* the next pause */
    int64_t renew_by;          /* it hands over to another process until then; 0 = it does not */
    bool latched;              /* not started again before `kmsd unseal` */
};

/* Pure: how long to wait before the next start of a child that lived from started to died; *backoff is the pause it had (0 = none yet) and becomes the next one. */
int64_t backoff_next(int64_t *backoff, int64_t started, int64_t died);

/* fork and exec of a child: socket becomes descriptor 3, listen_fd (when >= 0) descriptor 4; everything else is closed. argv[0] is a path. The pid, or -1. */
pid_t child_spawn(const struct child *c, const char *const argv[], int socket_fd, int listen_fd, struct err *e);
const char *child_name(enum child_role role);
/* Appends CHILD (reason NULL) or CHILD_GONE. */
void child_frame(struct buf *b, enum frame_type type, const struct child *c, pid_t pid, const char *reason);

/* listen.c: binds "ADDRESS:PORT" or "[v6]:PORT" (numeric) and listens; the descriptor, or -1 with e. */
int listen_on(const char *address, struct err *e);
struct settings;
/* The health door's: a unix socket (0660) or an address of the loopback. */
int listen_health(const struct settings *s, struct err *e);
/* Takes the socket away again. */
void listen_health_end(const struct settings *s);

#endif
