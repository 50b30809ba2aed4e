/* Operational messages: one line to stderr, key=value, for journald or a terminal. Not the audit log. */
#ifndef KMS_BASE_LOG_H
#define KMS_BASE_LOG_H

enum log_level { LOG_LEVEL_ERROR = 3, LOG_LEVEL_WARNING = 4, LOG_LEVEL_INFO = 6 };

/* Program name shown in each line, set once. */
void log_program(const char *name);
/* `event` is a short fixed word; the rest is printf-formatted "key=value ..." text. Control bytes are escaped. Prefixed with <level> when stderr is a journal stream (JOURNAL_STREAM set). */
void log_line(enum log_level level, const char *event, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
