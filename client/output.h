/* What kmsctl prints: JSON lines for programs, tables for people, failures on standard error; always escaped. */
#ifndef KMS_CLIENT_OUTPUT_H
#define KMS_CLIENT_OUTPUT_H

#include "client/command.h"

/* A column: its title and the member it shows ("log_head.seq" reaches into objects). */
struct column {
    const char *title, *member;
};
/* One object: a JSON line, or "name  value" lines. */
void output_object(const struct context *c, const json_t *object);
/* Items of a list: one JSON object {"items": [...]}, or a table with those columns (up to the first NULL title). */
void output_list(const struct context *c, const json_t *items, const struct column *columns);
/* Bytes as they are: for output that is a file. */
int output_bytes(struct context *c, struct span data) __attribute__((warn_unused_result));
/* Text of several lines; escaped when standard output is a terminal, else exactly as it is. */
int output_block(struct context *c, struct span text) __attribute__((warn_unused_result));
/* "kmsctl: …" on standard error. */
void output_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The failure in c->error. */
void output_error(const struct context *c);
/* Closes standard output; -1 with c->error when something could not be written. */
int output_finish(struct context *c) __attribute__((warn_unused_result));

#endif
