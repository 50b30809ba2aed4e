/* Short turns of the processors for a process that others must not wait for. */
#ifndef KMS_READER_BREATH_H
#define KMS_READER_BREATH_H

#include <stdbool.h>

/* From now on, or no more. Off at first. */
void breath_needed(bool needed);
/* Between two small pieces of work: sleeps a moment where the last sleep is some time ago. */
void breath_take(void);

#endif
