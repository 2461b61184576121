/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/load/options.h"

#include "bench/load/stamp.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum option_kind {
    OPTION_TEXT,
    OPTION_FLAG,
    OPTION_U8,
    OPTION_U16,
    OPTION_U32,
    OPTION_U64,
    OPTION_SECONDS,
    OPTION_VERSION,
    OPTION_CLIENTS,
};

struct option_row {
    const char      *name;
    enum option_kind kind;
    size_t           offset;
    double           minimum;
    double           maximum;
    const char      *help;
};

#define FIELD(name) offsetof(struct options, name)

static const struct option_row rows[] = {
    {"--host", OPTION_TEXT, FIELD(host), 0, 0, "IPv4 address of the broker (127.0.0.1)"},
    {"--port", OPTION_U16, FIELD(port), 1, 65535, "its port (1883)"},
    {"--version", OPTION_VERSION, FIELD(version), 4, 5, "MQTT 4 (3.1.1) or 5"},
    {"--qos", OPTION_U8, FIELD(qos), 0, 2, "quality of service of publishing and subscribing"},
    {"--size", OPTION_U32, FIELD(size), STAMP_SIZE, 16777216, "bytes of payload (64)"},
    {"--window", OPTION_U32, FIELD(window), 1, 32768, "messages open per publisher"},
    {"--clients", OPTION_CLIENTS, 0, 1, 1000000, "sets --publishers and --subscribers"},
    {"--publishers", OPTION_U32, FIELD(publishers), 1, 1000000, "publishing clients"},
    {"--subscribers", OPTION_U32, FIELD(subscribers), 1, 1000000, "receiving clients"},
    {"--rate", OPTION_U32, FIELD(rate), 1, 100000000, "messages a second, all together"},
    {"--count", OPTION_U32, FIELD(count), 1, 16777216, "messages stored or queued"},
    {"--messages", OPTION_U64, FIELD(messages), 1, 1e15, "publish that many, then stop"},
    {"--duration", OPTION_SECONDS, FIELD(duration_ns), 0.01, 86400, "seconds measured (3)"},
    {"--warmup", OPTION_SECONDS, FIELD(warmup_ns), 0, 3600, "seconds before that (1)"},
    {"--stall", OPTION_SECONDS, FIELD(stall_ns), 0.1, 3600, "fail when nothing moves (5)"},
    {"--gather", OPTION_U32, FIELD(gather_us), 0, 10000, "us that events may pile up; 0 off"},
    {"--pid", OPTION_U32, FIELD(pid), 1, 4194304, "the broker's process: its CPU and memory"},
    {"--json", OPTION_FLAG, FIELD(json), 0, 0, "one JSON object instead of text"},
};

#define ROW_COUNT (sizeof(rows) / sizeof(rows[0]))

static const struct option_row *row_find(const char *name)
{
    for (size_t index = 0; index < ROW_COUNT; index++) {
        if (strcmp(rows[index].name, name) == 0)
            return &rows[index];
    }
    return NULL;
}

static void row_store(const struct option_row *row, struct options *options, double value)
{
    uint8_t *field = (uint8_t *)options + row->offset;
    uint64_t number = (uint64_t)value;
    switch (row->kind) {
    case OPTION_U8:
        *field = (uint8_t)number;
        break;
    case OPTION_U16:
        memcpy(field, &(uint16_t){(uint16_t)number}, sizeof(uint16_t));
        break;
    case OPTION_U32:
        memcpy(field, &(uint32_t){(uint32_t)number}, sizeof(uint32_t));
        break;
    case OPTION_U64:
        memcpy(field, &number, sizeof(number));
        break;
    case OPTION_SECONDS:
        memcpy(field, &(uint64_t){(uint64_t)(value * 1e9)}, sizeof(uint64_t));
        break;
    case OPTION_VERSION:
        options->version = number == 4 ? MQTT_VERSION_311 : MQTT_VERSION_5;
        break;
    case OPTION_CLIENTS:
        options->publishers = (uint32_t)number;
        options->subscribers = (uint32_t)number;
        break;
    case OPTION_TEXT:
    case OPTION_FLAG:
        break;
    }
}

static bool row_parse(const struct option_row *row, struct options *options, const char *text)
{
    if (row->kind == OPTION_TEXT) {
        memcpy((uint8_t *)options + row->offset, &text, sizeof(text));
        return true;
    }
    char *end = NULL;
    errno = 0;
    double value = strtod(text, &end);
    if (errno != 0 || end == text || *end != '\0' || !(value >= row->minimum) ||
        !(value <= row->maximum)) {
        (void)fprintf(stderr, "%s wants a number from %.15g to %.15g, not \"%s\"\n", row->name,
                      row->minimum, row->maximum, text);
        return false;
    }
    row_store(row, options, value);
    return true;
}

bool options_parse(struct options *options, int count, char *const *arguments)
{
    for (int index = 0; index < count; index++) {
        const struct option_row *row = row_find(arguments[index]);
        if (row == NULL) {
            (void)fprintf(stderr, "unknown option %s; --help lists them\n", arguments[index]);
            return false;
        }
        if (row->kind == OPTION_FLAG) {
            *(bool *)((uint8_t *)options + row->offset) = true;
            continue;
        }
        if (++index == count) {
            (void)fprintf(stderr, "%s wants a value\n", row->name);
            return false;
        }
        if (!row_parse(row, options, arguments[index]))
            return false;
    }
    return true;
}

void options_print(void)
{
    for (size_t index = 0; index < ROW_COUNT; index++)
        printf("  %-14s %s\n", rows[index].name, rows[index].help);
}
