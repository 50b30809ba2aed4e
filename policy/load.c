/* Loads a policy from YAML; whatever it does not know is an error that names its place. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/yaml.h"
#include "policy/internal.h"

struct loading {
    const struct yaml_doc *doc;
    struct policy *p;
    struct err *e;
};

static int copy_name(const struct loading *l, const struct yaml_node *n, char *out, const char *what)
{
    struct err why = {0};

    if (n->kind != YAML_SCALAR)
        return yaml_err(l->doc, n, l->e, "%s must be a name", what);
    if (name_check(n->text, what, &why))
        return yaml_err(l->doc, n, l->e, "%s", why.detail);
    memcpy(out, n->text, strlen(n->text) + 1);
    return 0;
}

static int need_list(const struct loading *l, const struct yaml_node *n, size_t max, const char *what)
{
    if (n->kind != YAML_SEQUENCE || !n->n || n->n > max)
        return yaml_err(l->doc, n, l->e, "%s must be a list of 1 to %zu", what, max);
    return 0;
}

/* Refuses keys of a mapping that are not in the list. */
static int known_keys(const struct loading *l, const struct yaml_node *map, const char *const *known, const char *what)
{
    if (map->kind != YAML_MAPPING)
        return yaml_err(l->doc, map, l->e, "%s must be a mapping", what);
    for (size_t n = 0; n < map->n; n++) {
        size_t i = 0;

        while (known[i] && strcmp(known[i], map->key[n]->text))
            i++;
        if (!known[i])
            return yaml_err(l->doc, map->key[n], l->e, "%s has no key %s", what, map->key[n]->text);
    }
    return 0;
}

static int load_actions(const struct loading *l, const struct yaml_node *list, struct rule *r)
{
    if (need_list(l, list, POLICY_ACTION_COUNT, "allow"))
        return -1;
    for (size_t n = 0; n < list->n; n++) {
        const struct yaml_node *item = list->value[n];
        unsigned a = 0;

        while (a < POLICY_ACTION_COUNT && (item->kind != YAML_SCALAR || strcmp(policy_action_name((enum policy_action)a), item->text)))
            a++;
        if (a == POLICY_ACTION_COUNT)
            return yaml_err(l->doc, item, l->e, "%s is no action", item->kind == YAML_SCALAR ? item->text : "this");
        if (r->action[a])
            return yaml_err(l->doc, item, l->e, "the action %s stands twice", item->text);
        r->action[a] = true;
    }
    return 0;
}

static int load_globs(const struct loading *l, const struct yaml_node *list, struct globs *g, const char *what)
{
    if (need_list(l, list, GLOBS_MAX, what))
        return -1;
    g->item = calloc(list->n, sizeof *g->item);
    if (!g->item)
        return err_set(l->e, ERR_INTERNAL, "out of memory");
    for (size_t n = 0; n < list->n; n++) {
        const struct yaml_node *item = list->value[n];
        struct err why = {0};

        if (item->kind != YAML_SCALAR || glob_check(item->text, what, &why))
            return yaml_err(l->doc, item, l->e, "%s", why.detail[0] ? why.detail : "must be a name or glob");
        g->item[n] = strdup(item->text);
        if (!g->item[n])
            return err_set(l->e, ERR_INTERNAL, "out of memory");
        g->n++;
    }
    return 0;
}

/* What a bare digest stands for nobody can tell: the right to sign one is given key by key. */
static int exact_keys(const struct loading *l, const struct yaml_node *list, const struct rule *r)
{
    for (size_t n = 0; r->action[POLICY_SIGN_DIGEST] && n < r->keys.n; n++)
        if (strchr(r->keys.item[n], '*'))
            return yaml_err(l->doc, list->value[n], l->e, "a rule that allows sign.digest names each key in full, without *");
    return 0;
}

