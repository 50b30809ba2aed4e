/* kms-audit show: records as readable lines. */
#ifndef KMS_VERIFY_SHOW_H
#define KMS_VERIFY_SHOW_H

int show_main(int argc, char **argv);

#endif
