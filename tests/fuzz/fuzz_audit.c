/* Fuzzes kms-audit with whole logs: verify and show end with one of their exit codes, whatever the log says. Input: lines. One that begins with # is a body for
 * blobs/, its line feeds written as \x01; the others are records, whose numbers and predecessors are put right first, or none would be looked at closely. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit/verify/show.h"
#include "audit/verify/verify.h"
#include "base/buf.h"
#include "base/hash.h"
#include "tests/fuzz/folder.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SEGMENT "audit/00000000000000000000.jsonl"
#define BLOBS_MAX 16

static char blobs[BLOBS_MAX][80];
static unsigned n_blobs;
static FILE *nowhere;

/* What it prints is nobody's; reports of a sanitizer take another way. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    folder_make();
    require(!mkdir(folder_path("audit"), 0700) && !mkdir(folder_path("audit/blobs"), 0700));
    nowhere = fopen("/dev/null", "w");
    require(nowhere != NULL);
    return 0;
}

static void write_file(const char *name, struct span text)
{
    int fd = open(folder_path(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    require(fd >= 0 && write(fd, text.data, text.len) == (ssize_t)text.len && !close(fd));
}

static void write_blob(struct span text)
{
    BUF_AUTO body = BUF_INIT(1 << 20);
    char hash[SHA256_HEX];

    if (n_blobs == BLOBS_MAX)
        return;
    for (size_t n = 0; n < text.len; n++)
        buf_putc(&body, text.data[n] == 1 ? '\n' : (char)text.data[n]);
    sha256_hex(body.data, body.len, hash);
    (void)snprintf(blobs[n_blobs], sizeof *blobs, "audit/blobs/%s", hash);
    write_file(blobs[n_blobs++], buf_span(&body));
}

/* Where the value of that member begins; members of objects in the record come before it in canonical form. NULL = there is none. */
static uint8_t *value_of(struct span line, const char *member)
{
    size_t len = strlen(member);
    uint8_t *found = NULL, *at, *end = (uint8_t *)(uintptr_t)line.data + line.len;

    for (at = (uint8_t *)(uintptr_t)line.data; (at = memmem(at, (size_t)(end - at), member, len)); at += len)
        found = at + len;
    return found;
}

/* The line with its number and the hash of the line before. */
static void put_record(struct buf *log, struct span line, unsigned seq, const char *prev)
{
    size_t from = log->len;
    uint8_t *at = value_of(line, "\"seq\":");
    size_t head = at ? (size_t)(at - line.data) : line.len, digits = 0;

    while (head + digits < line.len && line.data[head + digits] >= '0' && line.data[head + digits] <= '9')
        digits++;
    buf_put(log, line.data, head);
    if (digits)
        buf_printf(log, "%u", seq);
    buf_put(log, line.data + head + digits, line.len - head - digits);
    at = log->data ? value_of(span_of(log->data + from, log->len - from), "\"prev\":\"") : NULL;
    if (at && (size_t)(log->data + log->len - at) >= SHA256_HEX)
        memcpy(at, prev, SHA256_HEX - 1);
    buf_putc(log, '\n');
}

static void write_log(struct span text)
{
    BUF_AUTO log = BUF_INIT(4 << 20);
    char prev[SHA256_HEX];
    unsigned seq = 0;

    memset(prev, '0', SHA256_HEX - 1);
    while (text.len) {
        const uint8_t *lf = memchr(text.data, '\n', text.len);
        struct span line = span_of(text.data, lf ? (size_t)(lf - text.data) : text.len);
        size_t from = log.len;

        text = lf ? span_of(lf + 1, text.len - line.len - 1) : span_of(NULL, 0);
        if (line.len && *line.data == '#') {
            write_blob(span_of(line.data + 1, line.len - 1));
            continue;
        }
        put_record(&log, line, seq++, prev);
        if (!buf_ok(&log))
            sha256_hex(log.data + from, log.len - from - 1, prev);
    }
    write_file(SEGMENT, buf_span(&log));
}

static void run(int (*command)(int argc, char **argv), const char *option, const char *value)
{
    char name[] = "kms-audit", first[32], second[32];
    char *argv[] = {name, folder, first, second, NULL};
    FILE *out = stdout, *err = stderr;
    int code;

    (void)snprintf(first, sizeof first, "%s", option);
    (void)snprintf(second, sizeof second, "%s", value);
    stdout = stderr = nowhere;
    code = command(4, argv);
    stdout = out;
    stderr = err;
    require(code == EXIT_SOUND || code == EXIT_TAMPERED || code == EXIT_UNUSABLE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + 1); /* numbers are put right in place */

    require(copy != NULL);
    memcpy(copy, data, size);
    write_log(span_of(copy, size));
    run(verify_main, "--output", size % 2 ? "json" : "table");
    run(show_main, "--since", "2020-01-01");
    while (n_blobs)
        (void)unlink(folder_path(blobs[--n_blobs]));
    free(copy);
    return 0;
}
