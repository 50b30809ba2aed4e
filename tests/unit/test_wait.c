/* Who keeps whom back, looked up by hash, against a walk over all requests in flight; and the order in which those that waited are due. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kmsd/core/internal.h"

#define MANY 600
#define TEXT 32

struct texts {
    char app[TEXT], channel[TEXT], version[TEXT], name[TEXT];
};
static struct request *request[MANY];
static struct texts texts[MANY];

static uint64_t random_below(uint64_t below)
{
    static uint64_t state = 1;

    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (state >> 33) % below;
}

/* As the rule is said: one version in flight per channel, any number of names; one request per Idempotency-Key. */
static bool blocks(const struct request *o, const struct request *rq)
{
    const struct sign_request *a = &o->sign, *b = &rq->sign;

    if (o == rq || !o->in_flight)
        return false;
    if (rq->idem_key[0] && !strcmp(o->idem_key, rq->idem_key))
        return true;
    return a->name && b->name && !strcmp(a->app, b->app) && !strcmp(a->channel, b->channel) && (strcmp(a->version, b->version) || !strcmp(a->name, b->name));
}

static bool any_blocks(const struct request *rq)
{
    for (unsigned n = 0; n < MANY; n++)
        if (blocks(request[n], rq))
            return true;
    return false;
}

static void choose(unsigned n)
{
    struct request *rq = request[n];
    struct texts *t = &texts[n];

    snprintf(t->app, TEXT, "app%u", (unsigned)random_below(40));
    snprintf(t->channel, TEXT, "%u", (unsigned)random_below(3));
    snprintf(t->version, TEXT, "1.%u.0", (unsigned)random_below(2));
    snprintf(t->name, TEXT, "n%u", (unsigned)random_below(30));
    rq->sign = (struct sign_request){.app = t->app, .channel = t->channel, .version = t->version, .name = t->name};
    if (!random_below(10)) /* the creation of a key, say */
        rq->sign = (struct sign_request){.key = "k"};
    rq->idem_key[0] = '\0';
    if (!random_below(3))
        snprintf(rq->idem_key, sizeof rq->idem_key, "%064u", (unsigned)random_below(200));
}

static void as_a_walk_says(void **state)
{
    struct core *c = calloc(1, sizeof *c);
    unsigned begun = 0, waits = 0;

    (void)state;
    assert_non_null(c);
    for (unsigned n = 0; n < MANY; n++)
        request[n] = calloc(1, sizeof **request);
    for (unsigned turn = 0; turn < 60000; turn++) {
        unsigned n = (unsigned)random_below(MANY);
        struct request *rq = request[n];
        struct wait_list *where;

        if (rq->in_flight) {
            if (random_below(2))
                flight_end(c, rq);
            continue;
        }
        choose(n);
        where = kept_back(c, rq);
        assert_int_equal(where != NULL, any_blocks(rq));
        if (where) {
            waits++;
            continue;
        }
        flight_begin(c, rq);
        begun++;
    }
    assert_true(begun > 5000 && waits > 5000);
    for (unsigned n = 0; n < MANY; n++) {
        flight_end(c, request[n]);
        free(request[n]);
    }
    for (unsigned kind = 0; kind < FLIGHT_LINKS; kind++)
        for (unsigned n = 0; n < FLIGHT_BUCKETS; n++)
            assert_null(c->flight[kind][n]);
    free(c);
}

/* They come off their list in the order in which they came onto it, whoever leaves it in between. */
static void due_in_order(void **state)
{
    struct core *c = calloc(1, sizeof *c);
    struct request *first = calloc(1, sizeof *first), *late = calloc(1, sizeof *late);
    struct err e = {0};
    unsigned n = 0;

    (void)state;
    flight_begin(c, first);
    for (n = 0; n < 10; n++) {
        request[n] = calloc(1, sizeof **request);
        assert_int_equal(wait_for(c, request[n], &first->waiters, &e), 0);
    }
    assert_int_equal(c->n_waiting, 10);
    wait_leave(c, request[0]);
    wait_leave(c, request[4]);
    wait_leave(c, request[9]);
    wait_leave(c, request[9]);
    assert_int_equal(c->n_waiting, 7);
    assert_null(c->due.first);
    flight_end(c, first);
    wait_turn(c, late);
    assert_int_equal(c->n_waiting, 8);
    wait_leave(c, request[6]);
    for (struct request *rq = c->due.first; rq; rq = rq->wait_next)
        if (rq != late)
            rq->index = ++n;
    assert_ptr_equal(c->due.first, request[1]);
    assert_ptr_equal(c->due.last, late);
    assert_int_equal(request[1]->index, 11);
    assert_int_equal(request[5]->index, 14);
    assert_int_equal(request[8]->index, 16);
    assert_int_equal(request[6]->index, 0);
    for (n = 0; n < 10; n++)
        free(request[n]);
    free(first);
    free(late);
    free(c);
}

static struct request *release(const char *version, const char *name)
{
    struct request *rq = calloc(1, sizeof *rq);

    assert_non_null(rq);
    rq->sign = (struct sign_request){.app = "app", .channel = "main", .version = version, .name = name};
    return rq;
}

/* Nobody overtakes who waits for another version's turn; those behind come one after the other. */
static void channel_in_order(void **state)
{
    struct core *c = calloc(1, sizeof *c);
    struct request *a = release("1", "a"), *b = release("1", "b"), *again = release("1", "a"), *next = release("2", "a"), *late = release("1", "c");
    struct request *list[] = {a, b, again, next, late};
    struct wait_list *queue;
    struct err e = {0};

    (void)state;
    flight_begin(c, a);
    assert_null(kept_back(c, b));
    flight_begin(c, b);
    assert_ptr_equal(kept_back(c, again), &a->waiters);
    assert_int_equal(wait_for(c, again, &a->waiters, &e), 0);
    queue = kept_back(c, next);
    assert_true(queue && queue != &a->waiters && queue != &b->waiters);
    assert_int_equal(wait_for(c, next, queue, &e), 0);
    assert_ptr_equal(kept_back(c, late), queue);
    assert_int_equal(wait_for(c, late, queue, &e), 0);
    flight_end(c, b);
    assert_null(c->due.first);
    flight_end(c, a);
    assert_ptr_equal(c->due.first, again);
    assert_ptr_equal(c->due.last, next);
    assert_ptr_equal(again->wait_next, next);
    assert_ptr_equal(queue->first, late);
    wait_leave(c, again);
    assert_null(kept_back(c, again));
    wait_leave(c, next);
    assert_null(kept_back(c, next));
    flight_begin(c, next);
    assert_ptr_equal(kept_back(c, again), queue);
    flight_end(c, next);
    assert_ptr_equal(c->due.first, late);
    assert_null(queue->first);
    for (unsigned n = 0; n < sizeof list / sizeof *list; n++)
        free(list[n]);
    free(c);
}

static void not_more_than_so_many_wait(void **state)
{
    struct core *c = calloc(1, sizeof *c);
    struct request *first = calloc(1, sizeof *first), *rq = calloc(1, sizeof *rq);
    struct err e = {0};

    (void)state;
    flight_begin(c, first);
    c->n_waiting = WAITERS_MAX;
    assert_int_equal(wait_for(c, rq, &first->waiters, &e), -1);
    assert_int_equal(e.code, ERR_BUSY);
    assert_null(first->waiters.first);
    free(rq);
    free(first);
    free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_a_walk_says), cmocka_unit_test(due_in_order), cmocka_unit_test(channel_in_order), cmocka_unit_test(not_more_than_so_many_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
