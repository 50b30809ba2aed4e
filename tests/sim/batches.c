/* Batches of the simulated clients: near to what one of them asks for alone, and large ones of which only their end counts. */
#include <string.h>

#include "tests/sim/sim.h"

/* Releases near the one that r asks for: of this version and the next, the same one among them now and then. Under a key they follow from it alone. */
void sim_ask_batch(struct sim *s, struct sim_request *r)
{
    BUF_AUTO body = BUF_INIT(8192);

    r->kind = SIM_BATCH;
    r->door = CHILD_FRONT_CI;
    r->n_items = r->idem ? 1 + r->idem % SIM_ITEMS : 1 + (unsigned)sim_random(s, SIM_ITEMS);
    buf_puts(&body, "{\"items\":[");
    for (unsigned n = 0; n < r->n_items; n++) {
        unsigned dice = r->idem ? r->idem * 7 + n : (unsigned)sim_random(s, 1000);

        r->item[n] = (struct sim_release){r->version + dice % 5 / 4, (r->name + dice / 5) % 4, dice % 11 == 0 ? !r->digest : r->digest};
        buf_puts(&body, n ? "," : "");
        sim_put_release(&body, r->key, r->item[n].version, r->item[n].name, r->item[n].digest);
    }
    buf_puts(&body, "]}");
    sim_send(s, r, "POST", "/v1/sign", "application/json", buf_span(&body));
}

/* The record that an item was answered with must be of the release that the item asked for. */
static void check_place(struct sim *s, const struct sim_release *asked, const json_t *body)
{
    struct span line = sim_line(s, json_integer_value(json_object_get(json_object_get(body, "record"), "seq")));
    struct err e = {0};
    JSON_AUTO *record = line.data ? json_read_object(line.data, line.len, line.len, &e) : NULL;
    BUF_AUTO want = BUF_INIT(64), got = BUF_INIT(256);

    buf_printf(&want, "1.0.%u n%u", asked->version, asked->name);
    buf_printf(&got, "%s %s", json_string_value(json_object_get(json_object_get(record, "artifact"), "version")),
               json_string_value(json_object_get(json_object_get(record, "detail"), "name")));
    if (!record || strcmp(buf_str(&want), buf_str(&got)))
        sim_fail(s, "an item of a batch that asked for %s was answered with %s", buf_str(&want), buf_str(&got));
}

void sim_hear_batch(struct sim *s, const struct sim_request *r, const json_t *body)
{
    const json_t *items = json_object_get(body, "items");
    unsigned failed = 0;

    if (json_array_size(items) != r->n_items)
        sim_fail(s, "a batch of %u was answered with %zu items", r->n_items, json_array_size(items));
    s->batches++;
    for (unsigned n = 0; n < r->n_items && !s->failure[0]; n++) {
        const json_t *item = json_array_get(items, n), *problem = json_object_get(item, "problem");
        const char *type = json_string_value(json_object_get(problem, "type"));
        struct sim_request one = {.kind = SIM_SIGN, .person = r->person, .version = r->item[n].version, .name = r->item[n].name, .asked = r->asked};

        memcpy(one.key, r->key, sizeof one.key);
        if (!problem) {
            s->signed_ok++;
            sim_heard_life(s, &one, item);
            sim_acknowledge(s, r->idem ? &s->idem_item[r->idem][n] : NULL, item);
            check_place(s, &r->item[n], item);
            continue;
        }
        failed++;
        s->refused++;
        if (type && !strcmp(type, SIM_PROBLEM "idempotency-conflict"))
            sim_fail(s, "an item of a batch met another request under its own key");
        sim_explain(s, &one, type ? type + sizeof SIM_PROBLEM - 1 : "");
    }
    if (json_integer_value(json_object_get(body, "failed")) != failed)
        sim_fail(s, "a batch says that %lld items failed, not %u", (long long)json_integer_value(json_object_get(body, "failed")), failed);
}

void sim_ask_many(struct sim *s, unsigned version, unsigned n)
{
    BUF_AUTO body = BUF_INIT(1 << 20);
    struct sim_request *r = sim_free_slot(s);

    if (!r) {
        sim_fail(s, "more than %d requests are open", SIM_PENDING_MAX);
        return;
    }
    *r = (struct sim_request){.kind = SIM_BATCH, .door = CHILD_FRONT_CI, .many = true, .key = "release"};
    for (unsigned k = 0; k < n; k++) {
        buf_puts(&body, k ? "," : "{\"items\":[");
        sim_put_release(&body, r->key, version, k, 0);
    }
    buf_puts(&body, "]}");
    sim_send(s, r, "POST", "/v1/sign", "application/json", buf_span(&body));
}

void sim_hear_many(struct sim *s, const struct frame *f)
{
    struct err e = {0};
    JSON_AUTO *body = json_read_object(f->field[TAG_BODY].data, f->field[TAG_BODY].len, FRAME_MAX, &e);

    s->many.heard += frame_u64(f, TAG_STATUS) == 200;
    s->many.busy += frame_u64(f, TAG_STATUS) == 503;
    s->many.items += (unsigned)json_array_size(json_object_get(body, "items"));
    s->many.failed += (unsigned)json_integer_value(json_object_get(body, "failed"));
}
