/* Looks up the numbers of words. */
#include "kmsd/reader/words.h"

#include <string.h>

int words_prepare(struct words *w, sqlite3 *db)
{
    int rc = sqlite3_prepare_v3(db, "SELECT id FROM word WHERE text = ?1", -1, SQLITE_PREPARE_PERSISTENT, &w->find, NULL);

    return rc ? rc : sqlite3_prepare_v3(db, "INSERT INTO word(text) VALUES(?1)", -1, SQLITE_PREPARE_PERSISTENT, &w->add, NULL);
}

void words_end(struct words *w)
{
    sqlite3_finalize(w->find);
    sqlite3_finalize(w->add);
}

/* FNV-1a; whoever finds collisions makes a look-up slower, no more. */
static unsigned slot_of(const char *text)
{
    uint32_t h = 2166136261u;

    for (; *text; text++)
        h = (h ^ (uint8_t)*text) * 16777619u;
    return h % WORDS_SLOTS;
}

static int run(sqlite3_stmt *q, const char *text, int64_t *id)
{
    int rc = sqlite3_bind_text(q, 1, text, -1, SQLITE_STATIC);

    if (!rc)
        rc = sqlite3_step(q);
    if (rc == SQLITE_ROW)
        *id = sqlite3_column_int64(q, 0);
    (void)sqlite3_reset(q);
    (void)sqlite3_clear_bindings(q);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int words_id(struct words *w, const char *text, bool add, int64_t *id)
{
    unsigned n = slot_of(text);
    size_t len = strlen(text);
    int rc;

    *id = 0;
    if (w->slot[n].id && !strcmp(w->slot[n].text, text)) {
        *id = w->slot[n].id;
        return SQLITE_OK;
    }
    rc = run(w->find, text, id);
    if (!rc && !*id && add) {
        rc = run(w->add, text, id);
        *id = sqlite3_last_insert_rowid(sqlite3_db_handle(w->add));
    }
    if (!rc && *id && len < WORDS_TEXT) {
        w->slot[n].id = *id;
        memcpy(w->slot[n].text, text, len + 1);
    }
    return rc;
}
