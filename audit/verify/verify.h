/* kms-audit verify: is this log what the service wrote? */
#ifndef KMS_VERIFY_VERIFY_H
#define KMS_VERIFY_VERIFY_H

/* Exit codes of kms-audit. */
enum { EXIT_SOUND = 0, EXIT_TAMPERED = 1, EXIT_UNUSABLE = 2, EXIT_USAGE = 64 };

extern const char VERIFY_HELP[];
int verify_main(int argc, char **argv);

#endif
