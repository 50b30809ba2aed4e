/* Fuzzes kmsd.yaml: what is refused is told with its place; of what is taken every setting holds what the file says, within its bounds, and nothing in
 * the file was left unread; all of it written out, defaults too, reads the same. The input is taken once as it is, once as what follows the settings that
 * must be there. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/utf8.h"

#include "kmsd/settings.c"
#include "tests/fuzz/folder.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

#define LEAST \
    "version: 1\ninstance: a\nlisten: {ci: 'c', admin: 'd'}\ntls: {certificate: e, key: f, client_ca: [g]}\n" \
    "tokens: {lock: h, keys: {module: i, label: j, pin_file: k}, checkpoint: {module: i, label: l, pin_file: m}}\naudit: {directory: n}\n"

static char file[64];

/* See fuzz_yaml.c: text in quotes that the library loses. */
const char *__lsan_default_suppressions(void)
{
    return "leak:libfyaml.so\n";
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    folder_make();
    (void)snprintf(file, sizeof file, "%s", folder_path("kmsd.yaml"));
    return 0;
}

static void put(struct span text)
{
    int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    require(fd >= 0 && !fd_write(fd, text.data, text.len) && !close(fd));
}

/* "FILE:line:column: " within the text, or "FILE: " where it is about the whole. */
static void check_refusal(const struct err *e, struct span text)
{
    const char *at = strstr(e->detail, file);
    unsigned long line, column, lines = 1;
    char *end;

    require(e->code == ERR_BAD_REQUEST && at && at[strlen(file)] == ':');
    at += strlen(file) + 1;
    if (*at == ' ')
        return;
    for (size_t n = 0; n < text.len; n++)
        lines += text.data[n] == '\n' || text.data[n] == '\r';
    line = strtoul(at, &end, 10);
    require(*end == ':' && line >= 1 && line <= lines + 1);
    column = strtoul(end + 1, &end, 10);
    /* A block scalar without lines begins two behind its mark. */
    require(*end == ':' && end[1] == ' ' && end[2] && column >= 1 && column <= text.len + 2);
}

static size_t leaves(const struct yaml_node *map)
{
    size_t n = 0;

    for (size_t i = 0; i < map->n; i++)
        n += map->value[i]->kind == YAML_MAPPING ? leaves(map->value[i]) : 1;
    return n;
}

static const struct yaml_node *find(const struct yaml_node *at, const char *path)
{
    char name[64];

    for (size_t len; at && *path; path += len + (path[len] == '.')) {
        len = strcspn(path, ".");
        require(len < sizeof name);
        memcpy(name, path, len);
        name[len] = '\0';
        at = yaml_get(at, name);
    }
    return at;
}

static void check_path(const char *held, const char *said)
{
    size_t dir = strlen(folder);

    require(*held == '/' && strnlen(held, PATH_MAX) < PATH_MAX);
    require(*said == '/' ? !strcmp(held, said) : !strncmp(held, folder, dir) && held[dir] == '/' && !strcmp(held + dir + 1, said));
}

/* Where a list of paths is held. */
static char (*list_of(struct settings *s, enum kind kind, unsigned *n))[PATH_MAX]
{
    struct token_settings *t = kind == KEYS_PATHS ? &s->keys : &s->checkpoint;

    *n = kind == PATHS ? s->n_client_ca : t->n_paths;
    return kind == PATHS ? s->client_ca : t->paths;
}

static bool is_list(enum kind kind)
{
    return kind == PATHS || kind == KEYS_PATHS || kind == CHECKPOINT_PATHS;
}

/* The word that stands for what is held. */
static const char *word_of(const struct row *row, const char *held)
{
    unsigned value;
    uint64_t type;

    if (row->kind == WORD) {
        memcpy(&type, held, sizeof type);
        require(type < N_TYPES);
        return TYPES[type];
    }
    memcpy(&value, held, sizeof value);
    for (const struct choice *c = CHOICES[row->kind].words; c->word; c++)
        if (c->value == value)
            return c->word;
    abort();
}

static void check_text(const struct row *row, const char *held, const char *said)
{
    require(strnlen(held, row->size) < row->size && !strcmp(held, said));
    require(!*held || row->kind != TOKEN_URI || (!strncmp(held, "pkcs11:", 7) && !strstr(held, "pin-")));
    require(row->kind != FILE_NAME || (*held != '.' && !strchr(held, '/')));
    for (; row->kind == ORIGIN && *held; held++)
        require((*held >= 'a' && *held <= 'z') || (*held >= '0' && *held <= '9') || *held == '.' || *held == '-');
}

/* n = what the file says, NULL = nothing. */
static void check_row(struct settings *s, const struct row *row, const struct yaml_node *n)
{
    const char *held = (const char *)s + row->at;
    uint64_t number;
    unsigned count;

    if (is_list(row->kind)) {
        char (*list)[PATH_MAX] = list_of(s, row->kind, &count);

        require(n ? n->kind == YAML_SEQUENCE && n->n == count && count && count <= 8 : !count);
        for (unsigned i = 0; i < count; i++)
            check_path(list[i], n->value[i]->text);
        return;
    }
    require(!n || n->kind == YAML_SCALAR);
    if (row->kind == NUMBER) {
        char text[24];

        memcpy(&number, held, sizeof number);
        (void)snprintf(text, sizeof text, "%llu", (unsigned long long)number);
        require(number >= row->min && number <= row->max && (n ? !strcmp(n->text, text) : number == row->dflt));
    } else if (row->kind == WORD || row->kind >= SANDBOX) {
        const char *word = word_of(row, held);

        require(!n || !strcmp(n->text, word));
    } else if (row->kind == PATH) {
        if (n || *held)
            check_path(held, n ? n->text : held);
    } else {
        check_text(row, held, n ? n->text : "");
    }
}

