/* What a process can no longer do once it has started: system calls, files, network, privileges. One table per role. */
#ifndef KMS_SANDBOX_SANDBOX_H
#define KMS_SANDBOX_SANDBOX_H

#include "base/buf.h"
#include "base/err.h"
#include "kmsd/settings.h"

enum sandbox_role { SANDBOX_CORE, SANDBOX_FRONT, SANDBOX_HEALTH, SANDBOX_LANE_SIGN, SANDBOX_LANE_ADMIN, SANDBOX_SUPERVISOR, SANDBOX_READER };

/* "seccomp+landlock7", "seccomp", "landlock7", "none" (the kernel gives nothing), "off" (by the settings, or a build for sanitizers). */
#define SANDBOX_LEVEL 32

/* Drops every capability, sets no_new_privs, and applies the role's walls to the calling process, for good. To be called once, by the only thread, as soon
 * as everything is open. With `sandbox: auto` as much as the kernel gives; with `sandbox: required` -1 when seccomp or Landlock is missing, then the process
 * must end. level (may be NULL) receives what holds now. */
int sandbox_enter(enum sandbox_role role, const struct settings *s, char level[static SANDBOX_LEVEL], struct err *e) __attribute__((warn_unused_result));

/* The version of Landlock that the kernel has, 0 = none. */
int landlock_version(void);

/* The parts; sandbox_enter calls them. */

/* Rights on files beneath a path. */
enum wall_access { WALL_READ = 1, WALL_WRITE = 2, WALL_DEVICE = 4 };
struct wall_path {
    char path[PATH_MAX];
    enum wall_access access;
};
#define WALL_PATHS_MAX 48
struct walls {
    struct wall_path path[WALL_PATHS_MAX];
    size_t n;
    bool network;  /* may still bind and connect TCP sockets */
    bool abstract; /* may still connect to abstract unix sockets of others */
};
/* walls.c: what a role may still reach. -1: too many paths. */
int walls_of(enum sandbox_role role, const struct settings *s, struct walls *w, struct err *e) __attribute__((warn_unused_result));
/* landlock.c: confines the calling thread. The version applied, 0 = the kernel has none, -1 = it failed. */
int landlock_apply(const struct walls *w, struct err *e) __attribute__((warn_unused_result));
/* syscalls.c: installs the role's filter in all threads. 1 = done, 0 = the kernel cannot, -1 = it failed. */
int syscalls_apply(enum sandbox_role role, struct err *e) __attribute__((warn_unused_result));
/* caps.c: nothing is left of root's powers but the capabilities (bits) to keep. */
int caps_drop(uint64_t keep, struct err *e) __attribute__((warn_unused_result));

#endif
