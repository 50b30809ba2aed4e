/* Every role's walls, tried from inside: a child enters the sandbox and does what it should no longer be able to do. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "kmsd/sandbox/sandbox.h"

static struct settings settings;
static char dir[64];

static const char *in(const char *name)
{
    static char path[4][PATH_MAX];
    static unsigned n;
    char *out = path[n++ % 4];

    assert_int_equal(path_join(out, PATH_MAX, dir, name), 0);
    return out;
}

static void put(char *to, const char *name, bool directory)
{
    struct err e = {0};

    memcpy(to, in(name), PATH_MAX);
    if (directory)
        assert_int_equal(dir_make(to, 0700, &e), 0);
    else
        assert_int_equal(file_write_atomic(to, "x", 1, 0600, &e), 0);
}

static int make(void **state)
{
    char unused[PATH_MAX];

    (void)state;
    memcpy(dir, "/tmp/kmsd-sandbox-XXXXXX", 25);
    assert_non_null(mkdtemp(dir));
    memset(&settings, 0, sizeof settings);
    memcpy(settings.dir, dir, sizeof dir);
    put(settings.audit_dir, "audit", true);
    put(unused, "audit/0.jsonl", false);
    put(settings.snapshots_dir, "snapshots", true);
    put(unused, "anchor", true);
    put(settings.anchor, "anchor/anchor", false);
    put(unused, "index", true);
    put(settings.index, "index/state.db", false);
    put(unused, "tokens", true);
    put(settings.tokens_lock, "tokens/lock", false);
    put(settings.keys.sync, "tokens/keys", true);
    put(settings.keys.softhsm_conf, "tokens/keys/softhsm2.conf", false);
    put(settings.keys.module, "libsofthsm2.so", false);
    put(settings.keys.pin_file, "pin-keys", false);
    settings.checkpoint = settings.keys;
    put(settings.client_ca[0], "ca.pem", false);
    put(unused, "outside", false);
    return 0;
}

static int clean(void **state)
{
    char rm[] = "rm", options[] = "-rf", *argv[] = {rm, options, dir, NULL};
    pid_t pid = fork();

    (void)state;
    if (!pid) {
        execvp("rm", argv);
        _exit(1);
    }
    return waitpid(pid, NULL, 0) == pid ? 0 : -1;
}

/* What a child tries. The result: 0 = it worked, else errno. */
static int reads(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    return fd < 0 ? errno : close(fd);
}
static int writes(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    return fd < 0 ? errno : close(fd);
}
static int read_passwd(void) { return reads("/etc/passwd"); }
static int read_outside(void) { return reads(in("outside")); }
static int write_outside(void) { return writes(in("outside")); }
static int make_outside(void) { return writes(in("new")); }
static int write_audit(void) { return writes(in("audit/1.jsonl")); }
static int read_audit(void) { return reads(in("audit/0.jsonl")); }
static int write_index(void) { return writes(in("index/state.db-wal")); }
static int write_snapshot(void) { return writes(in("snapshots/1")); }
static int rename_anchor(void) { return writes(in("anchor/new")) ? errno : rename(in("anchor/new"), in("anchor/anchor")) ? errno : 0; }
static int write_token(void) { return writes(in("tokens/keys/object")); }
static int write_latch(void) { return writes(in("tokens/refused")); }
static int read_pin(void) { return reads(settings.keys.pin_file); }
static int write_pin(void) { return writes(settings.keys.pin_file); }
static int read_tmp(void) { return writes("/tmp/kmsd-sandbox-probe") ? errno : unlink("/tmp/kmsd-sandbox-probe") ? errno : 0; }
static int run_program(void)
{
    char program[] = "true", *argv[] = {program, NULL};

    execv("/bin/true", argv);
    return errno;
}
static int fork_process(void)
{
    pid_t pid = fork();

    if (pid < 0)
        return errno;
    if (!pid)
        _exit(0);
    return waitpid(pid, NULL, 0) == pid ? 0 : errno;
}
static int call_home(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    return fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) ? errno : 0;
}
static int trace(void) { return ptrace(PTRACE_ATTACH, getppid(), NULL, NULL) ? errno : 0; }
static int look_into(void) { return syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0) < 0 ? errno : 0; }
static int mount_something(void) { return syscall(SYS_mount, "x", "/mnt", "tmpfs", 0, NULL) ? errno : 0; }
static int load_bpf(void) { return syscall(SYS_bpf, 0, NULL, 0) < 0 ? errno : 0; }
static int ring(void) { return syscall(SYS_io_uring_setup, 1, NULL) < 0 ? errno : 0; }
static int new_code(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return page == MAP_FAILED || mprotect(page, 4096, PROT_READ | PROT_EXEC) ? errno : 0;
}
static void *nothing(void *arg) { return arg; }
static int thread(void)
{
    pthread_t t;
    int rc = pthread_create(&t, NULL, nothing, NULL);

    return rc ? rc : pthread_join(t, NULL);
}
static int memory(void)
{
    char *big = malloc(32u << 20);

    if (!big)
        return ENOMEM;
    memset(big, 1, 32u << 20);
    free(big);
    return 0;
}
static int say(void) { return write(STDERR_FILENO, "", 0) ? errno : 0; }
static int signal_parent(void) { return kill(getppid(), 0) ? errno : 0; }

