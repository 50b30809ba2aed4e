/* A PKCS#11 module for tests: hands every call on to a real module, counts it, and fails, delays, hangs or corrupts the calls that a rule file names.
 *
 * The rule file is named by KMSD_SHIM_RULES or lies beside this module as MODULE.rules; it is read again whenever it was replaced:
 *     real PATH                          the module behind (read once, when this one is loaded)
 *     state PATH                         counters, shared by all processes (struct state); made by who writes the rules
 *     rule SLOT FUNCTION WHEN ACTION     any number
 * SLOT numbers a counter of the state that says how many calls the rule has seen: a new rule takes a new one.
 * WHEN: always | nth:N | first:N | from:N | every:N | random:PERMILLE:SEED
 * ACTION, for every function: fail:RV (without the real call) | late:RV (after the real call, whose result is lost) | delay:MS | hang | crash
 *     C_Sign: flip | len:N | info (puts a DigestInfo before 32 bytes, as some modules do for CKM_RSA_PKCS)
 *     C_SignInit: swap (another private key) | logout (first) | salt:N (of that many bytes, for CKM_RSA_PKCS_PSS)
 *     C_FindObjects: none | twice
 *     C_GetAttributeValue: flip:TYPE | set:TYPE:BYTE (every byte of that attribute; WHEN counts the reads of it)
 *     C_GetTokenInfo: flags:BITS (are set) | serial (is another one)
 * Numbers may be hexadecimal. A rule that cannot be read ends the process: a test must not pass because of a misspelling. */
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/token/cryptoki.h"

#define RULES_MAX 32
#define SLOTS 4096
#define HANDLES_MAX 64

enum function {
#define X(name, parameters, arguments) FN_##name,
    CRYPTOKI_FUNCTIONS(X)
#undef X
    N_FUNCTIONS
};
static const char *const function_names[] = {
#define X(name, parameters, arguments) #name,
    CRYPTOKI_FUNCTIONS(X)
#undef X
};

/* The file of counters, in the byte order of the machine. */
struct state {
    struct {
        char name[32];
        uint64_t calls, faults;
    } function[N_FUNCTIONS];
    uint64_t slot[SLOTS];
};

enum when { ALWAYS, NTH, FIRST, FROM, EVERY, RANDOM };
enum action { FAIL, LATE, DELAY, HANG, CRASH, FLIP, LEN, SWAP, NONE, TWICE, SET, FLAGS, LOGOUT, SERIAL, INFO, SALT, N_ACTIONS };
struct word {
    const char *text;
    unsigned number, arguments;
};
static const struct word when_words[] = {{"always", ALWAYS, 0}, {"nth", NTH, 1}, {"first", FIRST, 1}, {"from", FROM, 1}, {"every", EVERY, 1},
                                         {"random", RANDOM, 2}, {NULL, 0, 0}};
static const struct word action_words[] = {{"fail", FAIL, 1}, {"late", LATE, 1}, {"delay", DELAY, 1}, {"hang", HANG, 0}, {"crash", CRASH, 0},
                                           {"flip", FLIP, 1}, {"len", LEN, 1}, {"swap", SWAP, 0}, {"none", NONE, 0}, {"twice", TWICE, 0},
                                           {"set", SET, 2}, {"flags", FLAGS, 1}, {"logout", LOGOUT, 0}, {"serial", SERIAL, 0},
                                           {"info", INFO, 0}, {"salt", SALT, 1},
                                           {NULL, 0, 0}};

