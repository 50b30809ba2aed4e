/* Starts, watches and stops the daemon of a development server. */
#include "kmsd/supervisor/devserver.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "base/num.h"
#include "kmsd/supervisor/instance.h"

enum { READY_MS = 60000, STOP_MS = 15000, STEP_MS = 50, ENDING_MS = 2000 /* a killed daemon holds its lock until the kernel has taken it apart */ };

static int notify_socket(char *path, size_t size, const struct devserver *d, struct err *e)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    BUF_AUTO name = BUF_INIT(sizeof a.sun_path - 1);

    buf_printf(&name, "@kmsd-dev-%d", (int)getpid());
    (void)d;
    memcpy(a.sun_path + 1, name.data + 1, name.len - 1);
    if (fd < 0 || name.len >= size || bind(fd, (struct sockaddr *)&a, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + name.len)))
        return err_errno(e, ERR_INTERNAL, errno, "the readiness socket");
    memcpy(path, name.data, name.len + 1);
    return fd;
}

static void exec_daemon(const struct devserver *d, const char *notify, const char *program, const char *log)
{
    char settings[PATH_MAX];
    struct err e;
    int fd;

    if (setenv("NOTIFY_SOCKET", notify, 1) || dev_path(d, "kmsd.yaml", settings, sizeof settings, &e))
        _exit(127);
    if (d->detach) {
        fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
        if (fd < 0 || dup2(fd, STDERR_FILENO) < 0 || dup2(fd, STDOUT_FILENO) < 0 || setsid() < 0 || chdir("/"))
            _exit(127);
        fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (fd < 0 || dup2(fd, STDIN_FILENO) < 0)
            _exit(127);
    } else if (prctl(PR_SET_PDEATHSIG, SIGTERM)) {
        _exit(127);
    }
    execl(program, program, "run", "--settings", settings, "--allow-dev", (char *)NULL);
    _exit(127);
}

/* Waits until everything works. What is missing by then is the error. */
static int await_ready(int fd, pid_t pid, struct err *e)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char text[512] = "", *status = NULL;

    for (int waited = 0; waited < READY_MS; waited += STEP_MS) {
        int end, n = poll(&p, 1, STEP_MS);
        ssize_t got = n > 0 ? recv(fd, text, sizeof text - 1, 0) : 0;

        if (got > 0) {
            text[got] = '\0';
            status = strstr(text, "STATUS=");
            if (status && !strcmp(status, "STATUS=ready\n"))
                return 0;
            if (status && strstr(status, "PIN"))
                break; /* waiting cures that not */
        }
        if (waitpid(pid, &end, WNOHANG) == pid)
            return err_set(e, ERR_INTERNAL, "the daemon ended while it started; its messages say why");
    }
    kill(pid, SIGTERM);
    if (status)
        return err_set(e, ERR_INTERNAL, "the daemon does not become ready: %.*s", (int)strcspn(status + 7, "\n"), status + 7);
    return err_set(e, ERR_INTERNAL, "the daemon is not ready after %d seconds", READY_MS / 1000);
}

static int write_pid(const struct devserver *d, pid_t pid, struct err *e)
{
    char path[PATH_MAX];
    BUF_AUTO b = BUF_INIT(32);

    buf_printf(&b, "%d\n", (int)pid);
    return dev_path(d, "kmsd.pid", path, sizeof path, e) || file_write_atomic(path, b.data, b.len, 0644, e) ? -1 : 0;
}

/* The daemon holds DIR/lock with its pid in it; a lock that is free means that nobody runs. */
static pid_t running(const struct devserver *d, int wait_ms)
{
    char path[PATH_MAX];
    BUF_AUTO text = BUF_INIT(64);
    struct err e = {0};
    uint64_t pid;
    int fd;

    if (dev_path(d, "lock", path, sizeof path, &e) || file_read(path, &text, &e))
        return 0;
    fd = lock_file(path, wait_ms, &e);
    if (fd >= 0)
        close(fd);
    return fd < 0 && text.len > 1 && !num_parse_u64(buf_str(&text), text.len - 1, 2, INT_MAX, &pid) ? (pid_t)pid : 0;
}

pid_t dev_start(struct devserver *d, struct err *e)
{
    char notify[108], program[PATH_MAX], log[PATH_MAX];
    pid_t pid = running(d, ENDING_MS);
    int fd;

    /* Asked before anything is written: DIR/kmsd.pid belongs to the one that runs. */
    if (pid)
        return err_set(e, ERR_BUSY, "process %d runs in %s already; kmsd dev --dir %s --stop stops it", (int)pid, d->dir, d->dir);
    fd = notify_socket(notify, sizeof notify, d, e);
    if (fd < 0 || program_path("kmsd", false, program, sizeof program, e) || dev_path(d, "kmsd.log", log, sizeof log, e))
        return -1;
    pid = fork();
    if (pid == 0)
        exec_daemon(d, notify, program, log);
    if (pid < 0 || write_pid(d, pid, e) || await_ready(fd, pid, e)) {
        if (d->detach && e->code)
            err_context(e, "%s", log);
        close(fd);
        return -1;
    }
    close(fd);
    return pid;
}

static volatile sig_atomic_t told;

static void on_signal(int sig)
{
    told = sig;
}

int dev_wait(pid_t pid)
{
    const struct sigaction sa = {.sa_handler = on_signal};
    int status;

    (void)sigaction(SIGTERM, &sa, NULL);
    (void)sigaction(SIGINT, &sa, NULL);
    while (waitpid(pid, &status, 0) < 0)
        if (errno == EINTR && told)
            kill(pid, SIGTERM);
        else if (errno != EINTR)
            return 1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int dev_stop(struct devserver *d, struct err *e)
{
    pid_t pid = running(d, 0);

    if (!pid)
        return err_set(e, ERR_NOT_FOUND, "no development server runs in %s", d->dir);
    if (kill(pid, SIGTERM))
        return err_errno(e, ERR_INTERNAL, errno, "pid %d", (int)pid);
    for (int waited = 0; waited < STOP_MS; waited += STEP_MS) {
        poll(NULL, 0, STEP_MS);
        if (kill(pid, 0))
            return 0;
        if (running(d, 0) != pid)
            return 0;
    }
    return err_set(e, ERR_BUSY, "pid %d did not end within %d seconds", (int)pid, STOP_MS / 1000);
}
