/* Which files a role can still reach after its start. */
#include <stdlib.h>
#include <string.h>

#include "base/fsutil.h"
#include "kmsd/sandbox/sandbox.h"

#define RW ((enum wall_access)(WALL_READ | WALL_WRITE))

static void add(struct walls *w, enum wall_access access, const char *path)
{
    if (!*path || w->n >= WALL_PATHS_MAX) /* the callers' sum is checked at the end */
        w->n += *path != '\0';
    else
        (void)!path_join(w->path[w->n].path, PATH_MAX, "/", path), w->path[w->n++].access = access;
}

/* The directory that a file is in. */
static void add_parent(struct walls *w, enum wall_access access, const char *file)
{
    char dir[PATH_MAX];
    const char *slash = strrchr(file, '/');

    if (!slash || slash == file)
        return;
    memcpy(dir, file, (size_t)(slash - file));
    dir[slash - file] = '\0';
    add(w, access, dir);
}

/* What libraries look at again, while they work. */
static void libraries(struct walls *w)
{
    static const char *const read[] = {"/usr/lib", "/usr/share/zoneinfo", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/etc/ssl/openssl.cnf",
                                       "/dev/null", "/dev/urandom", "/dev/random"};

    for (size_t n = 0; n < sizeof read / sizeof *read; n++)
        add(w, WALL_READ, read[n]);
}

/* A module that nobody described may need its daemon, its device, its state directory; programs, settings and homes it does not have to write. */
static void unknown_module(struct walls *w)
{
    static const char *const write[] = {"/run", "/var", "/tmp"};

    add(w, WALL_READ, "/");
    add(w, (enum wall_access)(RW | WALL_DEVICE), "/dev");
    for (size_t n = 0; n < sizeof write / sizeof *write; n++)
        add(w, (enum wall_access)(RW | WALL_DEVICE), write[n]);
    w->network = w->abstract = true;
}

/* SoftHSM, and whose files we know: it is its own directory that it reads and writes. */
static bool known(const struct token_settings *t)
{
    const char *slash = strrchr(t->module, '/');

    return t->softhsm_conf[0] && t->sync[0] && !strncmp(slash ? slash + 1 : t->module, "libsofthsm2", 11);
}

static void credential(struct walls *w, const char *name)
{
    const char *dir = getenv("CREDENTIALS_DIRECTORY");
    char path[PATH_MAX];

    if (dir && *name && !path_join(path, sizeof path, dir, name))
        add(w, WALL_READ, path);
}

static void token(struct walls *w, const struct token_settings *t)
{
    credential(w, t->pin_credential);
    add(w, WALL_READ, t->module);
    add(w, WALL_READ, t->pin_file); /* a login that the token forgot is renewed */
    add(w, WALL_READ, t->softhsm_conf);
    add(w, RW, t->sync);
    for (unsigned n = 0; n < t->n_paths; n++)
        add(w, (enum wall_access)(RW | WALL_DEVICE), t->paths[n]);
    if (t->n_paths)
        w->network = w->abstract = true; /* whoever names files has a module of another kind */
    else if (!known(t))
        unknown_module(w);
}

static void lane(struct walls *w, const struct settings *s, bool admin)
{
    libraries(w);
    token(w, &s->keys);
    if (admin)
        token(w, &s->checkpoint);
    add(w, WALL_READ, s->client_ca[0]);
    add_parent(w, RW, s->tokens_lock); /* the mark of a refused PIN */
}

/* Beneath a directory that is made later nothing could be allowed: what the core will write into exists now. */
static void core(struct walls *w, const struct settings *s)
{
    struct err e = {0};

    add(w, RW, s->audit_dir);
    if (!dir_make(s->snapshots_dir, 0750, &e))
        add(w, RW, s->snapshots_dir);
    add_parent(w, RW, s->anchor);
}

/* Beside the log it has the directory of its index, and no other. */
static void reader(struct walls *w, const struct settings *s)
{
    add(w, WALL_READ, s->audit_dir);
    add_parent(w, RW, s->index);
}

int walls_of(enum sandbox_role role, const struct settings *s, struct walls *w, struct err *e)
{
    memset(w, 0, sizeof *w);
    switch (role) {
    case SANDBOX_CORE: core(w, s); break;
    case SANDBOX_LANE_SIGN: lane(w, s, false); break;
    case SANDBOX_LANE_ADMIN: lane(w, s, true); break;
    case SANDBOX_READER: reader(w, s); break;
    case SANDBOX_FRONT:
    case SANDBOX_HEALTH:
    case SANDBOX_SUPERVISOR: break;
    }
    return w->n > WALL_PATHS_MAX ? err_set(e, ERR_BAD_REQUEST, "more paths than the sandbox takes (%d)", WALL_PATHS_MAX) : 0;
}
