/* Operational messages: one line to stderr, for journald, a collector or a terminal. Not the audit log. */
#ifndef KMS_BASE_LOG_H
#define KMS_BASE_LOG_H

enum log_level { LOG_LEVEL_ERROR = 3, LOG_LEVEL_WARNING = 4, LOG_LEVEL_INFO = 6 };
enum log_format { LOG_FORMAT_LOGFMT, LOG_FORMAT_JSON };

/* Program name shown in each line, set once. */
void log_program(const char *name);
/* How lines look, and the least urgent level that is written; logfmt and info until set. */
void log_set(enum log_format format, enum log_level level);
/* `event` is a short fixed word; fmt is a list of fields, key=%d or key="... %s", one blank between two. What fields there are is settled by fmt
 * alone: nothing that arrives from outside can make another field, another line, or move a cursor. Where stderr is a journal's stream (JOURNAL_STREAM) the
 * line begins with <level>, and its time is the journal's. */
void log_line(enum log_level level, const char *event, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
