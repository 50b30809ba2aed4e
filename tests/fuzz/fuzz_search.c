/* Queries of a search: what is taken has only values of its alphabets, says the same when it is read again, and makes no statement but of known parts. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "audit/search.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char query[SEARCH_QUERY_MAX + 1];
    struct search s, before, again;
    struct err e = {0};

    if (size > SEARCH_QUERY_MAX || memchr(data ? data : (const uint8_t *)"", 0, size))
        return 0;
    memcpy(query, data ? data : (const uint8_t *)"", size);
    query[size] = '\0';
    memset(&s, 0x5A, sizeof s);
    before = s;
    if (search_parse(query, &s, &e)) {
        require(e.code == ERR_BAD_REQUEST || e.code == ERR_UNKNOWN_MEMBER || e.code == ERR_BAD_NAME);
        require(e.detail[0] && !memcmp(&s, &before, sizeof s));
        return 0;
    }
    require(e.code == ERR_NONE && s.limit >= 1 && s.limit <= SEARCH_LIMIT_MAX && s.after <= INT64_MAX);
    for (unsigned f = 0; f < SEARCH_FIELD_COUNT; f++) {
        require(strlen(s.text[f]) <= SEARCH_TEXT_MAX);
        require(!s.text[f][strspn(s.text[f], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-")]);
    }
    require(!search_parse(query, &again, &e));
    for (unsigned f = 0; f < SEARCH_FIELD_COUNT; f++)
        require(!strcmp(s.text[f], again.text[f]));
    require(s.since == again.since && s.until == again.until && s.after == again.after && s.has_after == again.has_after && s.limit == again.limit);
    return 0;
}
