/* What a child process gets of the processors: which one it runs on, and who goes first where two meet. */
#ifndef KMS_SUPERVISOR_RANK_H
#define KMS_SUPERVISOR_RANK_H

#include "base/frame.h"

enum { RANK_ANYWHERE = -1 };

/* Pure: which of the processors that the service may use, counted from 0, the child is bound to, or RANK_ANYWHERE. `lanes` is how many signing lanes there are. */
int rank_processor(enum child_role role, unsigned index, unsigned lanes, unsigned processors);
/* In the child, between fork and exec. What the kernel refuses makes the service slower and changes nothing else. */
void rank_take(enum child_role role, unsigned index, unsigned lanes);

#endif
