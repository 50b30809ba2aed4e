/* Fuzzes the core with requests as a front hands them over: a real core in the simulated world, whose promises hold whatever arrives. Input: door and person,
 * then method, target, Idempotency-Key, Kms-Signature and content type, each up to a LF, then the body. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RUNS_A_WORLD 256

static struct span field(struct span *rest)
{
    const uint8_t *lf = rest->len ? memchr(rest->data, '\n', rest->len) : NULL;
    size_t n = lf ? (size_t)(lf - rest->data) : rest->len;
    struct span got = span_of(rest->data, n);

    *rest = lf ? span_of(lf + 1, rest->len - n - 1) : span_of(NULL, 0);
    return got;
}

/* A frame that the core takes, or rejects as a whole: then the front would be ended. */
static void send(struct sim *s, enum child_role door, unsigned person, struct span rest)
{
    static const enum frame_tag tags[] = {TAG_METHOD, TAG_TARGET, TAG_IDEMPOTENCY, TAG_KMS_SIGNATURE, TAG_CONTENT_TYPE};
    BUF_AUTO frame = BUF_INIT(FRAME_MAX);
    struct sim_request *r = &s->request[0];
    struct frame f;
    struct err e = {0};
    size_t mark = frame_begin(&frame, FRAME_REQUEST, ++s->next_id);

    for (size_t n = 0; n < sizeof tags / sizeof *tags; n++) {
        struct span value = field(&rest);

        if (value.len || n < 2)
            frame_put(&frame, tags[n], value);
    }
    frame_put_str(&frame, TAG_SOURCE, "127.0.0.1");
    frame_put(&frame, TAG_CERT, person < SIM_PEOPLE ? buf_span(&s->keys->person[person].cert) : rest);
    if (rest.len)
        frame_put(&frame, TAG_BODY, rest);
    frame_end(&frame, mark);
    *r = (struct sim_request){.used = true, .kind = SIM_NONCE, .door = door, .id = s->next_id, .any = true};
    if (frame_parse(buf_span(&frame), &f, &e) || core_on_frame(s->core, door, 0, &f, s->now))
        r->used = false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct sim_keys keys;
    static struct sim *world;
    static unsigned runs;

    if (!keys.ca) {
        json_object_seed(1);
        sim_keys_make(&keys);
    }
    if (!world || ++runs % RUNS_A_WORLD == 0) {
        sim_free(world);
        world = sim_new(&keys, 1);
        sim_lanes_heal(world);
        world->any = true;
    }
    if (!size)
        return 0;
    send(world, data[0] & 1 ? CHILD_FRONT_ADMIN : CHILD_FRONT_CI, data[0] >> 1 & 3, span_of(data + 1, size - 1));
    for (unsigned n = 0; n < 8; n++) {
        sim_lane_step(world);
        sim_disk_step(world);
    }
    sim_pass(world, 1000000);
    core_on_tick(world->core, world->now);
    sim_check(world);
    if (world->failure[0]) {
        fprintf(stderr, "%s\n", world->failure);
        abort();
    }
    return 0;
}
