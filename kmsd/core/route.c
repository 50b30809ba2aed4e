/* The routes: one table, and the steps that every request takes before its handler. */
#include <stdio.h>
#include <string.h>

#include "kmsd/core/internal.h"

#define JSON_BODY (64u << 10)

static const struct route ROUTES[] = {
    {DOOR_CI, "POST", "/v1/sign", "sign.release", POLICY_SIGN, 0, BATCH_BODY_MAX, NULL, sign_handle},
    {DOOR_BOTH, "GET", "/v1/whoami", "read.api", POLICY_STATUS_READ, ROUTE_OPEN, 0, NULL, whoami_show},
    {DOOR_BOTH, "GET", "/v1/status", "read.api", POLICY_STATUS_READ, 0, 0, NULL, status_show},
    {DOOR_ADMIN, "GET", "/v1/audit/records", "read.api", POLICY_AUDIT_READ, 0, 0, NULL, audit_records},
    {DOOR_ADMIN, "GET", "/v1/audit/records/{}", "read.api", POLICY_AUDIT_READ, 0, 0, NULL, audit_record},
    {DOOR_ADMIN, "GET", "/v1/audit/blobs/{}", "read.api", POLICY_AUDIT_READ, 0, 0, NULL, audit_blob},
    {DOOR_BOTH, "GET", "/v1/keys", "read.api", POLICY_KEY_LIST, 0, 0, NULL, keys_list},
    {DOOR_BOTH, "GET", "/v1/keys/{}", "read.api", POLICY_KEY_READ, 0, 0, NULL, keys_show},
    {DOOR_BOTH, "GET", "/v1/keys/{}/public", "read.api", POLICY_KEY_READ, 0, 0, NULL, keys_public},
    {DOOR_BOTH, "GET", "/v1/jwks", "read.api", POLICY_KEY_LIST, 0, 0, NULL, jwks_show},
    {DOOR_ADMIN, "POST", "/v1/keys", "key.create", POLICY_KEY_CREATE, ROUTE_SIGNED, JSON_BODY, NULL, keys_create},
    {DOOR_ADMIN, "POST", "/v1/keys/{}/suspend", "key.suspend", POLICY_KEY_SUSPEND, ROUTE_SIGNED, JSON_BODY, NULL, keylife_change},
    {DOOR_ADMIN, "POST", "/v1/keys/{}/resume", "key.resume", POLICY_KEY_RESUME, ROUTE_SIGNED, JSON_BODY, NULL, keylife_change},
    {DOOR_ADMIN, "POST", "/v1/keys/{}/retire", "key.retire", POLICY_KEY_RETIRE, ROUTE_SIGNED, JSON_BODY, NULL, keylife_change},
    {DOOR_ADMIN, "POST", "/v1/keys/{}/destroy", "key.destroy", POLICY_KEY_DESTROY, ROUTE_SIGNED, JSON_BODY, NULL, keylife_destroy},
    {DOOR_ADMIN, "POST", "/v1/keys/{}/restore", "key.restore", POLICY_KEY_RESTORE, ROUTE_SIGNED, JSON_BODY, NULL, keylife_change},
    {DOOR_ADMIN, "POST", "/v1/keys/{}/compromise", "key.compromise", POLICY_KEY_COMPROMISE, ROUTE_SIGNED, JSON_BODY, NULL, keylife_change},
    {DOOR_ADMIN, "GET", "/v1/operations/{}", "read.api", POLICY_KEY_READ, 0, 0, NULL, operation_show},
    {DOOR_ADMIN, "POST", "/v1/nonce", "nonce.create", POLICY_STATUS_READ, ROUTE_OPEN, 0, NULL, nonce_handle},
    {DOOR_ADMIN, "GET", "/v1/policy", "read.api", POLICY_POLICY_READ, 0, 0, NULL, policy_show},
    {DOOR_ADMIN, "PUT", "/v1/policy", "policy.apply", POLICY_POLICY_APPLY, ROUTE_SIGNED, POLICY_TEXT_MAX, "application/yaml", policy_put},
    {DOOR_ADMIN, "POST", "/v1/policy/check", "read.api", POLICY_POLICY_CHECK, 0, POLICY_TEXT_MAX, "application/yaml", policy_check},
    {DOOR_ADMIN, "GET", "/v1/identities", "read.api", POLICY_IDENTITY_LIST, 0, 0, NULL, identities_list},
    {DOOR_ADMIN, "GET", "/v1/identities/{}", "read.api", POLICY_IDENTITY_READ, 0, 0, NULL, identities_show},
    {DOOR_ADMIN, "POST", "/v1/identities", "identity.create", POLICY_IDENTITY_CREATE, ROUTE_SIGNED, JSON_BODY, NULL, identities_create},
    {DOOR_ADMIN, "POST", "/v1/identities/{}/disable", "identity.disable", POLICY_IDENTITY_DISABLE, ROUTE_SIGNED, JSON_BODY, NULL, identities_disable},
    {DOOR_ADMIN, "POST", "/v1/identities/{}/enable", "identity.enable", POLICY_IDENTITY_ENABLE, ROUTE_SIGNED, JSON_BODY, NULL, identities_enable},
    {DOOR_ADMIN, "POST", "/v1/identities/{}/credentials", "identity.renew", POLICY_RENEW, ROUTE_SIGNED, JSON_BODY, NULL, identities_renew},
    {DOOR_CI, "POST", "/v1/renew", "identity.renew", POLICY_RENEW, 0, JSON_BODY, NULL, renew_own},
    {DOOR_ADMIN, "POST", "/v1/releases/withdraw", "release.withdraw", POLICY_RELEASE_WITHDRAW, ROUTE_SIGNED, JSON_BODY, NULL, releases_withdraw},
    {DOOR_ADMIN, "POST", "/v1/time/confirm", "time.confirm", POLICY_TIME_CONFIRM, ROUTE_SIGNED, JSON_BODY, NULL, time_confirm},
};
#define N_ROUTES (sizeof ROUTES / sizeof *ROUTES)
_Static_assert(N_ROUTES < METRIC_ROUTES, "a counter for each route");

