/* Which system calls a role can still make after its start: the only file that knows libseccomp. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "kmsd/sandbox/sandbox.h"

#define S(name) SCMP_SYS(name)
#define END INT32_MIN

/* Memory, threads of one's own, clocks, and descriptors that are open already. */
static const int BASIC[] = {
    S(read), S(readv), S(pread64), S(write), S(writev), S(pwrite64), S(close), S(close_range), S(fstat), S(lseek), S(fcntl), S(dup), S(dup3),
    S(munmap), S(mremap), S(madvise), S(brk), S(mlock), S(mlock2), S(munlock), S(msync), S(mincore),
    S(futex), S(set_robust_list), S(rseq), S(membarrier), S(set_tid_address), S(sched_yield), S(sched_getaffinity), S(getcpu),
    S(rt_sigaction), S(rt_sigprocmask), S(rt_sigreturn), S(rt_sigpending), S(rt_sigtimedwait), S(sigaltstack), S(tgkill), S(restart_syscall),
    S(exit), S(exit_group), S(getpid), S(gettid), S(getppid), S(getuid), S(geteuid), S(getgid), S(getegid), S(uname), S(sysinfo), S(getrusage), S(getrlimit), S(times),
    S(clock_gettime), S(clock_getres), S(clock_nanosleep), S(nanosleep), S(gettimeofday), S(time), S(getrandom),
    S(poll), S(ppoll), S(select), S(pselect6), S(epoll_wait), S(epoll_pwait), S(epoll_pwait2), S(epoll_ctl), S(eventfd2), S(timerfd_settime), S(timerfd_gettime),
    S(recvmsg), S(recvfrom), S(sendmsg), S(sendto), S(shutdown), S(getsockopt), END};

/* Files; which ones is Landlock's affair. */
static const int FILES[] = {
    S(open), S(openat), S(creat), S(stat), S(lstat), S(newfstatat), S(statx), S(access), S(faccessat), S(faccessat2), S(readlink), S(readlinkat), S(getdents64),
    S(statfs), S(fstatfs), S(fsync), S(fdatasync), S(syncfs), S(sync_file_range), S(ftruncate), S(fallocate), S(fadvise64), S(flock), S(preadv), S(pwritev),
    S(rename), S(renameat), S(renameat2), S(unlink), S(unlinkat), S(mkdir), S(mkdirat), S(rmdir), S(link), S(linkat), S(chmod), S(fchmod), S(fchmodat), S(umask),
    S(getcwd), S(utimensat), S(copy_file_range), S(sendfile), S(epoll_create1), S(timerfd_create), END};

/* A door: connections come to the socket it was given, it makes none. */
static const int DOOR[] = {S(accept), S(accept4), S(setsockopt), S(getsockname), S(getpeername), S(sendfile), S(sendmmsg), S(recvmmsg), S(epoll_create1), END};

/* A database gives its side files the owner of the file, where root opened it. */
static const int DATABASE[] = {S(fchown), END};

/* A PKCS#11 module is foreign code: it may speak to its daemon or appliance, share memory with it, and have threads. */
static const int MODULE[] = {
    S(socket), S(socketpair), S(connect), S(bind), S(listen), S(accept), S(accept4), S(setsockopt), S(getsockname), S(getpeername), S(sendmmsg), S(recvmmsg),
    S(ioctl), S(pipe), S(pipe2), S(dup2), S(eventfd), S(signalfd4), S(inotify_init1), S(inotify_add_watch), S(inotify_rm_watch), S(epoll_create),
    S(shmget), S(shmat), S(shmctl), S(shmdt), S(semget), S(semop), S(semtimedop), S(semctl), S(msgget), S(msgsnd), S(msgrcv), S(msgctl),
    S(mq_open), S(mq_timedsend), S(mq_timedreceive), S(memfd_create), S(mlockall), S(munlockall), S(mbind), S(get_mempolicy),
    S(timer_create), S(timer_settime), S(timer_gettime), S(timer_delete), S(setitimer), S(getitimer), S(alarm), S(kill), S(tkill), S(getpgrp), S(getpgid), S(getsid), S(getgroups),
    S(getresuid), S(getresgid), S(truncate), S(symlink), S(symlinkat), S(mknod), S(mknodat), S(fchown), S(chdir), S(fchdir), S(getpriority), S(sched_getparam),
    S(sched_getscheduler), S(sched_setaffinity), S(sched_setscheduler), S(sched_get_priority_max), S(sched_get_priority_min), S(pause), S(rt_sigsuspend), S(pidfd_open), S(wait4), S(waitid), S(capget), END};

/* No process of kmsd, and no module, has an honest use for these after its start. */
static const int HOSTILE[] = {
    S(ptrace), S(process_vm_readv), S(process_vm_writev), S(process_madvise), S(kcmp), S(pidfd_getfd), S(perf_event_open), S(bpf), S(userfaultfd), S(keyctl),
    S(add_key), S(request_key), S(kexec_load), S(kexec_file_load), S(init_module), S(finit_module), S(delete_module), S(create_module), S(reboot), S(mount), S(umount),
    S(umount2), S(mount_setattr), S(move_mount), S(open_tree), S(fsopen), S(fsmount), S(fsconfig), S(fspick), S(pivot_root), S(chroot), S(swapon), S(swapoff),
    S(unshare), S(setns), S(open_by_handle_at), S(name_to_handle_at), S(io_uring_setup), S(io_uring_enter), S(io_uring_register), S(iopl), S(ioperm), S(modify_ldt),
    S(acct), S(quotactl), S(quotactl_fd), S(settimeofday), S(clock_settime), S(clock_adjtime), S(adjtimex), S(stime), S(sethostname), S(setdomainname), S(syslog),
    S(lookup_dcookie), S(vhangup), S(personality), S(uselib), S(ustat), S(sysfs), S(_sysctl), S(nfsservctl), S(move_pages), S(migrate_pages), S(fanotify_init), END};
