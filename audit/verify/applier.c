/* Somebody must remain who can change the policy: an enabled person with an SSH key, whom the policy of that point lets apply another one. */
#include <string.h>

#include "audit/verify/check.h"

static bool may_apply(const struct policy *p, const struct identity *i)
{
    const struct policy_subject who = {.name = i->name, .kind = i->kind, .founder = i->founder};

    return i->enabled && i->n_ssh && !strcmp(i->kind, "human") && policy_can_apply(p, &who);
}

void applier_check(struct check *c, const struct record *r)
{
    const struct map *all = &c->state.identities;

    if (!c->policy)
        return; /* said elsewhere */
    for (size_t n = 0; n < all->size; n++)
        if (all->slot[n].key && may_apply(c->policy, all->slot[n].value))
            return;
    (void)check_lacks(c, r, "no enabled person with an SSH key may apply a policy from here on");
}
