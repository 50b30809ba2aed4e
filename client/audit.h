/* The audit log as kmsctl asks for it. */
#ifndef KMS_CLIENT_AUDIT_H
#define KMS_CLIENT_AUDIT_H

#include "audit/search.h"
#include "client/command.h"

#define AUDIT_TARGET_MAX 1536

/* The filters of the command line as a query "event=…&key=…&", checked as the service checks them; "" when there are none. */
int audit_filters(struct context *c, struct buf *query) __attribute__((warn_unused_result));
/* GET of a page; *items is borrowed from the answer. next is -1 when there is no further page, indexed the number of records that could be seen. */
struct audit_page {
    struct kms_answer answer;
    const json_t *items;
    int64_t next, indexed;
};
int audit_page(struct context *c, const char *query, struct audit_page *out) __attribute__((warn_unused_result));
void audit_page_free(struct audit_page *p);
#define AUDIT_PAGE_AUTO __attribute__((cleanup(audit_page_free))) struct audit_page

#endif
