/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Any bytes as a configuration file: refused with a message or taken, never a crash or a hang.
 * Those that begin with "--" are a command line instead, an argument a line.
 */
#include "core/options/options.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define ARGUMENTS_MAX 32

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_outcome(int status, const struct options *options,
                          const struct options_error *error)
{
    assert((status == 0) == (error->count == 0));
    assert((status == 0) == (error->text[0] == '\0'));
    assert(memchr(error->text, '\0', sizeof(error->text)) != NULL);
    if (status < 0)
        return;
    assert(options->shards <= OPTIONS_SHARDS_MAX);
    assert(options->cpu_count <= OPTIONS_CPUS_MAX);
    assert(options->listener_count >= 1 && options->listener_count <= OPTIONS_LISTENERS_MAX);
    assert(options->protocol.receive_maximum >= 1);
    assert(options->limits.queue_bytes_max >= options->limits.packet_size_max);
    assert(strlen(options->data) < sizeof(options->data));
}

static void parse_command_line(struct options *options, char *text, struct options_error *error)
{
    char  program[] = "shardmq";
    char *arguments[ARGUMENTS_MAX + 2] = {program};
    int   count = 1;

    for (char *line = strtok(text, "\n"); line != NULL && count <= ARGUMENTS_MAX;
         line = strtok(NULL, "\n"))
        if (strncmp(line, "-c", 2) != 0 && strncmp(line, "--config", 8) != 0) /* reads no files */
            arguments[count++] = line;
    int status = options_parse_arguments(options, count, arguments, error);
    check_outcome(status, options, error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct options       options;
    static struct options_error error;

    options_defaults(&options);
    if (size > 0 && data[0] == '-' && size > 1 && data[1] == '-') {
        char *text = calloc(1, size + 1);
        assert(text != NULL);
        memcpy(text, data, size);
        parse_command_line(&options, text, &error);
        free(text);
        return 0;
    }
    int status = options_load_text(&options, "fuzz", (const char *)data, size, &error);
    check_outcome(status, &options, &error);
    return 0;
}
