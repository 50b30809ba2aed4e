/* C_SetPIN through the function list, with both PINs in files until it is clear which one the token has. */
#include "kmsd/token/changepin.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "kmsd/token/latch.h"
#include "kmsd/token/p11.h"
#include "kmsd/token/softhsmkeep.h"
#include "kmsd/token/tokeninit.h"

#define LOCK_WAIT_MS 30000

struct change {
    const struct token_settings *settings;
    bool credential;           /* the old PIN is one; the new one stays where it is written first */
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

static bool same(const struct secret *a, const struct secret *b)
{
    return a->len == b->len && !CRYPTO_memcmp(a->data, b->data, a->len);
}

/* What an earlier run wrote, where it was not cut short: then the token never heard of it. A file that somebody named is nobody's to remove. */
static int resume(struct change *c, struct fault *f)
{
    struct err e = {0};
    struct stat st;

    if (lstat(c->pending, &st))
        return errno == ENOENT ? 0 : fault_set(f, LANE_INPUT, "%s: %s", c->pending, strerror(errno));
    if (S_ISREG(st.st_mode) && st.st_size == PIN_LEN + 1) {
        if (secret_read_file(&c->new, c->pending, &e))
            return fault_err(f, LANE_INPUT, &e);
        c->resumed = !same(&c->old, &c->new);
        if (c->resumed)
            return 0;
        secret_free(&c->new);
        if (c->credential)
            return fault_set(f, LANE_INPUT, "%s holds the PIN of the credential %s already: remove it, or name another file with --write", c->pending,
                             c->settings->pin_credential);
    } else if (c->credential) {
        return fault_set(f, LANE_INPUT, "%s is there and holds no PIN of an interrupted change: remove it, or name another file with --write", c->pending);
    }
    return unlink(c->pending) ? fault_set(f, LANE_TOKEN, "%s: %s", c->pending, strerror(errno)) : 0;
}

/* The new PIN is on disk before the token hears of it. */
static int prepare(struct change *c, struct fault *f)
{
    const struct token_settings *s = c->settings;
    struct err e = {0};

    if (c->credential ? secret_read_credential(&c->old, s->pin_credential, &e) : secret_read_file(&c->old, s->pin_file, &e))
        return fault_err(f, LANE_INPUT, &e);
    if (resume(c, f))
        return -1;
    if (c->resumed)
        return 0;
    if (secret_random_text(&c->new, PIN_LEN, &e))
        return fault_err(f, LANE_INPUT, &e);
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
    else if (rv != CKR_PIN_INCORRECT && !c->resumed && login(t, &c->old) == CKR_OK) {
        (void)unlink(c->pending);
        fault_rv(f, rv, "C_SetPIN");
        return fault_set(f, LANE_INPUT, "token %s takes no other PIN; nothing was changed", settings_token_name(c->settings));
    }
    if (rv == CKR_OK)
        return 0;
    fault_rv(f, rv, "C_SetPIN");
    if (f->class != LANE_HUMAN)
        return fault_set(f, f->class, "token %s failed while its PIN was changed, and which one it has is not known: run the command again",
                         settings_token_name(c->settings));
    if (rv == CKR_PIN_INCORRECT && !c->resumed) {
        (void)unlink(c->pending);
        return fault_set(f, LANE_HUMAN, "token %s refuses the PIN in %s; nothing was changed; put the right one there, then run kmsd unseal",
                         settings_token_name(c->settings), settings_pin_place(c->settings));
    }
    return fault_set(f, LANE_HUMAN, "token %s takes neither the PIN in %s nor that in %s: put the right one into the first, remove the second, then run "
                                     "kmsd unseal",
                     settings_token_name(c->settings), settings_pin_place(c->settings), c->pending);
}

static int change(struct change *c, struct fault *f)
{
    softhsm_keep(c->settings);
    if (token_module(&c->token, c->settings, f) || token_find(&c->token, f) || token_may_try_pin(&c->token, f) || prepare(c, f) ||
        token_session(&c->token, f) || set(c, f))
        return -1;
    softhsm_sync(c->settings);
    if (!c->credential && rename(c->pending, c->settings->pin_file))
        return fault_set(f, LANE_TOKEN, "%s cannot take the place of %s: %s", c->pending, c->settings->pin_file, strerror(errno));
    if (sync_parent(c->pending, f))
        return -1;
    softhsm_keep(c->settings);
    return 0;
}

static int place(struct change *c, const char *write, struct fault *f)
{
    c->credential = !*c->settings->pin_file;
    if (c->credential != (write != NULL) || (write && *write != '/'))
        return fault_set(f, LANE_INPUT, "--write with the whole path of a file is for PINs that are credentials, and needed there");
    if (write ? path_join(c->pending, sizeof c->pending, "", write) : token_pin_pending(c->settings, c->pending, sizeof c->pending))
        return fault_set(f, LANE_INPUT, "the path of the PIN file is too long");
    return 0;
}

int changepin_run(const struct settings *s, const struct token_settings *t, const char *write, struct fault *f)
{
    struct change c = {.settings = t, .token.settings = t};
    struct err e = {0};
    int lock, bad;

    if (place(&c, write, f))
        return -1;
    lock = lock_file(s->tokens_lock, LOCK_WAIT_MS, &e);
    if (lock < 0)
        return fault_err(f, LANE_TOKEN, &e);
    bad = latch_after(s, latch_check(s, f) || change(&c, f), f);
    token_close(&c.token);
    secret_free(&c.old);
    secret_free(&c.new);
    (void)close(lock);
    return bad;
}