#define KILLED 1000 /* by SIGSYS */

static int result_of(enum sandbox_role role, int (*attempt)(void))
{
    pid_t pid = fork();
    int status;

    assert_true(pid >= 0);
    if (!pid) {
        const struct rlimit none = {0, 0};
        char level[SANDBOX_LEVEL];
        struct err e = {0};

        (void)!freopen("/dev/null", "w", stderr);
        (void)setrlimit(RLIMIT_CORE, &none);
        if (sandbox_enter(role, &settings, level, &e))
            _exit(200);
        _exit(attempt());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status))
        return WTERMSIG(status) == SIGSYS ? KILLED : 2000 + WTERMSIG(status);
    return WEXITSTATUS(status);
}

#define C (1u << SANDBOX_CORE)
#define F (1u << SANDBOX_FRONT | 1u << SANDBOX_HEALTH)
#define L (1u << SANDBOX_LANE_SIGN | 1u << SANDBOX_LANE_ADMIN)
#define U (1u << SANDBOX_SUPERVISOR)
#define R (1u << SANDBOX_READER)

/* What happens to whom. Rows marked `files` or newer need that version of Landlock. */
static const struct {
    const char *what;
    int (*attempt)(void);
    unsigned roles;
    int expected, landlock;
} ROWS[] = {
    {"open /etc/passwd", read_passwd, C | F | L | R, EACCES, 1},
    {"read a file of the instance", read_outside, C | F | L | R, EACCES, 1},
    {"write a file of the instance", write_outside, C | F | L | R, EACCES, 1},
    {"make a file in the instance", make_outside, C | F | L | R, EACCES, 1},
    {"write into /tmp", read_tmp, C | F | L | R, EACCES, 1},
    {"write the log", write_audit, C, 0, 0},
    {"write the log", write_audit, F | L | R, EACCES, 1},
    {"read the log", read_audit, C | R, 0, 0},
    {"write the index", write_index, R, 0, 0},
    {"write the index", write_index, C | F | L, EACCES, 1},
    {"write a snapshot", write_snapshot, R, EACCES, 1},
    {"write a snapshot", write_snapshot, C, 0, 0},
    {"replace the anchor", rename_anchor, C, 0, 0},
    {"replace the anchor", rename_anchor, F | L | R, EACCES, 1},
    {"write the token", write_token, L, 0, 0},
    {"write the token", write_token, C | F | R, EACCES, 1},
    {"leave the mark of a refused PIN", write_latch, L, 0, 0},
    {"read the PIN again", read_pin, L, 0, 0},
    {"read the PIN", read_pin, C | F | R, EACCES, 1},
    {"write the PIN", write_pin, C | F | L | R, EACCES, 1},
    {"execute", run_program, C | F | L | R, KILLED, 0},
    {"execute", run_program, U, 0, 0},
    {"fork", fork_process, C | F | R, KILLED, 0},
    {"fork", fork_process, L, ENOSYS, 0},
    {"fork", fork_process, U, 0, 0},
    {"connect", call_home, C | F | R, KILLED, 0},
    {"connect", call_home, L, EACCES, 4},
    {"ptrace", trace, C | F | L | U | R, KILLED, 0},
    {"process_vm_readv", look_into, C | F | L | U | R, KILLED, 0},
    {"mount", mount_something, C | F | L | U | R, KILLED, 0},
    {"bpf", load_bpf, C | F | L | U | R, KILLED, 0},
    {"io_uring", ring, C | F | L | U | R, KILLED, 0},
    {"new code", new_code, C | F | R, KILLED, 0},
    {"new code", new_code, L, 0, 0},
    {"signal another process", signal_parent, C | F | R, KILLED, 0},
    {"signal another process", signal_parent, L, EPERM, 6},
    {"a thread", thread, C | F | L | R, 0, 0},
    {"memory", memory, C | F | L | U | R, 0, 0},
    {"write to stderr", say, C | F | L | U | R, 0, 0},
};

