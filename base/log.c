/* Operational messages, one line each, to standard error. */
#include "base/log.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/utf8.h"

#define LINE_MAX_BYTES 4096 /* before escaping; journald and terminals take more, readers do not */

static char program[32] = "kmsd";

void log_program(const char *name)
{
    snprintf(program, sizeof program, "%s", name);
}

/* systemd puts "device:inode" of the journal's socket there; the variable survives a redirection, the comparison does not. */
static bool is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    char ours[48];
    struct stat st;

    if (!stream || fstat(STDERR_FILENO, &st))
        return false;
    snprintf(ours, sizeof ours, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    return strcmp(stream, ours) == 0;
}

static const char *level_name(enum log_level level)
{
    return level <= LOG_LEVEL_ERROR ? "error" : level <= LOG_LEVEL_WARNING ? "warning" : "info";
}

/* Control characters and what is not UTF-8 as \xNN: nothing that arrives from outside can start a line or move a cursor. */
static void put_clean(struct buf *out, const char *text)
{
    const uint8_t *p = (const uint8_t *)text;

    for (size_t left = strlen(text); left;) {
        size_t n = utf8_sequence(p, left), len = n ? n : 1;
        if (n && !utf8_is_control(p, n))
            buf_put(out, p, n);
        else
            for (size_t i = 0; i < len; i++)
                buf_printf(out, "\\x%02x", (unsigned)p[i]);
        p += len;
        left -= len;
    }
}

void log_line(enum log_level level, const char *event, const char *fmt, ...)
{
    BUF_AUTO line = BUF_INIT(8 * LINE_MAX_BYTES);
    char text[LINE_MAX_BYTES];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (is_journal())
        buf_printf(&line, "<%d>", (int)level);
    buf_printf(&line, "program=%s level=%s event=", program, level_name(level));
    put_clean(&line, event);
    if (text[0])
        buf_putc(&line, ' ');
    put_clean(&line, text);
    buf_putc(&line, '\n');
    /* One write, so that lines of several processes do not mix; nobody is left to hear of a failure. */
    if (buf_ok(&line) || write(STDERR_FILENO, line.data, line.len) < 0)
        return;
}
