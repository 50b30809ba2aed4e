/* What a child process gets of the processors: who goes first where two meet. */
#ifndef KMS_SUPERVISOR_RANK_H
#define KMS_SUPERVISOR_RANK_H

#include "base/frame.h"

/* In the child, between fork and exec. What the kernel refuses makes the service slower and changes nothing else. */
void rank_take(enum child_role role);

#endif
