/* Life of the token connection: login, session, healing. */
#include "kmsd/token/p11.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "kmsd/token/describe.h"
#include "kmsd/token/object.h"

/* libp11 enumerates nothing but slots here: its key enumeration fails as a whole on one Ed25519 key. */
int token_find(struct token *t, struct fault *f)
{
    unsigned hits = 0;

    t->ctx = PKCS11_CTX_new();
    if (!t->ctx || PKCS11_CTX_load(t->ctx, t->settings->module) || PKCS11_enumerate_slots(t->ctx, &t->slots, &t->n_slots))
        return fault_set(f, LANE_TOKEN, "the slots of the PKCS#11 module cannot be listed");
    for (unsigned n = 0; n < t->n_slots; n++) {
        const PKCS11_TOKEN *tok = t->slots[n].token;

        if (!tok || !tok->initialized || !tok->label || strcmp(tok->label, t->settings->label))
            continue;
        t->slot = &t->slots[n];
        hits++;
    }
    if (hits != 1)
        return fault_set(f, LANE_TOKEN, "%u tokens are labelled %s, exactly one must be; check tokens in kmsd.yaml", hits, t->settings->label);
    t->slot_id = PKCS11_get_slotid_from_slot(t->slot);
    if (t->slot->token->userPinLocked)
        return fault_set(f, LANE_HUMAN, "the PIN of token %s is locked; have the security officer reset it, write it to %s, then run kmsd unseal",
                         t->settings->label, t->settings->pin_file);
    if (t->slot->token->userPinFinalTry)
        return fault_set(f, LANE_HUMAN, "one try is left for the PIN of token %s and it is not spent unasked; log in by hand with the PIN of %s, "
                                        "then run kmsd unseal",
                         t->settings->label, t->settings->pin_file);
    return 0;
}

static int pin_refused(const struct token *t, struct fault *f)
{
    return fault_set(f, LANE_HUMAN, "token %s refused the PIN in %s; one attempt was made and no other will be; put the right PIN into that file "
                                    "(mode 0600), then run kmsd unseal",
                     t->settings->label, t->settings->pin_file);
}

static int open_session(struct token *t, struct fault *f)
{
    CK_RV rv = t->f->C_OpenSession(t->slot_id, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &t->session);

    if (rv == CKR_OK)
        return 0;
    t->session = 0;
    return fault_rv(f, rv, "C_OpenSession");
}

static CK_RV libp11_rv(void)
{
    unsigned long code = ERR_peek_last_error();

    return ERR_GET_LIB(code) == ERR_get_CKR_code() ? (CK_RV)ERR_GET_REASON(code) : CKR_FUNCTION_FAILED;
}

/* open_session comes first: a change of mode later would close every session. libp11 keeps a copy of the PIN on its heap
 * until the process ends; the process is not dumpable. */
int token_login(struct token *t, const struct secret *pin, struct fault *f)
{
    static const struct timespec pause = {.tv_nsec = 50000000};
    CK_RV rv;

    if (PKCS11_open_session(t->slot, 1))
        return fault_rv(f, libp11_rv(), "PKCS11_open_session");
    for (int attempt = 0;; attempt++) {
        ERR_clear_error();
        if (!PKCS11_login(t->slot, 0, (const char *)pin->data))
            break;
        rv = libp11_rv();
        if (rv == CKR_USER_ALREADY_LOGGED_IN)
            break;
        if (rv != CKR_USER_PIN_NOT_INITIALIZED || attempt) { /* that one checks no PIN: a token file just being rewritten shows it */
            fault_rv(f, rv, "C_Login");
            return f->class == LANE_HUMAN ? pin_refused(t, f) : -1;
        }
        (void)nanosleep(&pause, NULL);
    }
    t->epoch++;
    return open_session(t, f);
}

static int read_pin(const struct token *t, struct secret *pin, struct fault *f)
{
    struct err e = {0};

    if (!secret_read_file(pin, t->settings->pin_file, &e))
        return 0;
    fault_err(f, LANE_HUMAN, &e);
    f->untried = true;
    return -1;
}

