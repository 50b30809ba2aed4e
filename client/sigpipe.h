/* Keeps a library's writes to a closed connection from ending the program with SIGPIPE, without touching the program's signal handlers. */
#ifndef KMS_CLIENT_SIGPIPE_H
#define KMS_CLIENT_SIGPIPE_H

#include <stdbool.h>

struct sigpipe {
    bool held;   /* blocked by us, in this thread */
};
void sigpipe_hold(struct sigpipe *s);
/* Drops a SIGPIPE that our own writes caused; one that was pending before stays. */
void sigpipe_release(const struct sigpipe *s);

#endif
