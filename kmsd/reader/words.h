/* Texts that many records share, kept once and known by a number. */
#ifndef KMS_READER_WORDS_H
#define KMS_READER_WORDS_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#define WORDS_SLOTS 1024u
#define WORDS_TEXT 96

/* What was looked up last, by hash of its text. */
struct words {
    sqlite3_stmt *find, *add;
    struct {
        int64_t id; /* 0 = empty */
        char text[WORDS_TEXT];
    } slot[WORDS_SLOTS];
};
int words_prepare(struct words *w, sqlite3 *db);
void words_end(struct words *w);
/* SQLite's result code; *id is 0 for a word that is not there (add false). */
int words_id(struct words *w, const char *text, bool add, int64_t *id);

#endif