static void check_taken(struct settings *s, struct span text)
{
    struct err e = {0};
    YAML_AUTO *d = yaml_parse(file, text, ERR_BAD_REQUEST, &e);
    const struct yaml_node *version = d ? yaml_get(yaml_root(d), "version") : NULL;
    size_t said = 1;

    require(version && version->kind == YAML_SCALAR && !strcmp(version->text, "1"));
    for (const struct row *row = SCHEMA; row < SCHEMA + N_ROWS; row++) {
        const struct yaml_node *n = find(yaml_root(d), row->path);

        said += n != NULL;
        check_row(s, row, n);
    }
    require(leaves(yaml_root(d)) == said);
    require(s->n_client_ca && *s->instance && *s->anchor && *s->index && *s->snapshots_dir);
    for (int i = 0; i < 2; i++) {
        const struct token_settings *t = i ? &s->checkpoint : &s->keys;

        require(*t->module && !*t->label != !*t->uri && !*t->pin_file != !*t->pin_credential && !*t->uri == !*t->uri_at);
    }
}

/* Nothing in it but letters and digits stands for itself. */
static void put_quoted(struct buf *out, const char *text)
{
    size_t left = strlen(text);

    buf_putc(out, '"');
    for (const uint8_t *p = (const uint8_t *)text; left;) {
        size_t n = utf8_sequence(p, left);
        uint32_t c = n == 1 ? *p : *p & (0x7fu >> n);

        require(n > 0);
        for (size_t i = 1; i < n; i++)
            c = c << 6 | (p[i] & 0x3f);
        if ((c | 0x20) >= 'a' && (c | 0x20) <= 'z')
            buf_putc(out, (uint8_t)c);
        else
            buf_printf(out, "\\U%08x", c);
        p += n;
        left -= n;
    }
    buf_putc(out, '"');
}

static void write_value(struct buf *out, struct settings *s, const struct row *row)
{
    const char *held = (const char *)s + row->at;
    uint64_t number;
    unsigned count;

    if (is_list(row->kind)) {
        char (*list)[PATH_MAX] = list_of(s, row->kind, &count);

        for (unsigned i = 0; i < count; i++) {
            buf_putc(out, i ? ',' : '[');
            put_quoted(out, list[i]);
        }
        buf_putc(out, ']');
    } else if (row->kind == NUMBER) {
        memcpy(&number, held, sizeof number);
        buf_decimal(out, number);
    } else {
        put_quoted(out, row->kind == WORD || row->kind >= SANDBOX ? word_of(row, held) : held);
    }
}

static bool is_set(struct settings *s, const struct row *row)
{
    unsigned count;

    if (is_list(row->kind))
        return list_of(s, row->kind, &count) && count;
    return row->kind == NUMBER || row->kind == WORD || row->kind >= SANDBOX || *((const char *)s + row->at);
}

/* The mapping of all rows whose paths begin so; `len` of them is that beginning. */
static void write_mapping(struct buf *out, struct settings *s, const char *prefix, size_t len)
{
    bool first = true;

    buf_putc(out, '{');
    for (const struct row *row = SCHEMA; row < SCHEMA + N_ROWS; row++) {
        const char *name = row->path + len;
        size_t n = strcspn(row->path + (strncmp(row->path, prefix, len) ? 0 : len), ".");
        bool written = strncmp(row->path, prefix, len) || (!name[n] && !is_set(s, row));

        for (const struct row *before = SCHEMA; before < row && !written; before++)
            written = !strncmp(before->path, row->path, len + n) && before->path[len + n] == '.';
        if (written)
            continue;
        buf_printf(out, "%s%.*s: ", first ? "" : ", ", (int)n, name);
        first = false;
        if (name[n])
            write_mapping(out, s, row->path, len + n + 1);
        else
            write_value(out, s, row);
    }
    if (!len)
        buf_puts(out, ", version: 1");
    buf_puts(out, "}\n");
}

static void check_again(struct settings *s)
{
    static struct settings again;
    BUF_AUTO text = BUF_INIT(YAML_MAX);
    struct err e = {0};

    write_mapping(&text, s, "", 0);
    if (buf_ok(&text)) /* escapes are longer than what they stand for */
        return;
    put(buf_span(&text));
    require(!settings_load(file, &again, &e));
    /* The URI stands elsewhere now. */
    memset(s->keys.uri_at, 0, sizeof s->keys.uri_at);
    memset(s->checkpoint.uri_at, 0, sizeof s->checkpoint.uri_at);
    memset(again.keys.uri_at, 0, sizeof again.keys.uri_at);
    memset(again.checkpoint.uri_at, 0, sizeof again.checkpoint.uri_at);
    require(!memcmp(s, &again, sizeof again));
}

static void try(struct span text)
{
    static struct settings s;
    struct err e = {0};

    put(text);
    if (settings_load(file, &s, &e)) {
        check_refusal(&e, text);
        return;
    }
    require(e.code == ERR_NONE);
    check_taken(&s, text);
    check_again(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    BUF_AUTO text = BUF_INIT(YAML_MAX);

    buf_puts(&text, LEAST);
    buf_put(&text, data, size);
    if (buf_ok(&text))
        return 0;
    try(span_of(data, size));
    try(buf_span(&text));
    return 0;
}
