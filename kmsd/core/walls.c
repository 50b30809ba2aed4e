/* How well the processes of this instance are confined: as well as the one that is confined least. */
#include <string.h>

#include "kmsd/core/internal.h"

/* "seccomp+landlock7" before "seccomp+landlock1", both before one of the two, before "none", before "off". */
static unsigned strength(const char *level)
{
    const char *landlock = strstr(level, "landlock");
    unsigned version = 0;

    for (const char *p = landlock ? landlock + 8 : ""; *p >= '0' && *p <= '9' && version < 100; p++)
        version = version * 10 + (unsigned)(*p - '0');
    return (strcmp(level, "off") ? 1u : 0u) + (strstr(level, "seccomp") ? 2000u : 0u) + (landlock ? 1000u + version : 0u);
}

void walls_note(struct core *c, const char *level)
{
    if (!c->sandbox[0] || strength(level) < strength(c->sandbox))
        memcpy(c->sandbox, level, strlen(level) + 1);
}

void walls_hello(struct core *c, const struct frame *f)
{
    char level[SANDBOX_TEXT];

    walls_note(c, frame_text(f, TAG_SANDBOX, level, sizeof level) ? "off" : level);
}