struct rule {
    unsigned slot;
    enum function function;
    unsigned when, action;
    unsigned long when_arg[2], action_arg[2];
};
/* What the rules say about one call. */
struct hit {
    uint64_t number;                        /* of the call under the last rule that spoke: says which bit flips */
    bool has[N_ACTIONS];
    unsigned long arg[N_ACTIONS][2];
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static CK_FUNCTION_LIST *real, ours;
static char rules_path[PATH_MAX], real_path[PATH_MAX], state_path[PATH_MAX];
static struct stat rules_seen;
static struct rule rules[RULES_MAX];
static size_t n_rules;
static struct state *state;

__attribute__((noreturn)) static void die(const char *what, const char *text)
{
    (void)fprintf(stderr, "shim: %s: %s\n", what, text);
    _exit(99);
}

/* "word:1:0x2" by a table; missing arguments are 0. */
static unsigned parse_word(char *text, const struct word *table, unsigned long arg[static 2])
{
    char *rest = NULL, *name = strtok_r(text, ":", &rest), *number, *end;

    for (; name && table->text; table++) {
        if (strcmp(table->text, name))
            continue;
        for (unsigned n = 0; (number = strtok_r(NULL, ":", &rest)); n++) {
            if (n >= table->arguments)
                die("too many arguments", name);
            arg[n] = strtoul(number, &end, 0);
            if (*end)
                die("not a number", number);
        }
        return table->number;
    }
    die("unknown word", name ? name : "");
}

static enum function parse_function(const char *text)
{
    for (unsigned n = 0; n < N_FUNCTIONS; n++)
        if (!strcmp(text, function_names[n]))
            return (enum function)n;
    die("unknown function", text);
}

static void parse_line(char *line)
{
    char *rest = NULL, *kind = strtok_r(line, " \n", &rest), *field[4];
    struct rule r = {0};

    if (!kind)
        return;
    for (unsigned n = 0; n < 4; n++)
        field[n] = strtok_r(NULL, " \n", &rest);
    if (!strcmp(kind, "real") && field[0]) {
        (void)snprintf(real_path, sizeof real_path, "%s", field[0]);
    } else if (!strcmp(kind, "state") && field[0]) {
        (void)snprintf(state_path, sizeof state_path, "%s", field[0]);
    } else if (!strcmp(kind, "rule") && field[3] && n_rules < RULES_MAX) {
        r.slot = (unsigned)strtoul(field[0], NULL, 10) % SLOTS;
        r.function = parse_function(field[1]);
        r.when = parse_word(field[2], when_words, r.when_arg);
        r.action = parse_word(field[3], action_words, r.action_arg);
        rules[n_rules++] = r;
    } else {
        die("line not understood", kind);
    }
}

static bool same(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Whoever changes the file renames a new one over it. A file that is gone leaves the rules as they were. */
static void read_rules(void)
{
    struct stat now;
    char line[2 * PATH_MAX];
    FILE *file;

    if (stat(rules_path, &now) || same(&now, &rules_seen))
        return;
    file = fopen(rules_path, "re");
    if (!file)
        return;
    n_rules = 0;
    while (fgets(line, sizeof line, file))
        parse_line(line);
    (void)fclose(file);
    rules_seen = now;
}

/* Without the file the counters are this process's own. */
static void map_state(void)
{
    int fd = *state_path ? open(state_path, O_RDWR | O_CLOEXEC) : -1;
    int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
    struct stat st;

    if (fd >= 0 && (fstat(fd, &st) || (size_t)st.st_size < sizeof *state))
        die("the state file is too small", state_path);
    if (*state_path && fd < 0)
        (void)fprintf(stderr, "shim: %s cannot be opened; counting for this process alone\n", state_path);
    state = mmap(NULL, sizeof *state, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (state == MAP_FAILED)
        die("no memory for the counters", state_path);
    if (fd >= 0)
        (void)close(fd);
    for (unsigned n = 0; n < N_FUNCTIONS; n++)
        (void)snprintf(state->function[n].name, sizeof state->function[n].name, "%s", function_names[n]);
}

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static bool applies(const struct rule *r, uint64_t number)
{
    const unsigned long *arg = r->when_arg;

    switch (r->when) {
    case NTH: return number == arg[0];
    case FIRST: return number <= arg[0];
    case FROM: return number >= arg[0];
    case EVERY: return arg[0] && number % arg[0] == 0;
    case RANDOM: return mix(number * UINT64_C(0x9e3779b97f4a7c15) + arg[1]) % 1000 < arg[0];
    default: return true;
    }
}

/* Counts one event of the rule, and the fault where it is one. */
static bool strikes(const struct rule *r, uint64_t *number)
{
    *number = __atomic_add_fetch(&state->slot[r->slot], 1, __ATOMIC_SEQ_CST);
    if (!applies(r, *number))
        return false;
    (void)__atomic_add_fetch(&state->function[r->function].faults, 1, __ATOMIC_SEQ_CST);
    return true;
}

static bool is_about_attribute(const struct rule *r)
{
    return r->function == FN_C_GetAttributeValue && (r->action == FLIP || r->action == SET);
}

static void wait_ms(unsigned long ms)
{
    struct timespec t = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};

    (void)nanosleep(&t, NULL);
}

/* Counts the call, waits as told; not CKR_OK = the real call must not be made. */
static CK_RV begin(enum function function, struct hit *h)
{
    *h = (struct hit){0};
    (void)pthread_mutex_lock(&mutex);
    read_rules();
    (void)__atomic_add_fetch(&state->function[function].calls, 1, __ATOMIC_SEQ_CST);
    for (size_t n = 0; n < n_rules; n++) {
        const struct rule *r = &rules[n];
        uint64_t number;

        if (r->function != function || is_about_attribute(r) || !strikes(r, &number))
            continue;
        h->number = number;
        h->has[r->action] = true;
        memcpy(h->arg[r->action], r->action_arg, sizeof r->action_arg);
    }
    (void)pthread_mutex_unlock(&mutex);
    if (h->has[DELAY])
        wait_ms(h->arg[DELAY][0]);
    while (h->has[HANG])
        (void)poll(NULL, 0, -1); /* what a lane may call at all */
    if (h->has[CRASH])
        (void)raise(SIGSEGV);
    return h->has[FAIL] ? h->arg[FAIL][0] : CKR_OK;
}

static CK_RV end(const struct hit *h, CK_RV rv)
{
    return h->has[LATE] ? h->arg[LATE][0] : rv;
}

/* Some modules leave the rarer functions out. */
#define X(name, parameters, arguments) \
    __attribute__((unused)) static CK_RV forward_##name parameters \
    { \
        struct hit hit; \
        CK_RV rv = begin(FN_##name, &hit); \
        if (rv != CKR_OK) \
            return rv; \
        return end(&hit, real->name ? real->name arguments : CKR_FUNCTION_NOT_SUPPORTED); \
    }
CRYPTOKI_FUNCTIONS(X)
#undef X

static CK_RV sign(CK_SESSION_HANDLE s, CK_BYTE *data, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
    static const CK_BYTE info[] = {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20};
    CK_BYTE with[sizeof info + 32];
    struct hit h;
    CK_RV rv = begin(FN_C_Sign, &h);

    if (rv != CKR_OK)
        return rv; /* the operation stays open, as after a module that gave up half-way */
    if (h.has[INFO] && len == 32) {
        memcpy(with, info, sizeof info);
        memcpy(with + sizeof info, data, 32);
        data = with;
        len = sizeof with;
    }
    rv = real->C_Sign(s, data, len, out, out_len);
    if (rv == CKR_OK && out && h.has[FLIP] && *out_len)
        out[mix(h.number) % *out_len] ^= (CK_BYTE)(1U << (mix(h.number) >> 32) % 8);
    if (rv == CKR_OK && h.has[LEN])
        *out_len = h.arg[LEN][0];
    return end(&h, rv);
}

static CK_OBJECT_HANDLE another_key(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE key)
{
    CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
    CK_ATTRIBUTE want = {CKA_CLASS, &class, sizeof class};
    CK_OBJECT_HANDLE found[HANDLES_MAX];
    CK_ULONG n = 0;

    if (real->C_FindObjectsInit(s, &want, 1) == CKR_OK) {
        (void)real->C_FindObjects(s, found, HANDLES_MAX, &n);
        (void)real->C_FindObjectsFinal(s);
    }
    for (CK_ULONG k = 0; k < n; k++)
        if (found[k] != key)
            return found[k];
    die("swap", "the token has no other private key");
}

static CK_RV sign_init(CK_SESSION_HANDLE s, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    struct hit h;
    CK_RV rv = begin(FN_C_SignInit, &h);

    if (h.has[LOGOUT])
        (void)real->C_Logout(s);
    if (h.has[SALT] && mechanism->mechanism == CKM_RSA_PKCS_PSS)
        ((CK_RSA_PKCS_PSS_PARAMS *)mechanism->pParameter)->sLen = h.arg[SALT][0];
    return rv != CKR_OK ? rv : end(&h, real->C_SignInit(s, mechanism, h.has[SWAP] ? another_key(s, key) : key));
}

static CK_RV find_objects(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE *found, CK_ULONG max, CK_ULONG *n)
{
    struct hit h;
    CK_RV rv = begin(FN_C_FindObjects, &h);

    if (rv != CKR_OK)
        return rv;
    rv = real->C_FindObjects(s, found, h.has[TWICE] ? max / 2 : max, n);
    if (rv == CKR_OK && h.has[NONE])
        *n = 0;
    if (rv == CKR_OK && h.has[TWICE]) {
        memcpy(found + *n, found, *n * sizeof *found);
        *n *= 2;
    }
    return end(&h, rv);
}

static void spoil_attribute(const CK_ATTRIBUTE *a)
{
    CK_BYTE *value = a->pValue;
    uint64_t number;

    if (!value || !a->ulValueLen || a->ulValueLen == CK_UNAVAILABLE_INFORMATION)
        return;
    for (size_t n = 0; n < n_rules; n++) {
        const struct rule *r = &rules[n];

        if (!is_about_attribute(r) || r->action_arg[0] != a->type || !strikes(r, &number))
            continue;
        if (r->action == FLIP)
            value[a->ulValueLen - 1] ^= 1;
        else
            memset(value, (int)r->action_arg[1], a->ulValueLen);
    }
}

static CK_RV get_attributes(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE o, CK_ATTRIBUTE *a, CK_ULONG n)
{
    struct hit h;
    CK_RV rv = begin(FN_C_GetAttributeValue, &h);

    if (rv != CKR_OK)
        return rv;
    rv = real->C_GetAttributeValue(s, o, a, n);
    (void)pthread_mutex_lock(&mutex);
    for (CK_ULONG k = 0; k < n; k++)
        spoil_attribute(&a[k]);
    (void)pthread_mutex_unlock(&mutex);
    return end(&h, rv);
}

static CK_RV token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
    struct hit h;
    CK_RV rv = begin(FN_C_GetTokenInfo, &h);

    if (rv != CKR_OK)
        return rv;
    rv = real->C_GetTokenInfo(slot, info);
    if (rv == CKR_OK && h.has[FLAGS])
        info->flags |= h.arg[FLAGS][0];
    if (rv == CKR_OK && h.has[SERIAL])
        info->serialNumber[0] ^= 1;
    return end(&h, rv);
}

static void find_rules(void)
{
    const char *named = getenv("KMSD_SHIM_RULES");
    static const char here;
    Dl_info self;

    if (named)
        (void)snprintf(rules_path, sizeof rules_path, "%s", named);
    else if (dladdr(&here, &self))
        (void)snprintf(rules_path, sizeof rules_path, "%s.rules", self.dli_fname);
}

static void load(void)
{
    CK_C_GetFunctionList get;
    void *lib, *symbol;

    find_rules();
    read_rules();
    if (!*real_path)
        die("no real module is named in", rules_path);
    map_state();
    lib = dlopen(real_path, RTLD_NOW | RTLD_LOCAL);
    symbol = lib ? dlsym(lib, "C_GetFunctionList") : NULL;
    memcpy(&get, &symbol, sizeof get);
    if (!symbol || get(&real) != CKR_OK)
        die("not a PKCS#11 module", real_path);
    ours.version = real->version;
#define X(name, parameters, arguments) ours.name = forward_##name;
    CRYPTOKI_FUNCTIONS(X)
#undef X
    ours.C_GetFunctionList = C_GetFunctionList;
    ours.C_Sign = sign;
    ours.C_SignInit = sign_init;
    ours.C_FindObjects = find_objects;
    ours.C_GetAttributeValue = get_attributes;
    ours.C_GetTokenInfo = token_info;
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list)
{
    (void)pthread_mutex_lock(&mutex);
    if (!real)
        load();
    (void)pthread_mutex_unlock(&mutex);
    *list = &ours;
    return CKR_OK;
}
