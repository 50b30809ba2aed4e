/* Finds and takes on the accounts of the settings. */
#include "kmsd/supervisor/account.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

static const char *name_of(const struct settings *s, enum child_role role)
{
    switch (role) {
    case CHILD_CORE: return s->user_core;
    case CHILD_FRONT_CI:
    case CHILD_FRONT_ADMIN:
    case CHILD_FRONT_HEALTH: return s->user_front;
    case CHILD_LANE_ADMIN:
    case CHILD_LANE_SIGN: return s->user_token;
    case CHILD_READER: return *s->user_reader ? s->user_reader : s->user_core;
    }
    return "";
}

int account_of(const struct settings *s, enum child_role role, struct account *out, struct err *e)
{
    const char *name = name_of(s, role);
    struct passwd entry, *found = NULL;
    char text[4096];

    *out = (struct account){0};
    if (!*name)
        return 0;
    if (geteuid())
        return err_set(e, ERR_BAD_REQUEST, "users names the account %s, but only root can start processes as others; "
                                            "start kmsd as root, or take users out of the settings", name);
    if (getpwnam_r(name, &entry, text, sizeof text, &found) || !found)
        return err_set(e, ERR_BAD_REQUEST, "users: there is no account %s", name);
    if (!found->pw_uid)
        return err_set(e, ERR_BAD_REQUEST, "users: %s is root; name an account without its powers", name);
    *out = (struct account){true, found->pw_uid, found->pw_gid};
    return 0;
}

int account_become(const struct account *a)
{
    if (!a->set)
        return 0;
    return setgroups(0, NULL) || setresgid(a->gid, a->gid, a->gid) || setresuid(a->uid, a->uid, a->uid) ? -1 : 0;
}

int account_enter(const struct account *a, struct err *e)
{
    if (!a->set)
        return 0;
    if (setegid(a->gid))
        return err_errno(e, ERR_INTERNAL, errno, "becoming the user with number %u", (unsigned)a->uid);
    if (!seteuid(a->uid))
        return 0;
    err_errno(e, ERR_INTERNAL, errno, "becoming the user with number %u", (unsigned)a->uid);
    account_leave(a);
    return -1;
}

/* What follows relies on being root again. */
void account_leave(const struct account *a)
{
    if (a->set && (seteuid(getuid()) || setegid(getgid())))
        abort();
}
