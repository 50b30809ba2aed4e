/* Tells a service manager how it stands. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "kmsd/supervisor/supervisor.h"

void notify(const char *text)
{
    const char *path = getenv("NOTIFY_SOCKET");
    union {
        struct sockaddr any;
        struct sockaddr_un un;
    } a = {.un.sun_family = AF_UNIX};
    size_t n = path ? strlen(path) : 0;
    int fd;

    if (!n || n >= sizeof a.un.sun_path || (path[0] != '/' && path[0] != '@'))
        return;
    memcpy(a.un.sun_path, path, n);
    if (path[0] == '@')
        a.un.sun_path[0] = '\0';
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    (void)sendto(fd, text, strlen(text), MSG_NOSIGNAL, &a.any, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
    close(fd);
}
