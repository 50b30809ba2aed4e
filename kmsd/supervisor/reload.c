/* SIGHUP: the doors read their certificate, CAs and limits anew, one process after the other taking over from itself. */
#include <signal.h>

#include "base/fsutil.h"
#include "base/log.h"
#include "kmsd/supervisor/instance.h"
#include "kmsd/supervisor/supervisor.h"

#define HAND_OVER_US INT64_C(15000000) /* a door that has not ended by then is ended */

static bool is_door(const struct child *c)
{
    return c->role == CHILD_FRONT_CI || c->role == CHILD_FRONT_ADMIN;
}

/* Files that a door would refuse must not cost the doors that work. What is wrong says the program itself. */
static int check_files(const struct supervisor *s, const struct child *c, struct err *e)
{
    char program[PATH_MAX];
    const char *argv[] = {program, "--settings", s->settings.file, "--door", "ci", "--check", NULL};
    int code;

    if (program_path("kmsd-front", true, program, sizeof program, e))
        return -1;
    code = program_run_as(argv, &c->account, NULL, e);
    return code ? code < 0 ? -1 : err_set(e, ERR_BAD_REQUEST, "the doors go on with the files that they have") : 0;
}

void reload_doors(struct supervisor *s)
{
    struct err e = {0};
    bool checked = false;

    for (unsigned n = 0; n < s->n_children && !s->stopping; n++) {
        struct child *c = &s->child[n];

        if (!is_door(c) || !c->pid || c->renew_by)
            continue;
        if (!checked && check_files(s, c, &e)) {
            log_line(LOG_LEVEL_ERROR, "reload", "text=\"%s\"", e.detail);
            return;
        }
        checked = true;
        c->renew_by = clock_boot_us() + HAND_OVER_US;
        log_child(LOG_LEVEL_INFO, c, "told to hand over to a new process");
        kill(c->pid, SIGHUP);
    }
}

void reload_watch(struct supervisor *s, int64_t now)
{
    for (unsigned n = 0; n < s->n_children; n++)
        if (s->child[n].renew_by && now > s->child[n].renew_by && s->child[n].pid)
            kill(s->child[n].pid, SIGKILL);
}
