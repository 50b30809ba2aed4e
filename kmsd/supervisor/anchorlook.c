/* Compares the anchor with the log. */
#include "kmsd/supervisor/anchorlook.h"

#include <string.h>

#include "audit/logdir.h"

struct looking {
    struct anchor_look *look;
    char there[SHA256_HEX];          /* hash of the record that the anchor names, "" = not reached */
};

static int see(void *ctx, const json_t *record, struct span line, struct err *e)
{
    struct looking *l = ctx;
    struct anchor_look *look = l->look;
    const char *instance;

    (void)e;
    sha256_hex(line.data, line.len, look->head);
    if (!look->records) {
        instance = rec_str(rec_obj(record, "detail"), "instance");
        memcpy(look->instance, instance, strnlen(instance, sizeof look->instance - 1));
    }
    if (look->file <= ANCHOR_FILE_HALF && look->records == look->anchor.seq)
        memcpy(l->there, look->head, sizeof l->there);
    look->records++;
    return 0;
}

/* The anchor is read first: while the service runs, the log may only get further ahead of it. */
int anchor_look(const struct settings *s, struct anchor_look *out, struct err *e)
{
    struct looking l = {.look = out};
    const struct log_reader reader = {.each = see, .ctx = &l, .look_only = true};
    json_t *torn = NULL;
    struct logdir log;

    *out = (struct anchor_look){0};
    if (anchor_file_read(s->anchor, &out->anchor, &out->file, e) || logdir_open(&log, s->audit_dir, &reader, &torn, e))
        return -1;
    out->torn = torn != NULL;
    json_decref(torn);
    logdir_close(&log);
    out->verdict = anchor_judge(&out->anchor, out->instance, out->records, l.there);
    return 0;
}

const char *anchor_look_word(const struct anchor_look *l)
{
    return l->file == ANCHOR_FILE_MISSING ? "missing" : l->file == ANCHOR_FILE_UNUSABLE ? "unusable" : anchor_verdict_word(l->verdict);
}

bool anchor_look_sound(const struct anchor_look *l)
{
    return l->file <= ANCHOR_FILE_HALF && l->verdict == ANCHOR_HOLDS;
}
