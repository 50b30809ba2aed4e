/* Short forms of calls that several commands make. */
#ifndef KMS_CLIENT_API_H
#define KMS_CLIENT_API_H

#include "client/command.h"

/* GET of a target that a name was put into; names are checked before, so nothing needs escaping. */
int api_get(struct context *c, enum kms_door door, const char *target, struct kms_answer *out) __attribute__((warn_unused_result));
/* A change signed by a person, with a JSON body. */
int api_change(struct context *c, const char *target, const json_t *body, struct kms_answer *out) __attribute__((warn_unused_result));
/* As api_change, for a request that is ready. */
int api_send_change(struct context *c, const struct kms_request *rq, struct kms_answer *out) __attribute__((warn_unused_result));
/* All pages of a list, as one array; caller owns. NULL with c->error filled. */
json_t *api_list(struct context *c, enum kms_door door, const char *target);
/* Positional argument n as a name of the common alphabet. */
int api_name(struct context *c, int n, const char *what, const char **out) __attribute__((warn_unused_result));
/* A whole file of at most max bytes into out (initialised here); a usage error otherwise. */
int api_file(struct context *c, const char *path, size_t max, struct buf *out) __attribute__((warn_unused_result));
/* One PEM block of a file, checked and written again, so that nothing but the block is sent; der may be NULL. */
int api_pem(struct context *c, const char *path, const char *label, struct buf *pem, struct buf *der) __attribute__((warn_unused_result));

#endif
