/* Memory for JSON values that live as long as one record: fifty small pieces from the front of one block, which begins anew when all are given back. */
#ifndef KMS_VERIFY_ARENA_H
#define KMS_VERIFY_ARENA_H

/* From here on jansson takes its memory from the block, or from malloc where the block is full. For programs in which one thread uses jansson. */
void arena_serve_json(void);

#endif
