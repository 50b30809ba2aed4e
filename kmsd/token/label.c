/* The form of a release key's label. */
#include "kmsd/token/label.h"

#include <stdio.h>
#include <string.h>

#define LABEL_RELEASE "kmsd:release:"
#define SCHEME_PLAIN "statement" /* not said in the label */
#define KEY_NAME_MAX 64
#define KEY_VERSION_MAX 9

/* What follows the version; NULL with *why when the label has no such beginning. */
static const char *after_version(const char *label, const char **why)
{
    static const char first[] = "abcdefghijklmnopqrstuvwxyz0123456789", rest[] = "abcdefghijklmnopqrstuvwxyz0123456789._-";
    const char *at = label + sizeof LABEL_RELEASE - 1;
    size_t n;

    *why = "only release keys are made here";
    if (strncmp(label, LABEL_RELEASE, sizeof LABEL_RELEASE - 1))
        return NULL;
    *why = "the label has no usable key name";
    n = strspn(at, rest);
    if (!n || n > KEY_NAME_MAX || !strchr(first, *at) || at[n] != ':')
        return NULL;
    at += n + 1;
    *why = "the label has no usable key version";
    n = strspn(at, "0123456789");
    return !n || n > KEY_VERSION_MAX || *at == '0' ? NULL : at + n;
}

int label_for(char label[static OBJECT_LABEL_MAX], const char *scheme, struct fault *f)
{
    const char *why, *rest = after_version(label, &why);
    size_t n = strlen(label);

    if (!rest || *rest)
        return fault_set(f, LANE_INPUT, "%s", why);
    if (strcmp(scheme, SCHEME_PLAIN) && (size_t)snprintf(label + n, OBJECT_LABEL_MAX - n, ":%s", scheme) >= OBJECT_LABEL_MAX - n)
        return fault_set(f, LANE_INPUT, "the label is too long");
    return 0;
}

bool label_is_release(const char *label, const char *scheme)
{
    const char *why, *rest = after_version(label, &why);

    if (!rest)
        return false;
    return *rest == ':' ? strcmp(scheme, SCHEME_PLAIN) && !strcmp(rest + 1, scheme) : !*rest && !strcmp(scheme, SCHEME_PLAIN);
}
