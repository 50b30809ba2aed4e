/* C_SetPIN through the function list, with both PINs in files until it is clear which one the token has. */
#include "kmsd/token/changepin.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "kmsd/token/p11.h"
#include "kmsd/token/softhsmkeep.h"
#include "kmsd/token/tokeninit.h"

#define LOCK_WAIT_MS 30000

struct change {
    const struct token_settings *settings;
    char pending[PATH_MAX];
    bool resumed;              /* the new PIN was there already */
    struct secret old, new;
    struct token token;
};

static int sync_parent(const char *path, struct fault *f)
{
    char dir[PATH_MAX];
    struct err e = {0};
    char *slash;

    memcpy(dir, path, strlen(path) + 1);
    slash = strrchr(dir, '/');
    slash[slash == dir] = '\0';
    return dir_sync(dir, &e) ? fault_err(f, LANE_TOKEN, &e) : 0;
}

/* The new PIN is on disk before the token hears of it. */
static int prepare(struct change *c, struct fault *f)
{
    struct err e = {0};
    struct stat st;

    if (secret_read_file(&c->old, c->settings->pin_file, &e))
        return fault_err(f, LANE_HUMAN, &e);
    c->resumed = !stat(c->pending, &st) && st.st_size == PIN_LEN + 1;
    if (!c->resumed && file_exists(c->pending) && unlink(c->pending)) /* cut short: the token never heard of it */
        return fault_set(f, LANE_TOKEN, "%s: %s", c->pending, strerror(errno));
    if (c->resumed)
        return secret_read_file(&c->new, c->pending, &e) ? fault_err(f, LANE_HUMAN, &e) : 0;
    if (secret_random_text(&c->new, PIN_LEN, &e))
        return fault_err(f, LANE_HUMAN, &e);
    return pin_write(c->pending, &c->new, f) || sync_parent(c->pending, f) ? -1 : 0;
}

static CK_RV login(struct token *t, const struct secret *pin)
{
    CK_RV rv = t->f->C_Login(t->session, CKU_USER, pin->data, pin->len);

    if (rv == CKR_OK)
        (void)t->f->C_Logout(t->session);
    return rv;
}

/* One attempt with the old PIN; with the new one where that was refused and an earlier run may have come so far. */
static int set(struct change *c, struct fault *f)
{
    struct token *t = &c->token;
    CK_RV rv = t->f->C_SetPIN(t->session, c->old.data, c->old.len, c->new.data, c->new.len);

    if (rv == CKR_OK || (rv == CKR_PIN_INCORRECT && c->resumed))
        rv = login(t, &c->new);
    else if (!c->resumed && login(t, &c->old) == CKR_OK) {
        (void)unlink(c->pending);
        fault_rv(f, rv, "C_SetPIN");
        return fault_set(f, LANE_HUMAN, "token %s takes no other PIN; nothing was changed", settings_token_name(c->settings));
    }
    if (rv == CKR_OK)
        return 0;
    fault_rv(f, rv, "C_SetPIN");
    if (rv == CKR_PIN_INCORRECT && !c->resumed) {
        (void)unlink(c->pending);
        return fault_set(f, LANE_HUMAN, "token %s refuses the PIN in %s; nothing was changed", settings_token_name(c->settings),
                         c->settings->pin_file);
    }
    return fault_set(f, LANE_HUMAN, "token %s takes neither the PIN in %s nor that in %s: put the right one into the first, remove the second",
                     settings_token_name(c->settings), c->settings->pin_file, c->pending);
}

static int change(struct change *c, struct fault *f)
{
    softhsm_keep(c->settings);
    if (token_module(&c->token, c->settings, f) || token_find(&c->token, f) || token_may_try_pin(&c->token, f) || prepare(c, f) ||
        token_session(&c->token, f) || set(c, f))
        return -1;
    softhsm_sync(c->settings);
    if (rename(c->pending, c->settings->pin_file))
        return fault_set(f, LANE_TOKEN, "%s cannot take the place of %s: %s", c->pending, c->settings->pin_file, strerror(errno));
    if (sync_parent(c->pending, f))
        return -1;
    softhsm_keep(c->settings);
    return 0;
}

int changepin_run(const struct settings *s, const struct token_settings *t, struct fault *f)
{
    struct change c = {.settings = t, .token.settings = t};
    struct err e = {0};
    int lock, bad;

    if (!*t->pin_file)
        return fault_set(f, LANE_INPUT, "the PIN of token %s is a credential of the service manager: change it where that comes from",
                         settings_token_name(t));
    if (token_pin_pending(t, c.pending, sizeof c.pending))
        return fault_set(f, LANE_INPUT, "the path of the PIN file is too long");
    lock = lock_file(s->tokens_lock, LOCK_WAIT_MS, &e);
    if (lock < 0)
        return fault_err(f, LANE_TOKEN, &e);
    bad = change(&c, f);
    token_close(&c.token);
    secret_free(&c.old);
    secret_free(&c.new);
    (void)close(lock);
    return bad;
}
