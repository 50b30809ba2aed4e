/* Fuzzes anchor_decode: what is taken for a slot is written again as the very same bytes. A slot with a sum made right is tried as well, or the sum would hide the rest. */
#include <stdlib.h>
#include <string.h>

#include "audit/anchor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void try(const uint8_t *data, size_t size)
{
    BUF_AUTO again = BUF_INIT(ANCHOR_LEN);
    struct anchor a;

    if (anchor_decode(span_of(data, size), &a))
        return;
    require(size == ANCHOR_LEN && strlen(a.instance) == 32 && strlen(a.hash) == SHA256_HEX - 1);
    anchor_encode(&again, &a);
    require(buf_ok(&again) == 0 && span_eq(buf_span(&again), span_of(data, size)));
    require(anchor_judge(&a, a.instance, a.seq + 1, a.hash) == ANCHOR_HOLDS && anchor_judge(&a, a.instance, a.seq, NULL) == ANCHOR_AHEAD);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t summed[ANCHOR_LEN];

    try(data, size);
    if (size < ANCHOR_LEN)
        return 0;
    memcpy(summed, data, ANCHOR_LEN);
    sha256(summed, ANCHOR_LEN - SHA256_LEN, summed + ANCHOR_LEN - SHA256_LEN);
    try(summed, ANCHOR_LEN);
    return 0;
}