size_t route_number(const struct route *r)
{
    return r ? (size_t)(r - ROUTES) + 1 : 0;
}

const struct route *route_at(size_t number)
{
    return number && number <= N_ROUTES ? &ROUTES[number - 1] : NULL;
}

/* Does path fit the pattern? "{}" takes one non-empty segment of the name alphabet's length. */
static bool fits(const char *pattern, const char *path, char param[static NAME_MAX_LEN + 1])
{
    const char *hole = strstr(pattern, "{}");
    size_t before = hole ? (size_t)(hole - pattern) : 0, n;

    if (!hole)
        return !strcmp(pattern, path);
    if (strncmp(pattern, path, before))
        return false;
    n = strcspn(path + before, "/");
    if (!n || n > NAME_MAX_LEN || strcmp(path + before + n, hole + 2))
        return false;
    memcpy(param, path + before, n);
    param[n] = '\0';
    return true;
}

static void add_method(char *list, size_t size, const char *method)
{
    size_t n = strlen(list);

    (void)snprintf(list + n, size - n, "%s%s", n ? ", " : "", method);
}

static int find_route(struct request *rq, struct err *e)
{
    unsigned door = rq->door == CHILD_FRONT_CI ? DOOR_CI : DOOR_ADMIN, other = 0;

    for (size_t n = 0; n < N_ROUTES; n++) {
        if (!fits(ROUTES[n].pattern, rq->path, rq->param))
            continue;
        if (!(ROUTES[n].doors & door)) {
            other = ROUTES[n].doors;
            continue;
        }
        add_method(rq->allow, sizeof rq->allow, ROUTES[n].method);
        if (!strcmp(ROUTES[n].method, rq->method)) {
            rq->route = &ROUTES[n];
            return 0;
        }
    }
    rq->param[0] = '\0';
    if (rq->allow[0])
        return err_set(e, ERR_METHOD_NOT_ALLOWED, "%s is not a method of %s, which has %s", rq->method, rq->path, rq->allow);
    return err_set(e, ERR_NOT_FOUND, "this door has no %s%s", rq->path, other ? "; the other door has it" : "");
}

static int check_body(struct request *rq, struct err *e)
{
    const struct route *r = rq->route;
    const char *want = r->content_type ? r->content_type : "application/json";
    size_t n = strcspn(rq->content_type, "; ");

    if (rq->body.len > r->body_max)
        return r->body_max ? err_set(e, ERR_TOO_LARGE, "the body has %zu bytes, this route takes %zu", rq->body.len, r->body_max)
                           : err_set(e, ERR_BAD_REQUEST, "%s takes no body", rq->path);
    if (rq->body.len && (n != strlen(want) || strncmp(rq->content_type, want, n)))
        return err_set(e, ERR_UNSUPPORTED_MEDIA, "%s takes a body of type %s", rq->path, want);
    return 0;
}

static int prepare(struct core *c, struct request *rq, struct err *e)
{
    if (identify(c, rq, e) || find_route(rq, e) || check_body(rq, e))
        return -1;
    if (rq->query[0] && strcmp(rq->method, "GET"))
        return err_set(e, ERR_UNKNOWN_MEMBER, "%s %s takes no query", rq->method, rq->path);
    if (c->stopping)
        return err_set(e, ERR_BUSY, "the service is stopping");
    if (!c->begun)
        return room_check(c, e) ? -1 : err_set(e, ERR_BUSY, "the service is starting");
    if (c->durable <= c->start_seq)
        return err_set(e, ERR_BUSY, "the service is starting");
    if ((rq->route->action == POLICY_SIGN || rq->route->flags & ROUTE_SIGNED) && anchor_check(c, e))
        return -1;
    return rq->route->flags & ROUTE_SIGNED && (room_check(c, e) || evidence_check(c, rq, e)) ? -1 : 0;
}

void request_run(struct core *c, struct request *rq)
{
    struct err e = {0};

    if (prepare(c, rq, &e) || rq->route->handle(c, rq, &e))
        request_refuse(c, rq, &e);
}

void request_refuse(struct core *c, struct request *rq, struct err *e)
{
    bool was_in_flight = rq->in_flight;

    if (!e->code)
        err_set(e, ERR_INTERNAL, "the request failed without a reason");
    if (e->code != ERR_BUSY && e->code != ERR_TOKEN_UNAVAILABLE && e->code != ERR_LOG_UNAVAILABLE)
        refusal_record(c, rq, e);
    flight_end(c, rq);
    reply_problem(c, rq, e);
    if (was_in_flight)
        wake_waiters(c);
}
