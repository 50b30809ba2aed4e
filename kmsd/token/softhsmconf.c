/* The configuration template, compiled in so that the program needs no data file. */
#include "kmsd/token/softhsmconf.h"

#include <string.h>

#define MARK "@TOKENDIR@"

/* The build runs in the root of the source tree. */
__asm__(".pushsection .rodata\n"
        ".globl softhsm_template\n"
        ".hidden softhsm_template\n"
        "softhsm_template:\n"
        ".incbin \"softhsm-config/softhsm2.conf.in\"\n"
        ".byte 0\n"
        ".popsection\n");
extern const char softhsm_template[] __attribute__((visibility("hidden")));

void softhsm_conf(struct buf *out, const char *token_dir)
{
    const char *text = softhsm_template, *mark;

    while ((mark = strstr(text, MARK))) {
        buf_put(out, text, (size_t)(mark - text));
        buf_puts(out, token_dir);
        text = mark + sizeof MARK - 1;
    }
    buf_puts(out, text);
}
