/* Failures of the client: local ones, and the service's problem documents (RFC 9457). */
#ifndef KMS_CLIENT_PROBLEM_H
#define KMS_CLIENT_PROBLEM_H

#include "client/call.h"
#include "client/http.h"

/* Fills e from an answer with a status of 300 or more; returns -1. */
int problem_from_answer(struct kms_error *e, const struct http_response *rs);
/* Fills e from the problem of one item of a batch. */
void problem_from_item(struct kms_error *e, const json_t *problem);

#endif
