/* Memory for JSON values that live as long as one record: fifty small pieces from the front of one block, which begins anew when all are given back. */
#include "audit/verify/arena.h"

#include <stdint.h>
#include <stdlib.h>

#include "base/json.h"

#define BLOCK (512u << 10)
#define PIECE 16 /* what malloc aligns to */

static _Alignas(PIECE) uint8_t block[BLOCK];
static size_t used, pieces; /* bytes of the block, pieces of it that somebody holds */

static void *take(size_t n)
{
    uint8_t *piece = block + used;

    if (n > BLOCK - PIECE - used)
        return malloc(n);
    used += (n + PIECE - 1) / PIECE * PIECE;
    pieces++;
    return piece;
}

static void give_back(void *piece)
{
    if ((uintptr_t)piece - (uintptr_t)block >= BLOCK)
        free(piece);
    else if (!--pieces)
        used = 0;
}

void arena_serve_json(void)
{
#ifndef KMSD_SANITIZED /* a sanitizer watches pieces that malloc gave */
    json_set_alloc_funcs(take, give_back);
#else
    (void)take;
    (void)give_back;
#endif
}
