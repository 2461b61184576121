/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/options/report.h"

#include <stdarg.h>

void report_clear(struct options_error *error)
{
    error->count = 0;
    error->text[0] = '\0';
}

void report_add(struct options_error *error, const char *format, ...)
{
    char    line[1024];
    va_list arguments;

    error->count++;
    va_start(arguments, format);
    int size = vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    assert(size >= 0);

    /* A message that does not fit whole is left out: half a sentence helps nobody. */
    static const char rest[] = "\n(further faults are not shown)";
    size_t            used = strlen(error->text);
    bool              ended =
        used >= sizeof(rest) - 1 && strcmp(error->text + used - (sizeof(rest) - 1), rest) == 0;
    if (ended)
        return;
    if (error->count <= REPORT_FAULTS_MAX &&
        used + strlen(line) + 1 + sizeof(rest) <= OPTIONS_ERROR_SIZE)
        (void)snprintf(error->text + used, OPTIONS_ERROR_SIZE - used, "%s%s", used > 0 ? "\n" : "",
                       line);
    else
        memcpy(error->text + used, rest, sizeof(rest));
}
