/* Loading the PKCS#11 module. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "kmsd/token/p11.h"

/* The library handle stays open: modules are not made to be unloaded. libp11 loads the same file, so both share one Cryptoki application. */
static int function_list(const char *path, CK_FUNCTION_LIST **out, struct fault *f)
{
    CK_C_GetFunctionList get;
    void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL), *symbol;

    if (!lib) {
        log_line(LOG_LEVEL_ERROR, "module", "dlopen=%s", dlerror());
        return fault_set(f, LANE_TOKEN, "the PKCS#11 module %s cannot be loaded; install it or correct tokens in kmsd.yaml", path);
    }
    symbol = dlsym(lib, "C_GetFunctionList");
    memcpy(&get, &symbol, sizeof get); /* ISO C has no cast from object to function pointer */
    if (!symbol || get(out) != CKR_OK)
        return fault_set(f, LANE_TOKEN, "%s is not a PKCS#11 module", path);
    return 0;
}

int token_module(struct token *t, const struct token_settings *s, struct fault *f)
{
    CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK};
    char text[SETTINGS_URI];
    CK_FUNCTION_LIST *list;
    CK_RV rv;

    *t = (struct token){.settings = s};
    if (*s->softhsm_conf && setenv("SOFTHSM2_CONF", s->softhsm_conf, 1))
        return fault_set(f, LANE_TOKEN, "out of memory");
    if (function_list(s->module, &list, f))
        return -1;
    memcpy(text, s->initialise, sizeof text);
    if (*text)
        args.pReserved = text; /* the standard wants NULL here; NSS its configuration */
    rv = list->C_Initialize(&args); /* before libp11, which would pass NULL and so turn the locks off */
    if (rv != CKR_OK) {
        fault_rv(f, rv, "C_Initialize");
        return fault_set(f, LANE_TOKEN, "the PKCS#11 module %s does not start%s%s", s->module, *s->softhsm_conf ? "; check " : "", s->softhsm_conf);
    }
    t->f = list;
    return 0;
}