/* keys, apps and channels stand where an action of the rule has them; signing cannot go without. */
static int load_scope(const struct loading *l, const struct yaml_node *map, struct rule *r)
{
    const struct {
        const char *key;
        unsigned bit;
        struct globs *globs;
    } scopes[] = {{"keys", HAS_KEY, &r->keys}, {"apps", HAS_APP, &r->apps}, {"channels", HAS_CHANNEL, &r->channels}};
    unsigned has = 0;

    for (unsigned a = 0; a < POLICY_ACTION_COUNT; a++)
        has |= r->action[a] ? policy_action_has((enum policy_action)a) : 0;
    for (size_t n = 0; n < sizeof scopes / sizeof *scopes; n++) {
        const struct yaml_node *list = yaml_get(map, scopes[n].key);

        if (list && !(has & scopes[n].bit))
            return yaml_err(l->doc, list, l->e, "no action of this rule has %s", scopes[n].key);
        if (!list && (r->action[POLICY_SIGN] || r->action[POLICY_SIGN_DIGEST]))
            return yaml_err(l->doc, map, l->e, "a rule that allows %s must name its %s%s", r->action[POLICY_SIGN] ? "sign" : "sign.digest", scopes[n].key,
                            r->action[POLICY_SIGN] || scopes[n].bit != HAS_KEY ? " ('*' for all)" : "");
        if (list && load_globs(l, list, scopes[n].globs, scopes[n].key))
            return -1;
    }
    return r->keys.n ? exact_keys(l, yaml_get(map, "keys"), r) : 0;
}

static int load_rule(const struct loading *l, const struct yaml_node *map, struct role *role)
{
    static const char *const known[] = {"name", "allow", "keys", "apps", "channels", NULL};
    struct rule *r = &role->rule[role->n];
    const struct yaml_node *name, *allow;
    char own[NAME_MAX_LEN + 1];

    role->n++;
    if (known_keys(l, map, known, "a rule"))
        return -1;
    name = yaml_get(map, "name");
    allow = yaml_get(map, "allow");
    if (!name || !allow)
        return yaml_err(l->doc, map, l->e, "a rule needs name and allow");
    if (copy_name(l, name, own, "the name of a rule"))
        return -1;
    (void)snprintf(r->name, sizeof r->name, "%s/%s", role->name, own);
    for (size_t n = 0; n + 1 < role->n; n++)
        if (!strcmp(role->rule[n].name, r->name))
            return yaml_err(l->doc, name, l->e, "the role %s has two rules named %s", role->name, own);
    return load_actions(l, allow, r) || load_scope(l, map, r) ? -1 : 0;
}

static int load_role(const struct loading *l, const struct yaml_node *key, const struct yaml_node *list)
{
    struct role *role = &l->p->role[l->p->n_roles++];

    if (copy_name(l, key, role->name, "a role") || need_list(l, list, RULES_MAX, "a role"))
        return -1;
    role->rule = calloc(list->n, sizeof *role->rule);
    if (!role->rule)
        return err_set(l->e, ERR_INTERNAL, "out of memory");
    for (size_t n = 0; n < list->n; n++)
        if (load_rule(l, list->value[n], role))
            return -1;
    return 0;
}

static int load_subject(const struct loading *l, const struct yaml_node *n, struct subject *s)
{
    static const char *const kinds[] = {"ci", "service", "human"};
    struct err why = {0};

    if (n->kind != YAML_SCALAR)
        return yaml_err(l->doc, n, l->e, "a subject is identity:NAME, kind:ci|service|human or founders");
    if (!strcmp(n->text, "founders")) {
        s->kind = SUBJECT_FOUNDERS;
        return 0;
    }
    if (!strncmp(n->text, "identity:", 9)) {
        s->kind = SUBJECT_IDENTITY;
        if (name_check(n->text + 9, "identity", &why))
            return yaml_err(l->doc, n, l->e, "%s", why.detail);
        memcpy(s->text, n->text + 9, strlen(n->text + 9) + 1);
        return 0;
    }
    s->kind = SUBJECT_KIND;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!strncmp(n->text, "kind:", 5) && !strcmp(n->text + 5, kinds[i])) {
            memcpy(s->text, kinds[i], strlen(kinds[i]) + 1);
            return 0;
        }
    return yaml_err(l->doc, n, l->e, "\"%.64s\" is no subject; it is identity:NAME, kind:ci|service|human or founders", n->text);
}

