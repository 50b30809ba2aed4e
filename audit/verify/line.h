/* Reads the lines of one file with a fixed buffer, whatever the file holds. */
#ifndef KMS_VERIFY_LINE_H
#define KMS_VERIFY_LINE_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

#define LINE_MAX_BYTES 65535
#define LINE_BUFFER (512u << 10)

struct line {
    const uint8_t *data;   /* without LF; valid until the next call */
    size_t len;            /* bytes in data: at most LINE_MAX_BYTES + 1 of a longer line */
    uint64_t offset, size; /* in the file; size counts the LF and what was cut of a long line */
    bool ended;            /* by an LF */
    bool has_nul;
};

struct line_reader {
    int fd;
    uint8_t *data;
    size_t start, end;
    uint64_t offset;       /* of data[start] in the file */
    bool eof;
};

/* ERR_NOT_FOUND when it cannot be opened as a regular file. */
int line_open(struct line_reader *r, const char *path, uint64_t offset, struct err *e) __attribute__((warn_unused_result));
void line_close(struct line_reader *r);
/* 1 = a line, 0 = end of file, -1 = read error. */
int line_next(struct line_reader *r, struct line *out, struct err *e) __attribute__((warn_unused_result));

#endif
