/* Life of the token connection: sessions, healing. */
#include "kmsd/token/p11.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "kmsd/token/describe.h"
#include "kmsd/token/object.h"
#include "kmsd/token/softhsmkeep.h"

int token_session(struct token *t, struct fault *f)
{
    CK_RV rv = t->f->C_OpenSession(t->slot_id, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &t->session);

    t->sessions++;
    if (rv == CKR_OK)
        return 0;
    t->session = 0;
    return fault_rv(f, rv, "C_OpenSession");
}

int token_open(struct token *t, const struct token_settings *s, struct fault *f)
{
    softhsm_keep(s);
    if (token_module(t, s, f) || token_find(t, f) || token_login(t, f))
        return -1;
    softhsm_sync(s);
    t->objects = objects_new();
    if (!t->objects)
        return fault_set(f, LANE_TOKEN, "out of memory");
    ahead_allow(t);
    return objects_read_keys(t, t->objects, f) ? -1 : describe_token(t, f);
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
    ahead_drop(t);
    if (t->session)
        (void)t->f->C_CloseSession(t->session);
    return token_session(t, f);
}

int token_retry(struct token *t, int (*op)(struct token *t, void *arg, struct fault *f), void *arg, struct fault *f)
{
    unsigned tried = 0;

    while (op(t, arg, f)) {
        enum fault_heal heal = f->heal;

        if (heal == HEAL_NONE || tried & 1U << heal)
            return -1;
        tried |= 1U << heal;
        if (heal == HEAL_LOGIN ? token_login_again(t, f) : token_fresh_session(t, f))
            return -1;
    }
    return 0;
}

int token_random(struct token *t, void *out, size_t len, struct fault *f)
{
    CK_RV rv = t->f->C_GenerateRandom(t->session, out, len);

    return rv == CKR_OK ? 0 : fault_rv(f, rv, "C_GenerateRandom");
}

/* A module may answer from memory long after its token went away; an object it must look up. 1 = read, 0 = there is none. */
static int probe_object(struct token *t, struct fault *f)
{
    CK_OBJECT_CLASS class;
    CK_ATTRIBUTE a = {CKA_CLASS, &class, sizeof class};
    CK_RV rv;

    if (!t->objects || !t->objects->n || t->objects->epoch != t->epoch)
        return 0;
    rv = t->f->C_GetAttributeValue(t->session, t->objects->list[0].handle, &a, 1);
    return rv == CKR_OK ? 1 : fault_rv(f, rv, "C_GetAttributeValue");
}

int token_probe(struct token *t, struct fault *f)
{
    CK_SESSION_INFO info;
    uint8_t byte;
    int read;
    CK_RV rv = t->f->C_GetSessionInfo(t->session, &info);

    if (rv != CKR_OK)
        return fault_rv(f, rv, "C_GetSessionInfo");
    if (info.state != CKS_RW_USER_FUNCTIONS)
        return fault_rv(f, CKR_USER_NOT_LOGGED_IN, "C_GetSessionInfo");
    if (t->info.flags & CKF_RNG && token_random(t, &byte, 1, f))
        return -1;
    read = probe_object(t, f);
    if (read < 0)
        return -1;
    return read ? token_still(t, f) : token_present(t, f);
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
