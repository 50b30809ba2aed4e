/* Takes away the capabilities that the process was started with. */
#include <errno.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kmsd/sandbox/sandbox.h"

int caps_drop(uint64_t keep, struct err *e)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{.effective = (uint32_t)keep, .permitted = (uint32_t)keep},
                                             {.effective = (uint32_t)(keep >> 32), .permitted = (uint32_t)(keep >> 32)}};

    /* The bounding set as well, or a program that root executes would have them all again. Only who has CAP_SETPCAP may. */
    for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        if (!(keep >> cap & 1))
            (void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    return syscall(SYS_capset, &head, data) ? err_errno(e, ERR_INTERNAL, errno, "dropping the capabilities") : 0;
}
