/* The example policies, built into the program from policy/examples. */
#include <string.h>

#include "kmsd/supervisor/instance.h"

#define EMBED(name, file) \
    __asm__(".section .rodata\n.balign 8\n.global " #name "_begin\n" #name "_begin:\n.incbin \"" file "\"\n.global " #name "_end\n" #name "_end:\n.byte 0\n.previous\n"); \
    extern const unsigned char name##_begin[], name##_end[]

EMBED(policy_bootstrap, "policy/examples/bootstrap.yaml");
EMBED(policy_dev, "policy/examples/dev.yaml");

struct span example_policy(const char *name)
{
    if (!strcmp(name, "dev"))
        return span_of(policy_dev_begin, (size_t)(policy_dev_end - policy_dev_begin));
    return span_of(policy_bootstrap_begin, (size_t)(policy_bootstrap_end - policy_bootstrap_begin));
}