int token_open(struct token *t, const struct token_settings *s, struct fault *f)
{
    SECRET_AUTO pin = {0};

    if (token_module(t, s, f) || token_find(t, f) || read_pin(t, &pin, f) || token_login(t, &pin, f))
        return -1;
    t->objects = objects_new();
    if (!t->objects)
        return fault_set(f, LANE_TOKEN, "out of memory");
    return objects_read(t, t->objects, f) ? -1 : describe_token(t, f);
}

void token_close(struct token *t)
{
    objects_free(t->objects);
    json_decref(t->description);
    if (t->slots)
        PKCS11_release_all_slots(t->ctx, t->slots, t->n_slots);
    if (t->f)
        (void)t->f->C_Finalize(NULL);
    if (t->ctx)
        PKCS11_CTX_free(t->ctx);
    *t = (struct token){0};
}

int token_fresh_session(struct token *t, struct fault *f)
{
    if (t->session)
        (void)t->f->C_CloseSession(t->session);
    return open_session(t, f);
}

/* The PIN is read again instead of kept. A login belongs to the application, so it reaches libp11's sessions too. */
static int login_again(struct token *t, struct fault *f)
{
    SECRET_AUTO pin = {0};
    CK_RV rv;

    if (token_fresh_session(t, f) || read_pin(t, &pin, f))
        return -1;
    rv = t->f->C_Login(t->session, CKU_USER, pin.data, pin.len);
    if (rv != CKR_OK && rv != CKR_USER_ALREADY_LOGGED_IN) {
        fault_rv(f, rv, "C_Login");
        return f->class == LANE_HUMAN ? pin_refused(t, f) : -1;
    }
    t->epoch++;
    log_line(LOG_LEVEL_WARNING, "token-login", "label=%s epoch=%u", t->settings->label, t->epoch);
    return objects_read(t, t->objects, f);
}

int token_retry(struct token *t, int (*op)(struct token *t, void *arg, struct fault *f), void *arg, struct fault *f)
{
    unsigned tried = 0;

    while (op(t, arg, f)) {
        enum fault_heal heal = f->heal;

        if (heal == HEAL_NONE || tried & 1U << heal)
            return -1;
        tried |= 1U << heal;
        if (heal == HEAL_LOGIN ? login_again(t, f) : token_fresh_session(t, f))
            return -1;
    }
    return 0;
}

int token_random(struct token *t, void *out, size_t len, struct fault *f)
{
    CK_RV rv = t->f->C_GenerateRandom(t->session, out, len);

    return rv == CKR_OK ? 0 : fault_rv(f, rv, "C_GenerateRandom");
}

int token_probe(struct token *t, struct fault *f)
{
    CK_SESSION_INFO info;
    CK_TOKEN_INFO token;
    uint8_t byte;
    CK_RV rv = t->f->C_GetSessionInfo(t->session, &info);

    if (rv != CKR_OK)
        return fault_rv(f, rv, "C_GetSessionInfo");
    if (info.state != CKS_RW_USER_FUNCTIONS)
        return fault_rv(f, CKR_USER_NOT_LOGGED_IN, "C_GetSessionInfo");
    rv = t->f->C_GetTokenInfo(t->slot_id, &token);
    if (rv != CKR_OK)
        return fault_rv(f, rv, "C_GetTokenInfo");
    return token_random(t, &byte, 1, f);
}

int token_sync(const struct token *t, struct fault *f)
{
    int fd, bad;

    if (!*t->settings->sync)
        return 0;
    fd = open(t->settings->sync, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fault_set(f, LANE_TOKEN, "the token directory %s cannot be opened: %s", t->settings->sync, strerror(errno));
    bad = syncfs(fd);
    (void)close(fd);
    return bad ? fault_set(f, LANE_TOKEN, "the token directory %s cannot be synced", t->settings->sync) : 0;
}
