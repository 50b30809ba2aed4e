/* C_InitToken, C_InitPIN through the function list: the tools that do it take the PIN in argv, where every process can read it. */
#include "kmsd/token/tokeninit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "kmsd/token/softhsmconf.h"

#define SLOTS_MAX 64

int dirs_make(const char *path, bool dir, struct fault *f)
{
    char part[PATH_MAX];
    struct err e = {0};
    size_t len = strlen(path);

    if (len >= sizeof part)
        return fault_set(f, LANE_TOKEN, "a path is too long");
    memcpy(part, path, len + 1);
    for (char *slash = part + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
        *slash = 0;
        if (dir_make(part, 0700, &e))
            return fault_err(f, LANE_TOKEN, &e);
    }
    return dir && dir_make(part, 0700, &e) ? fault_err(f, LANE_TOKEN, &e) : 0;
}

static int write_conf(const struct token_settings *s, struct fault *f)
{
    BUF_AUTO text = BUF_INIT(16384);
    struct err e = {0};

    if (!*s->softhsm_conf)
        return 0;
    if (!*s->sync)
        return fault_set(f, LANE_TOKEN, "token %s: sync must name the directory of the SoftHSM tokens", s->label);
    if (dirs_make(s->softhsm_conf, false, f) || dirs_make(s->sync, true, f))
        return -1;
    if (file_exists(s->softhsm_conf))
        return 0;
    softhsm_conf(&text, s->sync);
    if (buf_ok(&text))
        return fault_set(f, LANE_TOKEN, "out of memory");
    return file_write_atomic(s->softhsm_conf, text.data, text.len, 0600, &e) ? fault_err(f, LANE_TOKEN, &e) : 0;
}

/* Calls see for every slot with a token until it says stop (1). 1 = stopped, *slot is it; 0 = seen all. */
static int each_token(const struct token *t, int (*see)(const CK_TOKEN_INFO *info, const char *label), const char *label, CK_SLOT_ID *slot,
                      struct fault *f)
{
    CK_SLOT_ID list[SLOTS_MAX];
    CK_ULONG n = SLOTS_MAX;
    CK_RV rv = t->f->C_GetSlotList(CK_TRUE, list, &n);

    if (rv != CKR_OK)
        return fault_rv(f, rv, "C_GetSlotList");
    for (CK_ULONG k = 0; k < n; k++) {
        CK_TOKEN_INFO info;

        rv = t->f->C_GetTokenInfo(list[k], &info);
        if (rv != CKR_OK || !see(&info, label))
            continue;
        *slot = list[k];
        return 1;
    }
    return 0;
}

static void pad_label(const char *label, CK_UTF8CHAR out[static TOKEN_LABEL_LEN])
{
    size_t len = strnlen(label, TOKEN_LABEL_LEN);

    memset(out, ' ', TOKEN_LABEL_LEN);
    memcpy(out, label, len);
}

static int has_label(const CK_TOKEN_INFO *info, const char *label)
{
    CK_UTF8CHAR padded[TOKEN_LABEL_LEN];

    pad_label(label, padded);
    return info->flags & CKF_TOKEN_INITIALIZED && !memcmp(info->label, padded, sizeof padded);
}

static int is_fresh(const CK_TOKEN_INFO *info, const char *label)
{
    (void)label;
    return !(info->flags & CKF_TOKEN_INITIALIZED);
}

int token_prepare(const struct token_settings *s, struct fault *f)
{
    TOKEN_AUTO t = {0};
    CK_SLOT_ID slot;
    int found;

    if (!*s->label || !*s->pin_file)
        return fault_set(f, LANE_INPUT, "setup makes tokens by their label and writes the PIN to pin_file; uri and pin_credential are for tokens that exist");
    if (file_exists(s->pin_file))
        return fault_set(f, LANE_INPUT, "%s exists already; setup prepares a new instance and touches no other", s->pin_file);
    if (dirs_make(s->pin_file, false, f) || write_conf(s, f) || token_module(&t, s, f))
        return -1;
    found = each_token(&t, has_label, s->label, &slot, f);
    if (found > 0)
        return fault_set(f, LANE_INPUT, "a token labelled %s exists already; setup prepares a new instance and touches no other", s->label);
    return found;
}

int pin_write(const char *path, const struct secret *pin, struct fault *f)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool ok;

    if (fd < 0)
        return fault_set(f, LANE_TOKEN, "%s cannot be created: %s%s", path, strerror(errno),
                         errno == EACCES ? "; its folder must be one that the account of the tokens may write to" : "");
    ok = write(fd, pin->data, pin->len) == (ssize_t)pin->len && write(fd, "\n", 1) == 1 && !fsync(fd);
    if (close(fd) || !ok) {
        (void)unlink(path);
        return fault_set(f, LANE_TOKEN, "%s cannot be written", path);
    }
    return 0;
}

static int set_pin(struct token *t, const struct secret *officer, const struct secret *pin, struct fault *f)
{
    CK_SLOT_ID slot;
    CK_RV rv;

    if (each_token(t, has_label, t->settings->label, &slot, f) <= 0) /* initialising may move a token to another slot */
        return fault_set(f, LANE_TOKEN, "the token %s is not there after its initialisation", t->settings->label);
    rv = t->f->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &t->session);
    if (rv != CKR_OK)
        return fault_rv(f, rv, "C_OpenSession");
    rv = t->f->C_Login(t->session, CKU_SO, officer->data, officer->len);
    if (rv != CKR_OK)
        return fault_rv(f, rv, "C_Login");
    rv = t->f->C_InitPIN(t->session, pin->data, pin->len);
    (void)t->f->C_Logout(t->session);
    return rv == CKR_OK ? 0 : fault_rv(f, rv, "C_InitPIN");
}

static int init_fresh(const struct token_settings *s, const struct secret *officer, const struct secret *pin, struct fault *f)
{
    TOKEN_AUTO t = {0};
    CK_UTF8CHAR label[TOKEN_LABEL_LEN];
    CK_SLOT_ID slot;
    CK_RV rv;
    int found;

    if (token_module(&t, s, f))
        return -1;
    found = each_token(&t, is_fresh, NULL, &slot, f);
    if (found <= 0)
        return found ? -1 : fault_set(f, LANE_TOKEN, "the module %s has no token that is not initialised yet", s->module);
    pad_label(s->label, label);
    rv = t.f->C_InitToken(slot, officer->data, officer->len, label);
    return rv == CKR_OK ? set_pin(&t, officer, pin, f) : fault_rv(f, rv, "C_InitToken");
}

int token_init(const struct token_settings *s, struct fault *f)
{
    SECRET_AUTO pin = {0};
    SECRET_AUTO officer = {0};
    struct err e = {0};

    if (secret_random_text(&pin, PIN_LEN, &e) || secret_random_text(&officer, PIN_LEN, &e))
        return fault_err(f, LANE_TOKEN, &e);
    if (pin_write(s->pin_file, &pin, f))
        return -1;
    if (!init_fresh(s, &officer, &pin, f))
        return 0;
    (void)unlink(s->pin_file);
    return fault_context(f, "token %s", s->label);
}
