/* Runs ssh-keygen over a request and unpacks what it prints. */
#include "client/sshsign.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/enc.h"
#include "base/fsutil.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/sshsig.h"

#define SSHSIGN_WAIT_US (120 * INT64_C(1000000)) /* somebody may have to find their security key */

extern char **environ;

int sshsign_message(const char *instance, const char *nonce, const char *method, const char *path, struct span body, struct buf *out, struct err *e)
{
    char hash[SHA256_HEX];

    sha256_hex(body.len ? body.data : (const uint8_t *)"", body.len, hash);
    JSON_AUTO *j = json_pack("{s:s, s:s, s:s, s:s, s:s}", "body_sha256", hash, "instance", instance, "method", method, "nonce", nonce, "path", path);
    if (!j)
        return err_set(e, ERR_INTERNAL, "the request cannot be written as JSON");
    json_canonical(out, j);
    return buf_ok(out) ? err_set(e, ERR_INTERNAL, "the request is too long to be signed") : 0;
}

struct child {
    pid_t pid;
    int in, out; /* our ends: its standard input and output */
};

static int spawn_keygen(const char *key_file, const int to[2], const int from[2], pid_t *pid)
{
    char prog[] = "ssh-keygen", q[] = "-q", y[] = "-Y", sign[] = "sign", n[] = "-n", ns[] = SSHSIGN_NAMESPACE, f[] = "-f";
    char *key = strdup(key_file);
    char *const argv[] = {prog, q, y, sign, n, ns, f, key, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t pipe_only;
    int rc;

    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    if (!key || posix_spawn_file_actions_init(&actions))
        return free(key), ENOMEM;
    if (posix_spawnattr_init(&attr))
        return posix_spawn_file_actions_destroy(&actions), free(key), ENOMEM;
    posix_spawn_file_actions_adddup2(&actions, to[0], 0);
    posix_spawn_file_actions_adddup2(&actions, from[1], 1);
    posix_spawnattr_setsigdefault(&attr, &pipe_only);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF);
    rc = posix_spawnp(pid, prog, &actions, &attr, argv, environ);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&actions);
    free(key);
    return rc;
}

static int start(const char *key_file, struct child *c, struct err *e)
{
    int to[2], from[2], rc;

    if (pipe2(to, O_CLOEXEC))
        return err_errno(e, ERR_INTERNAL, errno, "pipe");
    if (pipe2(from, O_CLOEXEC)) {
        rc = errno;
        close(to[0]);
        close(to[1]);
        return err_errno(e, ERR_INTERNAL, rc, "pipe");
    }
    rc = spawn_keygen(key_file, to, from, &c->pid);
    close(to[0]);
    close(from[1]);
    if (rc) {
        close(to[1]);
        close(from[0]);
        return err_errno(e, ERR_INTERNAL, rc, "ssh-keygen (of OpenSSH 8.2 or newer) cannot be started");
    }
    c->in = to[1];
    c->out = from[0];
    return 0;
}

/* Everything the child prints until it closes, within the deadline. */
static int drain(int fd, struct buf *out, struct err *e)
{
    int64_t deadline = clock_boot_us() + SSHSIGN_WAIT_US;

    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int64_t left = (deadline - clock_boot_us()) / 1000;
        uint8_t chunk[1024];
        ssize_t n;

        if (left <= 0)
            return err_set(e, ERR_INTERNAL, "ssh-keygen did not sign in time");
        if (poll(&p, 1, (int)left) <= 0)
            continue;
        n = read(fd, chunk, sizeof(chunk));
        if (n == 0)
            return buf_ok(out) ? err_set(e, ERR_INTERNAL, "ssh-keygen printed too much") : 0;
        if (n < 0 && errno != EINTR)
            return err_errno(e, ERR_INTERNAL, errno, "reading from ssh-keygen");
        if (n > 0)
            buf_put(out, chunk, (size_t)n);
    }
}

/* The message is shorter than a pipe holds, so this does not block. */
static void feed(int fd, struct span message)
{
    while (message.len) {
        ssize_t n = write(fd, message.data, message.len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        message.data += n;
        message.len -= (size_t)n;
    }
}

static int run(const char *key_file, struct span message, struct buf *armour, struct err *e)
{
    struct child c;
    int status = 0, failed;

    if (start(key_file, &c, e))
        return -1;
    feed(c.in, message);
    close(c.in);
    failed = drain(c.out, armour, e);
    close(c.out);
    if (failed)
        kill(c.pid, SIGKILL);
    while (waitpid(c.pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (!failed && (!WIFEXITED(status) || WEXITSTATUS(status) != 0))
        failed = err_set(e, ERR_SIGNATURE_REQUIRED,
                         "ssh-keygen could not sign with %s (its message is above); for a key in an agent give the .pub file", key_file);
    return failed;
}

int sshsign_sign(const char *key_file, struct span message, struct buf *base64, struct err *e)
{
    BUF_AUTO armour = BUF_INIT(16 << 10);
    BUF_AUTO blob = BUF_INIT(SSHSIG_MAX);

    if (run(key_file, message, &armour, e))
        return -1;
    if (sshsig_dearmor(buf_span(&armour), &blob, e))
        return err_context(e, "ssh-keygen");
    b64_encode(base64, blob.data, blob.len);
    return buf_ok(base64) ? err_set(e, ERR_INTERNAL, "the SSH signature is too long") : 0;
}
