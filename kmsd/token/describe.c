/* The description of token and module. */
#include "kmsd/token/describe.h"

#include <stdio.h>
#include <string.h>

#include "base/fsutil.h"
#include "base/hash.h"

#define MODULE_MAX (256u << 20)
#define TOKEN_TEXT 40

/* Cryptoki text is padded with blanks and has no NUL; what is not printable ASCII becomes '?'. */
static void unpad(const CK_UTF8CHAR *text, size_t len, char out[static TOKEN_TEXT])
{
    while (len && text[len - 1] == ' ')
        len--;
    for (size_t n = 0; n < len; n++)
        out[n] = (char)(text[n] >= 0x20 && text[n] < 0x7f ? text[n] : '?');
    out[len] = 0;
}

int describe_token(struct token *t, struct fault *f)
{
    char label[TOKEN_TEXT], maker[TOKEN_TEXT], model[TOKEN_TEXT], serial[TOKEN_TEXT], firmware[TOKEN_TEXT], hash[SHA256_HEX];
    BUF_AUTO module = BUF_INIT(MODULE_MAX);
    struct err e = {0};
    CK_TOKEN_INFO info;
    CK_RV rv = t->f->C_GetTokenInfo(t->slot_id, &info);

    if (rv != CKR_OK)
        return fault_rv(f, rv, "C_GetTokenInfo");
    if (file_read(t->settings->module, &module, &e))
        return fault_err(f, LANE_TOKEN, &e);
    sha256_hex(module.data, module.len, hash);
    unpad(info.label, sizeof info.label, label);
    unpad(info.manufacturerID, sizeof info.manufacturerID, maker);
    unpad(info.model, sizeof info.model, model);
    unpad(info.serialNumber, sizeof info.serialNumber, serial);
    (void)snprintf(firmware, sizeof firmware, "%u.%u", info.firmwareVersion.major, info.firmwareVersion.minor);
    t->description = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "firmware", firmware, "label", label, "manufacturer", maker,
                               "model", model, "module", t->settings->module, "module_sha256", hash, "serial", serial);
    return t->description ? 0 : fault_set(f, LANE_TOKEN, "out of memory");
}