static const struct role *find_role(const struct policy *p, const char *name)
{
    for (size_t n = 0; n < p->n_roles; n++)
        if (!strcmp(p->role[n].name, name))
            return &p->role[n];
    return NULL;
}

static int load_grant(const struct loading *l, const struct yaml_node *map)
{
    static const char *const known[] = {"role", "to", NULL};
    struct grant *g = &l->p->grant[l->p->n_grants++];
    const struct yaml_node *role, *to;

    if (known_keys(l, map, known, "a grant"))
        return -1;
    role = yaml_get(map, "role");
    to = yaml_get(map, "to");
    if (!role || !to || role->kind != YAML_SCALAR)
        return yaml_err(l->doc, map, l->e, "a grant needs role and to");
    g->role = find_role(l->p, role->text);
    if (!g->role)
        return yaml_err(l->doc, role, l->e, "there is no role %.64s", role->text);
    if (need_list(l, to, SUBJECTS_MAX, "to"))
        return -1;
    g->subject = calloc(to->n, sizeof *g->subject);
    if (!g->subject)
        return err_set(l->e, ERR_INTERNAL, "out of memory");
    for (size_t n = 0; n < to->n; n++, g->n++)
        if (load_subject(l, to->value[n], &g->subject[n]))
            return -1;
    return 0;
}

static int load_roles(const struct loading *l, const struct yaml_node *roles)
{
    if (roles->kind != YAML_MAPPING || !roles->n || roles->n > ROLES_MAX)
        return yaml_err(l->doc, roles, l->e, "roles must be a mapping of 1 to %d roles", ROLES_MAX);
    l->p->role = calloc(roles->n, sizeof *l->p->role);
    if (!l->p->role)
        return err_set(l->e, ERR_INTERNAL, "out of memory");
    for (size_t n = 0; n < roles->n; n++)
        if (load_role(l, roles->key[n], roles->value[n]))
            return -1;
    return 0;
}

static int load(const struct loading *l, const struct yaml_node *root)
{
    static const char *const known[] = {"version", "roles", "grants", NULL};
    const struct yaml_node *version, *roles, *grants;

    if (known_keys(l, root, known, "a policy"))
        return -1;
    version = yaml_get(root, "version");
    roles = yaml_get(root, "roles");
    grants = yaml_get(root, "grants");
    if (!version || !roles || !grants)
        return yaml_err(l->doc, root, l->e, "a policy needs version, roles and grants");
    if (version->kind != YAML_SCALAR || strcmp(version->text, "1"))
        return yaml_err(l->doc, version, l->e, "version must be 1");
    if (load_roles(l, roles) || need_list(l, grants, GRANTS_MAX, "grants"))
        return -1;
    l->p->grant = calloc(grants->n, sizeof *l->p->grant);
    if (!l->p->grant)
        return err_set(l->e, ERR_INTERNAL, "out of memory");
    for (size_t n = 0; n < grants->n; n++)
        if (load_grant(l, grants->value[n]))
            return -1;
    return 0;
}

struct policy *policy_load(const char *name, struct span yaml, struct err *e)
{
    YAML_AUTO *doc = yaml_parse(name, yaml, ERR_BAD_POLICY, e);
    struct policy *p = doc ? calloc(1, sizeof *p) : NULL;
    struct loading l = {.doc = doc, .p = p, .e = e};

    if (p && !load(&l, yaml_root(doc)))
        return p;
    policy_free(p);
    return NULL;
}

static void globs_free(struct globs *g)
{
    for (size_t n = 0; n < g->n; n++)
        free(g->item[n]);
    free(g->item);
}

void policy_free(struct policy *p)
{
    if (!p)
        return;
    for (size_t n = 0; n < p->n_roles; n++) {
        for (size_t i = 0; i < p->role[n].n; i++) {
            globs_free(&p->role[n].rule[i].keys);
            globs_free(&p->role[n].rule[i].apps);
            globs_free(&p->role[n].rule[i].channels);
        }
        free(p->role[n].rule);
    }
    for (size_t n = 0; n < p->n_grants; n++)
        free(p->grant[n].subject);
    free(p->role);
    free(p->grant);
    free(p);
}
