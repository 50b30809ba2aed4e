/* The login: one try of the PIN at a time, never one that the token cannot use. */
#include <stdio.h>
#include <time.h>

#include "base/fsutil.h"
#include "base/log.h"
#include "kmsd/token/object.h"

static int pin_refused(const struct token *t, struct fault *f)
{
    return fault_set(f, LANE_HUMAN, "token %s refused the PIN in %s; one attempt was made and no other will be; put the right PIN there "
                                    "(mode 0600), then run kmsd unseal",
                     settings_token_name(t->settings), settings_pin_place(t->settings));
}

int token_pin_pending(const struct token_settings *s, char *out, size_t size)
{
    int n = snprintf(out, size, "%s.new", s->pin_file);

    return n > 0 && (size_t)n < size ? 0 : -1;
}

/* While a change of the PIN has not come to its end nobody can tell which one the token has. */
static int read_pin(const struct token *t, struct secret *pin, struct fault *f)
{
    const struct token_settings *s = t->settings;
    char pending[PATH_MAX];
    struct err e = {0};

    if (*s->pin_file && !token_pin_pending(s, pending, sizeof pending) && file_exists(pending)) {
        fault_set(f, LANE_HUMAN, "a change of the PIN of token %s was interrupted; stop the service and run kmsd change-pin again",
                  settings_token_name(s));
        f->untried = true;
        return -1;
    }
    if (!(*s->pin_credential ? secret_read_credential(pin, s->pin_credential, &e) : secret_read_file(pin, s->pin_file, &e)))
        return 0;
    fault_err(f, LANE_HUMAN, &e);
    f->untried = true;
    return -1;
}

static CK_RV libp11_rv(void)
{
    unsigned long code = ERR_peek_last_error();

    return ERR_GET_LIB(code) == ERR_get_CKR_code() ? (CK_RV)ERR_GET_REASON(code) : CKR_FUNCTION_FAILED;
}

/* What the token says when it must do something. Before there is a session of ours libp11's is asked. */
static CK_RV ask(struct token *t)
{
    uint8_t byte;

    if (!(t->info.flags & CKF_RNG))
        return CKR_RANDOM_NO_RNG;
    if (t->session)
        return t->f->C_GenerateRandom(t->session, &byte, 1);
    ERR_clear_error();
    return PKCS11_generate_random(t->slot, &byte, 1) ? libp11_rv() : CKR_OK;
}

static bool is_away(CK_RV rv)
{
    struct fault f;

    fault_class(&f, rv);
    return f.class == LANE_TOKEN && f.heal == HEAL_NONE;
}

/* No try of the PIN for a token that does not answer. */
static int answers(struct token *t, CK_RV *answer, struct fault *f)
{
    *answer = ask(t);
    return is_away(*answer) ? fault_rv(f, *answer, "C_GenerateRandom") : 0;
}

/* A module whose token goes away during C_Login may call the PIN wrong. Only where the token answered before is that believed: otherwise a refusal
 * is a refusal. */
static int not_logged_in(struct token *t, CK_RV rv, CK_RV answered, struct fault *f)
{
    fault_rv(f, rv, "C_Login");
    if (f->class != LANE_HUMAN)
        return -1;
    if (answered == CKR_OK && is_away(ask(t)))
        return fault_set(f, LANE_TOKEN, "token %s went away during the login", settings_token_name(t->settings));
    return pin_refused(t, f);
}

/* CKR_OK also when somebody is logged in already: a login belongs to the application. */
static CK_RV libp11_login(struct token *t, const struct secret *pin)
{
    CK_RV rv;

    ERR_clear_error();
    if (!PKCS11_login(t->slot, 0, (const char *)pin->data))
        return CKR_OK;
    rv = libp11_rv();
    return rv == CKR_USER_ALREADY_LOGGED_IN ? CKR_OK : rv;
}

static int no_pin_set(const struct token *t, struct fault *f)
{
    fault_rv(f, CKR_USER_PIN_NOT_INITIALIZED, "C_Login");
    return fault_set(f, LANE_HUMAN, "token %s has no user PIN; have the security officer set one, write it to %s, then run kmsd unseal",
                     settings_token_name(t->settings), settings_pin_place(t->settings));
}

/* libp11's session comes first: a change of mode later would close every session. It keeps a copy of the PIN on its heap until the process
 * ends; the process is not dumpable. CKR_USER_PIN_NOT_INITIALIZED checked no PIN: the file of a token that another process just rewrites
 * shows it, so it gets a second look, under the lock of the start only. */
int token_login(struct token *t, struct fault *f)
{
    static const struct timespec pause = {.tv_nsec = 50000000};
    SECRET_AUTO pin = {0};
    CK_RV rv, answered;

    if (read_pin(t, &pin, f) || token_may_try_pin(t, f))
        return -1;
    if (PKCS11_open_session(t->slot, 1))
        return fault_rv(f, libp11_rv(), "PKCS11_open_session");
    if (answers(t, &answered, f))
        return -1;
    rv = libp11_login(t, &pin);
    if (rv == CKR_USER_PIN_NOT_INITIALIZED) {
        (void)nanosleep(&pause, NULL);
        if (token_may_try_pin(t, f))
            return -1;
        rv = libp11_login(t, &pin);
        if (rv == CKR_USER_PIN_NOT_INITIALIZED)
            return no_pin_set(t, f);
    }
    if (rv != CKR_OK)
        return not_logged_in(t, rv, answered, f);
    t->epoch++;
    return token_session(t, f);
}

/* The PIN is read again instead of kept. The login reaches libp11's sessions too. */
static int renew(struct token *t, struct fault *f)
{
    SECRET_AUTO pin = {0};
    CK_SESSION_INFO info;
    CK_RV rv = t->f->C_GetSessionInfo(t->session, &info), answered;

    if (rv != CKR_OK)
        return fault_rv(f, rv, "C_GetSessionInfo");
    if (info.state == CKS_RW_USER_FUNCTIONS)
        return 0;
    if (read_pin(t, &pin, f) || token_may_try_pin(t, f) || answers(t, &answered, f))
        return -1;
    rv = t->f->C_Login(t->session, CKU_USER, pin.data, pin.len);
    if (rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN)
        return 0;
    if (rv != CKR_USER_PIN_NOT_INITIALIZED)
        return not_logged_in(t, rv, answered, f);
    fault_rv(f, rv, "C_Login"); /* seen without the lock of the start: a new process looks again under it */
    return fault_set(f, LANE_TOKEN, "token %s was being changed during the login", settings_token_name(t->settings));
}

int token_login_again(struct token *t, struct fault *f)
{
    t->epoch++; /* first: whatever fails below, no handle of before is used again */
    if (token_present(t, f) || token_fresh_session(t, f) || renew(t, f))
        return -1;
    log_line(LOG_LEVEL_WARNING, "token-login", "label=%s epoch=%u", settings_token_name(t->settings), t->epoch);
    return objects_read_keys(t, t->objects, f);
}
