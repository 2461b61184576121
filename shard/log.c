/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "shard/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_SIZE (LOG_LINE_SIZE + 64U)

static const char *const level_names[] = {
    [LOG_ERROR] = "error", [LOG_WARNING] = "warning", [LOG_INFO] = "info", [LOG_DEBUG] = "debug"};

uint32_t log_format(char *line, uint32_t room, enum log_level level, int shard, const char *text)
{
    struct timespec now;
    struct tm       parts;
    char            stamp[32];
    char            place[16] = "";

    clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &parts);
    size_t size = strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &parts);
    stamp[size] = '\0';
    if (shard >= 0)
        snprintf(place, sizeof(place), "[%d] ", shard);

    int written = snprintf(line, room, "%s.%03ldZ %s %s%s\n", stamp, now.tv_nsec / 1000000,
                           level_names[level], place, text);
    if (written < 0)
        return 0;
    if ((uint32_t)written < room)
        return (uint32_t)written;
    line[room - 2] = '\n';
    return room - 1;
}

void log_init(struct log *log, struct ring *ring, uint64_t token, uint16_t shard,
              enum log_level level)
{
    log->ring = ring;
    log->token = token;
    log->shard = shard;
    log->level = level;
    log->writing = false;
    log->filling = 0;
    log->sizes[0] = log->sizes[1] = 0;
    log->written = 0;
    log->suppressed = 0;
}

static void append(struct log *log, enum log_level level, const char *text)
{
    char      line[LINE_SIZE];
    uint32_t  size = log_format(line, sizeof(line), level, log->shard, text);
    uint32_t *filled = &log->sizes[log->filling];

    if (*filled + size > LOG_BUFFER_SIZE) {
        log->suppressed++;
        return;
    }
    memcpy(log->halves[log->filling] + *filled, line, size);
    *filled += size;
}

void log_line(struct log *log, enum log_level level, const char *format, ...)
{
    if (level > log->level)
        return;

    char    text[LOG_LINE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    append(log, level, text);
}

void log_suppressed(struct log *log, uint32_t count)
{
    log->suppressed += count;
}

static void start_write(struct log *log)
{
    uint8_t half = !log->filling;
    log->writing = true;
    ring_write(log->ring, log->token, STDERR_FILENO, log->halves[half] + log->written,
               log->sizes[half] - log->written);
}

void log_flush(struct log *log)
{
    if (log->writing)
        return;
    if (log->suppressed > 0 && log->sizes[log->filling] + LINE_SIZE <= LOG_BUFFER_SIZE) {
        char text[64];
        snprintf(text, sizeof(text), "%llu more lines were left out",
                 (unsigned long long)log->suppressed);
        log->suppressed = 0;
        append(log, LOG_WARNING, text);
    }
    if (log->sizes[log->filling] == 0)
        return;

    log->filling = !log->filling;
    log->sizes[log->filling] = 0;
    log->written = 0;
    start_write(log);
}

void log_written(struct log *log, int32_t result)
{
    uint8_t half = !log->filling;
    log->writing = false;

    /* A closed standard error is no reason to stop: the lines are lost, the broker goes on. */
    if (result > 0 && log->written + (uint32_t)result < log->sizes[half]) {
        log->written += (uint32_t)result;
        start_write(log);
        return;
    }
    log->sizes[half] = 0;
}

static void write_all(const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t written = write(STDERR_FILENO, bytes, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return;
        bytes += written;
        size -= (size_t)written;
    }
}

void log_fini(struct log *log)
{
    write_all(log->halves[log->filling], log->sizes[log->filling]);
    log->sizes[log->filling] = 0;
}

void log_direct(enum log_level level, const char *format, ...)
{
    char    text[LOG_LINE_SIZE];
    char    line[LINE_SIZE];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    write_all(line, log_format(line, sizeof(line), level, -1, text));
}
