/* Calls and files that the commands have in common. */
#include "client/api.h"

#include <stdio.h>
#include <string.h>

#include "base/fsutil.h"
#include "base/x509.h"
#include "client/config.h"

#define PAGES_MAX 10000u
#define PEM_MAX (64u << 10)

int api_get(struct context *c, enum kms_door door, const char *target, struct kms_answer *out)
{
    struct kms_request rq = {.method = "GET", .target = target, .door = door};

    return kms_call(c->kms, &rq, out, &c->error);
}

int api_send_change(struct context *c, const struct kms_request *rq, struct kms_answer *out)
{
    if (kms_call(c->kms, rq, out, &c->error))
        return -1;
    return out->http == 202 && !json_object_get(out->json, "operation") ? kms_fail_pending(out, &c->error) : 0;
}

int api_change(struct context *c, const char *target, const json_t *body, struct kms_answer *out)
{
    BUF_AUTO text = BUF_INIT(256 << 10);

    if (body)
        json_canonical(&text, body);
    if (!body || buf_ok(&text))
        return kms_fail_text(&c->error, KMS_USAGE, "the request cannot be written as JSON: an argument is not UTF-8, or too long");
    struct kms_request rq = {.method = "POST", .target = target, .door = KMS_DOOR_ADMIN, .body = buf_span(&text), .ssh_signed = true};
    return api_send_change(c, &rq, out);
}

/* Appends one page; *after is the name to go on from, "" at the end. */
static int take_page(struct context *c, const json_t *page, json_t *items, char after[static NAME_MAX_LEN + 1])
{
    const json_t *part = json_object_get(page, "items"), *next = json_object_get(page, "next");
    const char *name = json_string_value(next);
    struct err why = {0};

    if (!json_is_array(part) || (next && !name && !json_is_null(next)) || json_array_extend(items, (json_t *)(uintptr_t)part))
        return kms_fail_text(&c->error, KMS_REFUSED, "the service's answer is no list");
    if (name && (name_check(name, "next", &why) || strcmp(name, after) == 0 || json_array_size(part) == 0))
        return kms_fail_text(&c->error, KMS_REFUSED, "the service's list does not come to an end");
    snprintf(after, NAME_MAX_LEN + 1, "%s", name ? name : "");
    return 0;
}

json_t *api_list(struct context *c, enum kms_door door, const char *target)
{
    JSON_AUTO *items = json_array();
    char after[NAME_MAX_LEN + 1] = "", path[512];

    for (unsigned page = 0; items && page < PAGES_MAX; page++) {
        KMS_ANSWER_AUTO a = {0};

        snprintf(path, sizeof(path), "%s?limit=100%s%s", target, after[0] ? "&after=" : "", after);
        if (api_get(c, door, path, &a) || take_page(c, a.json, items, after))
            return NULL;
        if (!after[0])
            return json_incref(items);
    }
    kms_fail_text(&c->error, KMS_REFUSED, "the service's list does not come to an end");
    return NULL;
}

int api_name(struct context *c, int n, const char *what, const char **out)
{
    struct err why = {0};

    if (name_check(c->args.word[n], what, &why))
        return kms_fail(&c->error, KMS_USAGE, &why);
    *out = c->args.word[n];
    return 0;
}

int api_file(struct context *c, const char *path, size_t max, struct buf *out)
{
    struct err why = {0};

    *out = BUF_INIT(max);
    return file_read(path, out, &why) ? kms_fail(&c->error, KMS_REFUSED, &why) : 0;
}

int api_pem(struct context *c, const char *path, const char *label, struct buf *pem, struct buf *der)
{
    BUF_AUTO text = {0}, block = BUF_INIT(PEM_MAX);
    struct err why = {0};

    if (api_file(c, path, PEM_MAX, &text))
        return -1;
    if (pem_to_der(buf_span(&text), label, &block, &why)) {
        err_context(&why, "%s", path);
        return kms_fail(&c->error, KMS_REFUSED, &why);
    }
    if (pem) {
        *pem = BUF_INIT(2 * PEM_MAX);
        der_to_pem(pem, label, buf_span(&block));
    }
    if (der) {
        *der = block;
        block = (struct buf){0};
    }
    return pem && buf_ok(pem) ? kms_fail_text(&c->error, KMS_REFUSED, "%s is too long", path) : 0;
}
