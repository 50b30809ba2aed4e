/* A folder of a fuzzer's own, in memory where that can be; it goes when the process ends. */
#ifndef KMS_TESTS_FUZZ_FOLDER_H
#define KMS_TESTS_FUZZ_FOLDER_H

#include <stdbool.h>

extern char folder[];

void require(bool holds);                  /* else abort() */
void folder_make(void);
const char *folder_path(const char *name); /* of what has that name in it; good until the next call */
unsigned folder_wipe(void);                /* all in it goes; how many that were */

#endif
