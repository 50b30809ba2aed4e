/* Asks for many signatures at once: batches of up to 1,000, and again those that were refused with 503. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/enc.h"
#include "base/fsutil.h"
#include "client/call.h"
#include "client/problem.h"

#define ITEMS_MAX 1000u
#define BODY_MAX (1u << 20)
#define KEY_MAX 96   /* room for the number of the batch and of its repetition, and for what the service puts behind them */

/* One batch on its way through its repetitions: which requests it still asks for. */
struct many {
    struct kms *k;
    const struct kms_sign_request *rq;
    struct kms_sign_result *out;
    size_t at[ITEMS_MAX], n;
    struct buf body;
    size_t body_max;             /* as much as the service takes, as far as that is known */
    char key[KEY_MAX + 48];
};

void kms_sign_results_free(struct kms_sign_result *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        kms_signature_free(&out[i].signature);
}

/* Appends one item; false when it does not fit any more. */
static bool add_item(struct many *m, size_t i, struct kms_error *e)
{
    JSON_AUTO *json = sign_body(&m->rq[i]);
    BUF_AUTO text = BUF_INIT(64 << 10);

    if (json)
        json_canonical(&text, json);
    if (!json || buf_ok(&text)) {
        (void)sign_unsendable(&m->rq[i], &m->out[i].error);
        *e = m->out[i].error;
        return true;
    }
    if (m->n && m->body.len + text.len + 3 > m->body_max)
        return false;
    buf_puts(&m->body, m->n ? "," : "{\"items\":[");
    buf_put(&m->body, text.data, text.len);
    m->at[m->n++] = i;
    return true;
}

static int take_items(struct many *m, const json_t *answer, struct kms_error *e)
{
    const json_t *items = json_object_get(answer, "items");
    size_t left = 0;

    if (!json_is_array(items) || json_array_size(items) != m->n)
        return kms_fail_text(e, KMS_REFUSED, "the service's answer has not the %zu items that were asked for", m->n);
    for (size_t n = 0; n < m->n; n++) {
        const json_t *item = json_array_get(items, n), *problem = json_object_get(item, "problem");
        const char *id = json_string_value(json_object_get(item, "request_id"));
        struct kms_sign_result *out = &m->out[m->at[n]];

        memset(&out->error, 0, sizeof(out->error));
        if (!problem) {
            (void)(sign_take(&m->rq[m->at[n]], item, id ? id : "", &out->signature, &out->error) == 0);
            continue;
        }
        problem_from_item(&out->error, problem);
        if (out->error.http == 503)
            m->at[left++] = m->at[n];
    }
    m->n = left;
    return 0;
}

/* One exchange for all that are left; -1 when the batch was not taken as a whole. */
static int exchange(struct many *m, struct kms_error *e)
{
    struct kms_request call = {.method = "POST", .target = "/v1/sign", .door = KMS_DOOR_CI, .idempotency_key = m->key, .items = (unsigned)m->n};
    KMS_ANSWER_AUTO a = {0};

    buf_puts(&m->body, "]}");
    if (buf_ok(&m->body))
        return kms_fail_text(e, KMS_REFUSED, "out of memory");
    call.body = buf_span(&m->body);
    if (kms_call(m->k, &call, &a, e))
        return -1;
    return a.http == 202 ? kms_fail_pending(&a, e) : take_items(m, a.json, e);
}

/* Those that are left again, as a batch of their own. */
static void collect_left(struct many *m, struct kms_error *e)
{
    size_t n = m->n;

    buf_clear(&m->body);
    m->n = 0;
    for (size_t i = 0; i < n; i++)
        (void)add_item(m, m->at[i], e);
}

/* Signs rq[*next] and as many behind it as one batch holds; none, where the service takes no such long ones: then shorter ones are made. */
static int one_batch(struct many *m, const char *key, unsigned number, size_t *next, size_t n, struct kms_error *e)
{
    size_t first = *next;
    int64_t deadline;
    unsigned round = 0;

    m->n = 0;
    buf_clear(&m->body);
    while (*next < n && m->n < ITEMS_MAX && add_item(m, *next, e))
        ++*next;
    deadline = kms_deadline(m->k, (unsigned)m->n);
    while (m->n) {
        snprintf(m->key, sizeof(m->key), "%s.%u.%u", key, number, round);
        if (exchange(m, e)) {
            if (e->http != 413 || round || m->n < 2)
                return -1;
            m->body_max = m->body.len / 2;
            *next = first;
            return 0;
        }
        if (!m->n || kms_pause(m->k, round++, deadline, &m->out[m->at[0]].error))
            break;
        collect_left(m, e);
    }
    return 0;
}

static int choose_key(char key[static KEY_MAX + 1], const char *given, struct kms_error *e)
{
    uint8_t random[16];

    if (given && (!given[0] || strlen(given) > KEY_MAX))
        return kms_fail_text(e, KMS_USAGE, "the idempotency key of several requests has 1 to %d characters", KEY_MAX);
    if (!given && random_bytes(random, sizeof(random)))
        return kms_fail_text(e, KMS_REFUSED, "the system gives no random numbers");
    if (given)
        memcpy(key, given, strlen(given) + 1);
    else
        hex_encode(random, sizeof(random), key);
    return 0;
}

/* The first failure, as one that may pass only if all may. */
static int sum_up(const struct kms_sign_result *out, size_t n, struct kms_error *e)
{
    const struct kms_error *first = NULL;
    bool pass = true;

    for (size_t i = 0; i < n; i++) {
        if (out[i].error.status == KMS_DONE)
            continue;
        first = first ? first : &out[i].error;
        pass &= out[i].error.status == KMS_UNREACHABLE;
    }
    if (!first)
        return 0;
    *e = *first;
    if (!pass && e->status == KMS_UNREACHABLE)
        e->status = KMS_REFUSED;
    return -1;
}

int kms_sign_many(struct kms *k, const struct kms_sign_request *rq, size_t n, const char *idempotency_key, struct kms_sign_result *out, struct kms_error *e)
{
    struct many *m = calloc(1, sizeof(*m));
    char key[KEY_MAX + 1];
    size_t next = 0;
    int failed = m ? choose_key(key, idempotency_key, e) : kms_fail_text(e, KMS_REFUSED, "out of memory");

    memset(out, 0, n * sizeof(*out));
    for (size_t i = 0; i < n; i++)
        out[i].error.status = KMS_PENDING; /* until something is heard of it */
    if (m) {
        m->k = k;
        m->rq = rq;
        m->out = out;
        m->body = BUF_INIT(BODY_MAX);
        m->body_max = BODY_MAX;
    }
    for (unsigned number = 0; !failed && next < n; number++)
        failed = one_batch(m, key, number, &next, n, e);
    /* A whole batch failed: so did those in it that nothing was heard of, and those behind it. */
    for (size_t i = 0; failed && i < n; i++)
        if (out[i].error.status == KMS_PENDING)
            out[i].error = *e;
    if (m)
        buf_free(&m->body);
    free(m);
    return sum_up(out, n, e);
}
