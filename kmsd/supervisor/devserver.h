/* The parts of the development server. */
#ifndef KMS_SUPERVISOR_DEVSERVER_H
#define KMS_SUPERVISOR_DEVSERVER_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#include "kmsd/settings.h"

struct devserver {
    char dir[PATH_MAX];      /* absolute */
    char listen[SETTINGS_TEXT];
    const char *module;
    bool detach;
    struct settings settings;
};
/* Path of a file in the directory. */
int dev_path(const struct devserver *d, const char *name, char *out, size_t size, struct err *e) __attribute__((warn_unused_result));
/* Makes what is missing: keys, tokens, certificates, log, DIR/env, DIR/ci.env. */
int dev_prepare(struct devserver *d, struct err *e) __attribute__((warn_unused_result));
/* Over the running daemon, as its administrator: the signing key and the CI identity, where they are missing. */
int dev_provision(struct devserver *d, struct err *e) __attribute__((warn_unused_result));
/* Starts `kmsd run` and waits until it is ready; its pid, or -1. */
pid_t dev_start(struct devserver *d, struct err *e) __attribute__((warn_unused_result));
/* Waits for its end, handing on SIGTERM and SIGINT; its exit code. */
int dev_wait(pid_t pid);
int dev_stop(struct devserver *d, struct err *e) __attribute__((warn_unused_result));

#endif