static void test_walls(void **state)
{
    unsigned wrong = 0;

    (void)state;
    for (size_t n = 0; n < sizeof ROWS / sizeof *ROWS; n++)
        for (unsigned role = SANDBOX_CORE; role <= SANDBOX_READER; role++) {
            int got;

            if (!(ROWS[n].roles & (1u << role)) || landlock_version() < ROWS[n].landlock)
                continue;
            got = result_of((enum sandbox_role)role, ROWS[n].attempt);
            if (got == ROWS[n].expected)
                continue;
            print_error("role %u: %s: %d, expected %d\n", role, ROWS[n].what, got, ROWS[n].expected);
            wrong++;
        }
    assert_int_equal(wrong, 0);
}

/* The same attempts without a sandbox, or the test above could not fail. */
static void test_off(void **state)
{
    (void)state;
    settings.sandbox = SETTINGS_SANDBOX_OFF;
    assert_int_equal(result_of(SANDBOX_CORE, read_passwd), 0);
    assert_int_equal(result_of(SANDBOX_CORE, fork_process), 0);
    assert_int_equal(result_of(SANDBOX_CORE, write_outside), 0);
    assert_int_equal(result_of(SANDBOX_CORE, new_code), 0);
    assert_int_equal(result_of(SANDBOX_CORE, signal_parent), 0);
    settings.sandbox = SETTINGS_SANDBOX_AUTO;
}

/* A module that is not SoftHSM may have a daemon, a device, a state directory; the log of an instance elsewhere it does not get at. */
static void test_other_modules(void **state)
{
    (void)state;
    memcpy(settings.keys.module, in("libother.so"), PATH_MAX);
    assert_int_equal(result_of(SANDBOX_LANE_SIGN, read_passwd), 0);
    assert_int_equal(result_of(SANDBOX_LANE_SIGN, read_tmp), 0);
    assert_int_equal(result_of(SANDBOX_LANE_SIGN, call_home), ECONNREFUSED);
    assert_int_equal(result_of(SANDBOX_LANE_SIGN, run_program), KILLED);
    memcpy(settings.keys.paths[0], in("tokens"), PATH_MAX);
    settings.keys.n_paths = 1;
    if (landlock_version())
        assert_int_equal(result_of(SANDBOX_LANE_SIGN, read_passwd), EACCES);
    settings.keys.n_paths = 0;
    memcpy(settings.keys.module, in("libsofthsm2.so"), PATH_MAX);
}

/* A kernel without Landlock: the call that makes a ruleset does not exist. */
static int without_landlock(enum settings_sandbox mode, char level[static SANDBOX_LEVEL])
{
    struct sock_filter code[] = {
        {0x20, 0, 0, 0 /* the number of the call */}, {0x15, 0, 1, SYS_landlock_create_ruleset}, {0x06, 0, 0, SECCOMP_RET_ERRNO | ENOSYS}, {0x06, 0, 0, SECCOMP_RET_ALLOW}};
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    int pair[2], status;
    pid_t pid;

    assert_int_equal(pipe(pair), 0);
    pid = fork();
    if (!pid) {
        struct err e = {0};

        settings.sandbox = mode;
        (void)!freopen("/dev/null", "w", stderr);
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
            _exit(200);
        if (sandbox_enter(SANDBOX_CORE, &settings, level, &e))
            _exit(strstr(e.detail, "required") ? 1 : 2);
        _exit(write(pair[1], level, SANDBOX_LEVEL) == SANDBOX_LEVEL ? 0 : 3);
    }
    close(pair[1]);
    if (read(pair[0], level, SANDBOX_LEVEL) != SANDBOX_LEVEL)
        level[0] = '\0';
    close(pair[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_less(void **state)
{
    char level[SANDBOX_LEVEL];

    (void)state;
    assert_int_equal(without_landlock(SETTINGS_SANDBOX_AUTO, level), 0);
    assert_string_equal(level, "seccomp");
    assert_int_equal(without_landlock(SETTINGS_SANDBOX_OFF, level), 0);
    assert_string_equal(level, "off");
    assert_int_equal(without_landlock(SETTINGS_SANDBOX_REQUIRED, level), 1);
}

int main(void)
{
#ifdef KMSD_SANITIZED
    (void)printf("[  SKIPPED ] test_sandbox: a build for sanitizers has no sandbox\n");
    return 0;
#endif
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_walls), cmocka_unit_test(test_off), cmocka_unit_test(test_other_modules), cmocka_unit_test(test_less)};

    return cmocka_run_group_tests(tests, make, clean);
}
