/* A PKCS#11 module for tests: SoftHSM, but calls fail as the lines of the file named by KMSD_FAULT_PLAN say ("C_SignInit 179 1": that call returns
 * 179 once). Every login is one byte in the file of that name with ".logins" behind it. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <p11-kit/pkcs11.h>

static CK_FUNCTION_LIST *real, ours;

/* The value the plan holds for this call, with its count lowered; CKR_OK when there is none. */
static CK_RV planned(const char *call)
{
    const char *path = getenv("KMSD_FAULT_PLAN");
    FILE *plan = path ? fopen(path, "r+") : NULL;
    char text[512] = "", *at, *line;
    unsigned long rv = 0, count = 0;

    if (!plan)
        return CKR_OK;
    text[fread(text, 1, sizeof text - 1, plan)] = 0;
    for (line = text; *line && !count; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : "") {
        if (strncmp(line, call, strlen(call)) || line[strlen(call)] != ' ')
            continue;
        rv = strtoul(line + strlen(call), &at, 10);
        count = strtoul(at, NULL, 10);
        if (count) {
            (void)fseek(plan, at + 1 - text, SEEK_SET);
            (void)fprintf(plan, "%lu", count - 1);
        }
    }
    (void)fclose(plan);
    return count ? rv : CKR_OK;
}

static CK_RV sign_init(CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_OBJECT_HANDLE k)
{
    CK_RV rv = planned("C_SignInit");

    if (planned("logout"))
        (void)real->C_Logout(s);
    return rv ? rv : real->C_SignInit(s, m, k);
}

static CK_RV sign(CK_SESSION_HANDLE s, CK_BYTE *data, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
    CK_RV rv = planned("C_Sign");
    CK_RV wrong = planned("wrong");

    if (rv)
        return rv; /* the operation stays open, as after a module that gave up half-way */
    rv = real->C_Sign(s, data, len, out, out_len);
    if (wrong && out)
        out[40] ^= 1;
    return rv;
}

static CK_RV get_attributes(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE o, CK_ATTRIBUTE *a, CK_ULONG n)
{
    CK_RV rv = real->C_GetAttributeValue(s, o, a, n);

    if (n == 1 && a->type == CKA_EXTRACTABLE && planned("extractable"))
        *(CK_BBOOL *)a->pValue = CK_TRUE;
    if (n == 1 && a->type == CKA_MODIFIABLE && planned("modifiable"))
        *(CK_BBOOL *)a->pValue = CK_TRUE;
    if (n == 2 && a->type == CKA_EC_POINT && planned("point"))
        ((CK_BYTE *)a->pValue)[20] ^= 1;
    return rv;
}

static CK_RV login(CK_SESSION_HANDLE s, CK_USER_TYPE who, CK_BYTE *pin, CK_ULONG len)
{
    CK_RV rv = planned("C_Login");
    const char *path = getenv("KMSD_FAULT_PLAN");
    char name[512];
    FILE *log;

    (void)snprintf(name, sizeof name, "%s.logins", path ? path : "");
    log = path ? fopen(name, "a") : NULL;
    if (log && fputc('.', log) >= 0)
        (void)fclose(log);
    return rv ? rv : real->C_Login(s, who, pin, len);
}

static CK_RV random_bytes(CK_SESSION_HANDLE s, CK_BYTE *out, CK_ULONG len)
{
    CK_RV rv = planned("C_GenerateRandom");

    return rv ? rv : real->C_GenerateRandom(s, out, len);
}

static CK_RV token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
    CK_RV rv = planned("C_GetTokenInfo");

    if (rv)
        return rv;
    rv = real->C_GetTokenInfo(slot, info);
    if (planned("other"))
        info->serialNumber[0] ^= 1;

    if (planned("locked"))
        info->flags |= CKF_USER_PIN_LOCKED;
    if (planned("final"))
        info->flags |= CKF_USER_PIN_FINAL_TRY;
    if (planned("change"))
        info->flags |= CKF_USER_PIN_TO_BE_CHANGED;
    return rv;
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list)
{
    void *lib = dlopen("/usr/lib/softhsm/libsofthsm2.so", RTLD_NOW);
    void *symbol = lib ? dlsym(lib, "C_GetFunctionList") : NULL;
    CK_C_GetFunctionList get;

    memcpy(&get, &symbol, sizeof get);
    if (!symbol || get(&real) != CKR_OK)
        return CKR_GENERAL_ERROR;
    ours = *real;
    ours.C_SignInit = sign_init;
    ours.C_Sign = sign;
    ours.C_Login = login;
    ours.C_GetAttributeValue = get_attributes;
    ours.C_GenerateRandom = random_bytes;
    ours.C_GetTokenInfo = token_info;
    *list = &ours;
    return CKR_OK;
}