static const int EXECUTE[] = {S(execve), S(execveat), S(fork), S(vfork), END};

/* Libraries try these and do without: an error, not the end. */
static const struct {
    int call, error;
} POLITE[] = {{S(clone3), ENOSYS}, {S(openat2), ENOSYS}, {S(ioctl), ENOTTY}, {S(prctl), EPERM}, {S(sched_setscheduler), EPERM}, {S(setpriority), EPERM}};
static const int NO_FILES[] = {S(open), S(openat), S(stat), S(lstat), S(newfstatat), S(statx), S(access), S(faccessat), S(faccessat2), S(readlink), S(readlinkat), END};

/* Rows are groups of calls. What is in none is refused by `other`. */
static const struct role {
    uint32_t other;
    const int *allowed[4], *killed[3], *denied;
    bool code; /* may still map code: modules load others when they need them */
} ROLES[] = {
    [SANDBOX_CORE] = {SCMP_ACT_KILL_PROCESS, {BASIC, FILES}, {NULL}, NULL, false},
    [SANDBOX_FRONT] = {SCMP_ACT_KILL_PROCESS, {BASIC, DOOR}, {NULL}, NO_FILES, false},
    [SANDBOX_HEALTH] = {SCMP_ACT_KILL_PROCESS, {BASIC, DOOR}, {NULL}, NO_FILES, false},
    [SANDBOX_LANE_SIGN] = {SCMP_ACT_ERRNO(ENOSYS), {BASIC, FILES, MODULE}, {HOSTILE, EXECUTE}, NULL, true},
    [SANDBOX_LANE_ADMIN] = {SCMP_ACT_ERRNO(ENOSYS), {BASIC, FILES, MODULE}, {HOSTILE, EXECUTE}, NULL, true},
    [SANDBOX_READER] = {SCMP_ACT_KILL_PROCESS, {BASIC, FILES, NULL, DATABASE}, {NULL}, NULL, false},
    [SANDBOX_SUPERVISOR] = {SCMP_ACT_ALLOW, {NULL}, {HOSTILE}, NULL, true}, /* its children inherit this, modules included */
};

/* Adding a rule twice, or one for a call that this processor lacks, is no mistake. */
static int rule(scmp_filter_ctx ctx, uint32_t action, int call)
{
    int rc = seccomp_rule_add(ctx, action, call, 0);

    return rc == -EEXIST || rc == -EDOM ? 0 : rc;
}

static int group(scmp_filter_ctx ctx, uint32_t action, const int *calls)
{
    int rc = 0;

    for (; calls && *calls != END && !rc; calls++)
        rc = rule(ctx, action, *calls);
    return rc;
}

/* Threads yes, processes no; memory yes, new code only where modules may load some. */
static int careful(scmp_filter_ctx ctx, const struct role *r)
{
    static const int maps[] = {S(mmap), S(mprotect)};
    int rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, S(clone), 1, SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));

    for (size_t n = 0; n < 2 && !rc; n++)
        rc = r->code ? rule(ctx, SCMP_ACT_ALLOW, maps[n])
                     : seccomp_rule_add(ctx, SCMP_ACT_ALLOW, maps[n], 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    return rc ? rc : seccomp_rule_add(ctx, SCMP_ACT_ALLOW, S(prlimit64), 1, SCMP_A0(SCMP_CMP_EQ, 0));
}

static int polite(scmp_filter_ctx ctx, const struct role *r)
{
    bool module = r->allowed[2] != NULL;
    int rc = group(ctx, SCMP_ACT_ERRNO(EACCES), r->denied);

    for (size_t n = 0; n < sizeof POLITE / sizeof *POLITE && !rc && !module; n++)
        rc = rule(ctx, SCMP_ACT_ERRNO((uint32_t)POLITE[n].error), POLITE[n].call);
    if (!rc && module) /* threads have names */
        rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, S(prctl), 1, SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
    return rc;
}

static int fill(scmp_filter_ctx ctx, const struct role *r)
{
    int rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);

    for (size_t n = 0; n < 3 && !rc; n++)
        rc = group(ctx, SCMP_ACT_KILL_PROCESS, r->killed[n]);
    if (r->other == SCMP_ACT_ALLOW)
        return rc;
    for (size_t n = 0; n < 4 && !rc; n++)
        rc = group(ctx, SCMP_ACT_ALLOW, r->allowed[n]);
    if (!rc)
        rc = careful(ctx, r);
    if (!rc)
        rc = polite(ctx, r);
    (void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree instead of a list */
    return rc;
}

int syscalls_apply(enum sandbox_role role, struct err *e)
{
    const struct role *r = &ROLES[role];
    scmp_filter_ctx ctx = seccomp_init(r->other);
    int rc;

    if (!ctx)
        return err_set(e, ERR_INTERNAL, "seccomp: out of memory");
    /* Calls of another architecture's numbering end the process. */
    rc = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (!rc)
        rc = fill(ctx, r);
    if (rc) {
        seccomp_release(ctx);
        return err_errno(e, ERR_INTERNAL, -rc, "seccomp: a rule");
    }
    rc = seccomp_load(ctx);
    seccomp_release(ctx);
    return rc ? 0 : 1;
}
