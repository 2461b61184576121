/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/options/option.h"

#include "core/options/address.h"
#include "core/options/options.h"
#include "proto/utf8.h"

#include <stdio.h>

#define NAME_SIZE_COMPARED 64U
#define VALUE_TEXT_SIZE    32U

struct unit {
    const char *name;
    uint64_t    factor; /* bytes, or microseconds */
};

/* Largest first within what is printed; the first spelling of each factor is the one printed. */
static const struct unit size_units[] = {
    {"GiB", UINT64_C(1) << 30},
    {"MiB", UINT64_C(1) << 20},
    {"KiB", UINT64_C(1) << 10},
    {"B", 1},
    {"GB", 1000000000},
    {"MB", 1000000},
    {"kB", 1000},
    {NULL, 0},
};

static const struct unit duration_units[] = {
    {"d", UINT64_C(86400000000)},
    {"h", UINT64_C(3600000000)},
    {"min", 60000000},
    {"s", 1000000},
    {"ms", 1000},
    {"us", 1},
    {"m", 60000000},
    {NULL, 0},
};

struct outcome {
    uint64_t    value;
    const char *fault; /* NULL: fine; empty: the expectation says it all */
};

static uint8_t lower(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte + ('a' - 'A')) : byte;
}

static bool equal_ignoring_case(struct slice text, const char *name)
{
    if (text.size != strlen(name))
        return false;
    for (uint32_t index = 0; index < text.size; index++)
        if (lower(text.data[index]) != lower((uint8_t)name[index]))
            return false;
    return true;
}

static struct slice slice_from(struct slice text, uint32_t begin)
{
    return slice_of(text.data + begin, text.size - begin);
}

/* Digits at the front; `*used` says how many bytes. */
static struct outcome take_number(struct slice text, uint32_t *used)
{
    uint64_t value = 0;

    *used = 0;
    while (*used < text.size && text.data[*used] >= '0' && text.data[*used] <= '9') {
        if (__builtin_mul_overflow(value, UINT64_C(10), &value) ||
            __builtin_add_overflow(value, (uint64_t)(text.data[*used] - '0'), &value))
            return (struct outcome){.fault = "the number is too large"};
        (*used)++;
    }
    return (struct outcome){.value = value, .fault = *used == 0 ? "" : NULL};
}

static struct outcome parse_integer(struct slice text)
{
    uint32_t       used;
    struct outcome outcome = take_number(text, &used);

    if (outcome.fault == NULL && used != text.size)
        outcome.fault = "";
    return outcome;
}

/* A number and its unit; only 0 goes without. In units of `units`' smallest. */
static struct outcome parse_with_unit(struct slice text, const struct unit *units,
                                      const char *unit_missing)
{
    uint32_t       used;
    struct outcome outcome = take_number(text, &used);

    if (outcome.fault != NULL)
        return outcome;
    if (used == text.size) {
        outcome.fault = outcome.value == 0 ? NULL : unit_missing;
        return outcome;
    }
    if (text.data[used] == ' ')
        used++;

    for (const struct unit *unit = units; unit->name != NULL; unit++) {
        if (!equal_ignoring_case(slice_from(text, used), unit->name))
            continue;
        if (__builtin_mul_overflow(outcome.value, unit->factor, &outcome.value))
            outcome.fault = "the number is too large";
        return outcome;
    }
    outcome.fault = unit_missing;
    return outcome;
}

static struct outcome parse_size(struct slice text)
{
    return parse_with_unit(text, size_units, "the unit must be B, KiB, MiB, GiB, kB, MB or GB");
}

static struct outcome parse_duration(const struct option *option, struct slice text)
{
    if (option->never && equal_ignoring_case(text, "never"))
        return (struct outcome){.value = option->maximum};

    struct outcome outcome =
        parse_with_unit(text, duration_units, "the unit must be us, ms, s, min, h or d");
    if (outcome.fault != NULL)
        return outcome;
    if (outcome.value % option->scale != 0)
        outcome.fault = option->scale == 1000000 ? "it must be a whole number of seconds"
                                                 : "it must be a whole number of milliseconds";
    outcome.value /= option->scale;
    return outcome;
}

static struct outcome parse_bool(struct slice text)
{
    static const char *const yes[] = {"true", "yes", "on"};
    static const char *const no[] = {"false", "no", "off"};

    for (uint32_t index = 0; index < 3; index++) {
        if (equal_ignoring_case(text, yes[index]))
            return (struct outcome){.value = 1};
        if (equal_ignoring_case(text, no[index]))
            return (struct outcome){.value = 0};
    }
    return (struct outcome){.fault = ""};
}

static struct outcome parse_choice(const struct option *option, struct slice text)
{
    for (const struct option_choice *choice = option->choices; choice->name != NULL; choice++)
        if (slice_equal(text, slice_text(choice->name)))
            return (struct outcome){.value = choice->value};
    return (struct outcome){.fault = ""};
}

/* Cuts the next element off a list with commas, without the spaces around it. */
static bool take_element(struct slice *list, struct slice *element)
{
    uint32_t size = 0;

    if (list->data == NULL)
        return false;
    while (size < list->size && list->data[size] != ',')
        size++;
    *element = slice_of(list->data, size);
    *list = size < list->size ? slice_from(*list, size + 1) : (struct slice){0};

    while (element->size > 0 && element->data[0] == ' ')
        *element = slice_from(*element, 1);
    while (element->size > 0 && element->data[element->size - 1] == ' ')
        element->size--;
    return true;
}

static struct outcome parse_choices(const struct option *option, struct slice text)
{
    struct outcome bits = {0};
    struct slice   element;

    while (take_element(&text, &element)) {
        struct outcome outcome = parse_choice(option, element);
        if (outcome.fault != NULL)
            return outcome;
        bits.value |= UINT64_C(1) << outcome.value;
    }
    return bits;
}

static struct outcome parse_mode(struct slice text)
{
    uint64_t mode = 0;

    if (text.size < 3 || text.size > 4 || (text.size == 4 && text.data[0] != '0'))
        return (struct outcome){.fault = ""};
    for (uint32_t index = 0; index < text.size; index++) {
        if (text.data[index] < '0' || text.data[index] > '7')
            return (struct outcome){.fault = ""};
        mode = mode << 3 | (uint64_t)(text.data[index] - '0');
    }
    return (struct outcome){.value = mode};
}

/* ---- values that are not one number ---- */

struct cpu_list {
    uint16_t cpus[OPTIONS_CPUS_MAX];
    uint32_t count;
};

static const char *add_cpus(struct cpu_list *list, uint64_t first, uint64_t last)
{
    if (last < first)
        return "a range runs upwards";
    if (last >= OPTIONS_CPUS_MAX)
        return "CPU numbers are below 1024";
    for (uint64_t cpu = first; cpu <= last; cpu++) {
        for (uint32_t index = 0; index < list->count; index++)
            if (list->cpus[index] == cpu)
                return "a CPU is named twice";
        list->cpus[list->count++] = (uint16_t)cpu;
    }
    return NULL;
}

/* "0-3,6": CPUs in the order given. Empty: all. */
static const char *parse_cpus(struct cpu_list *list, struct slice text)
{
    struct slice element;

    if (text.size == 0)
        return NULL;
    while (take_element(&text, &element)) {
        uint32_t       used;
        struct outcome first = take_number(element, &used);
        struct outcome last = first;
        if (first.fault != NULL)
            return first.fault;
        if (used < element.size) {
            if (element.data[used] != '-')
                return "";
            last = parse_integer(slice_from(element, used + 1));
            if (last.fault != NULL)
                return last.fault;
        }
        const char *fault = add_cpus(list, first.value, last.value);
        if (fault != NULL)
            return fault;
    }
    return NULL;
}

static const char *store_cpus(struct options *options, struct slice text)
{
    struct cpu_list list = {.count = 0};
    const char     *fault = parse_cpus(&list, text);

    if (fault == NULL) {
        memcpy(options->cpus, list.cpus, sizeof(options->cpus));
        options->cpu_count = list.count;
    }
    return fault;
}

static const char *store_text(const struct option *option, void *field, struct slice text)
{
    if (text.size > option->maximum)
        return "it is too long";
    if (!utf8_valid(text))
        return "it is not valid UTF-8";
    for (uint32_t index = 0; index < text.size; index++)
        if (text.data[index] < ' ' || text.data[index] == 0x7f)
            return "control characters are not allowed";

    memset(field, 0, option->size);
    if (text.size > 0)
        memcpy(field, text.data, text.size);
    return NULL;
}

static void store_number(const struct option *option, void *field, uint64_t value)
{
    switch (option->size) {
    case 1:
        memcpy(field, &(uint8_t){(uint8_t)value}, 1);
        return;
    case 2:
        memcpy(field, &(uint16_t){(uint16_t)value}, 2);
        return;
    case 4:
        memcpy(field, &(uint32_t){(uint32_t)value}, 4);
        return;
    default:
        assert(option->size == 8);
        memcpy(field, &value, 8);
    }
}

static struct outcome parse_number(const struct option *option, struct slice text)
{
    switch (option->type) {
    case OPTION_BOOL:
        return parse_bool(text);
    case OPTION_INTEGER:
        return parse_integer(text);
    case OPTION_SIZE:
        return parse_size(text);
    case OPTION_DURATION:
        return parse_duration(option, text);
    case OPTION_CHOICE:
        return parse_choice(option, text);
    case OPTION_CHOICES:
        return parse_choices(option, text);
    case OPTION_MODE:
        return parse_mode(text);
    case OPTION_CPUS:
    case OPTION_TEXT:
    case OPTION_ADDRESS:
        break;
    }
    return (struct outcome){.fault = "it is not a number"};
}

static bool has_range(const struct option *option)
{
    return option->type == OPTION_INTEGER || option->type == OPTION_SIZE ||
           option->type == OPTION_DURATION;
}

static bool in_range(const struct option *option, uint64_t value)
{
    if (option->zero_too && value == 0)
        return true;
    return value >= option->minimum && value <= option->maximum;
}

static const char *store(const struct option *option, void *base, struct slice text)
{
    void *field = (uint8_t *)base + option->offset;

    switch (option->type) {
    case OPTION_CPUS:
        return store_cpus(base, text);
    case OPTION_TEXT:
        return store_text(option, field, text);
    case OPTION_ADDRESS:
        return address_parse(field, text);
    case OPTION_BOOL:
    case OPTION_INTEGER:
    case OPTION_SIZE:
    case OPTION_DURATION:
    case OPTION_CHOICE:
    case OPTION_CHOICES:
    case OPTION_MODE:
        break;
    }
    struct outcome outcome = parse_number(option, text);
    if (outcome.fault != NULL)
        return outcome.fault;
    if (has_range(option) && !in_range(option, outcome.value))
        return "";
    if (option->power_of_two && (outcome.value & (outcome.value - 1)) != 0)
        return "";
    store_number(option, field, outcome.value);
    return NULL;
}

/* The choice that an operator may have meant, NULL when none is near. */
static const char *nearest_choice(const struct option *option, struct slice text)
{
    const char *nearest = NULL;
    uint32_t    nearest_distance = UINT32_MAX;

    if (option->type != OPTION_CHOICE)
        return NULL;
    for (const struct option_choice *choice = option->choices; choice->name != NULL; choice++) {
        uint32_t distance = option_distance(text, slice_text(choice->name));
        if (option_is_near(distance, text) && distance < nearest_distance) {
            nearest = choice->name;
            nearest_distance = distance;
        }
    }
    return nearest;
}

bool option_set(const struct option *option, void *base, struct slice text, char *reason)
{
    const char *fault = store(option, base, text);
    if (fault == NULL)
        return true;

    char        expected[OPTION_REASON_SIZE / 2];
    char        quoted[128];
    const char *nearest = nearest_choice(option, text);
    const char *shown = text.size == 0 ? "nothing" : option_quote(text, quoted, sizeof(quoted));

    if (option->type == OPTION_ADDRESS)
        (void)snprintf(reason, OPTION_REASON_SIZE, "expected %s, got %s", fault, shown);
    else if (nearest != NULL)
        (void)snprintf(reason, OPTION_REASON_SIZE, "expected %s, got %s; did you mean \"%s\"?",
                       option_expected(option, expected, sizeof(expected)), shown, nearest);
    else
        (void)snprintf(reason, OPTION_REASON_SIZE, "expected %s, got %s%s%s",
                       option_expected(option, expected, sizeof(expected)), shown,
                       fault[0] != '\0' ? "; " : "", fault);
    return false;
}

bool option_takes_list(const struct option *option)
{
    return option->type == OPTION_CHOICES || option->type == OPTION_CPUS;
}

/* A value as one would write it: in the largest unit that leaves no fraction. */
static char *print_value(const struct option *option, uint64_t value, char *text)
{
    const struct unit *unit = option->type == OPTION_SIZE ? size_units : duration_units;

    if (option->type == OPTION_INTEGER || value == 0) {
        (void)snprintf(text, VALUE_TEXT_SIZE, "%llu", (unsigned long long)value);
        return text;
    }
    if (option->type == OPTION_DURATION)
        value *= option->scale;
    while (value % unit->factor != 0)
        unit++;
    (void)snprintf(text, VALUE_TEXT_SIZE, "%llu%s", (unsigned long long)(value / unit->factor),
                   unit->name);
    return text;
}

char *option_range(const struct option *option, char *text, size_t room)
{
    char minimum[VALUE_TEXT_SIZE];
    char maximum[VALUE_TEXT_SIZE];

    text[0] = '\0';
    if (option->never)
        (void)snprintf(text, room, "from %s on, or never",
                       print_value(option, option->minimum, minimum));
    else if (has_range(option))
        (void)snprintf(text, room, "%sfrom %s to %s", option->zero_too ? "0, or " : "",
                       print_value(option, option->minimum, minimum),
                       print_value(option, option->maximum, maximum));
    return text;
}

static char *print_choices(const struct option *option, const char *before, char *text, size_t room)
{
    size_t used = (size_t)snprintf(text, room, "%s", before);

    for (const struct option_choice *choice = option->choices; choice->name != NULL; choice++) {
        const char *separator = choice == option->choices   ? ""
                                : choice[1].name != NULL    ? ", "
                                : option_takes_list(option) ? " and "
                                                            : " or ";
        if (used < room)
            used += (size_t)snprintf(text + used, room - used, "%s%s", separator, choice->name);
    }
    return text;
}

char *option_expected(const struct option *option, char *text, size_t room)
{
    char range[3 * VALUE_TEXT_SIZE];
    option_range(option, range, sizeof(range));

    switch (option->type) {
    case OPTION_BOOL:
        (void)snprintf(text, room, "true or false (or yes, no, on, off)");
        break;
    case OPTION_INTEGER:
        (void)snprintf(text, room, "a %s %s",
                       option->power_of_two ? "power of two" : "whole number", range);
        break;
    case OPTION_SIZE:
        (void)snprintf(text, room, "a size %s", range);
        break;
    case OPTION_DURATION:
        (void)snprintf(text, room, "a time %s%s", option->zero_too ? "of " : "", range);
        break;
    case OPTION_CHOICE:
        return print_choices(option, "", text, room);
    case OPTION_CHOICES:
        return print_choices(option, "some of ", text, room);
    case OPTION_CPUS:
        (void)snprintf(text, room, "a list of CPU numbers and ranges such as 0-3,6");
        break;
    case OPTION_TEXT:
        (void)snprintf(text, room, "a text of at most %llu bytes",
                       (unsigned long long)option->maximum);
        break;
    case OPTION_MODE:
        (void)snprintf(text, room, "octal permission bits such as 0660");
        break;
    case OPTION_ADDRESS:
        (void)snprintf(text, room, "an IPv4 or IPv6 address, with or without port, or unix:/path");
        break;
    }
    return text;
}

const char *option_placeholder(const struct option *option)
{
    if (option->placeholder != NULL)
        return option->placeholder;
    switch (option->type) {
    case OPTION_BOOL:
        return "YES|NO";
    case OPTION_INTEGER:
        return "N";
    case OPTION_SIZE:
        return "SIZE";
    case OPTION_DURATION:
        return "TIME";
    case OPTION_CHOICE:
        return "NAME";
    case OPTION_CHOICES:
    case OPTION_CPUS:
        return "LIST";
    case OPTION_TEXT:
        return "TEXT";
    case OPTION_MODE:
        return "MODE";
    case OPTION_ADDRESS:
        return "ADDR";
    }
    return "VALUE";
}

char *option_quote(struct slice text, char *quoted, size_t room)
{
    const uint32_t shown_max = 60;
    size_t         used = 0;

    assert(room >= 16);
    quoted[used++] = '"';
    for (uint32_t index = 0; index < text.size; index++) {
        uint8_t byte = text.data[index];
        if (index == shown_max || used + sizeof("\\xff...\"") > room) {
            used += (size_t)snprintf(quoted + used, room - used, "...");
            break;
        }
        if (byte >= ' ' && byte < 0x7f)
            quoted[used++] = (char)byte;
        else
            used += (size_t)snprintf(quoted + used, room - used, "\\x%02x", byte);
    }
    quoted[used++] = '"';
    quoted[used] = '\0';
    return quoted;
}

/* Levenshtein's, with one row; an exchange of neighbours counts as two. */
uint32_t option_distance(struct slice a, struct slice b)
{
    uint32_t row[NAME_SIZE_COMPARED + 1];

    if (a.size > NAME_SIZE_COMPARED || b.size > NAME_SIZE_COMPARED)
        return UINT32_MAX;
    for (uint32_t column = 0; column <= b.size; column++)
        row[column] = column;

    for (uint32_t line = 0; line < a.size; line++) {
        uint32_t diagonal = row[0];
        row[0] = line + 1;
        for (uint32_t column = 0; column < b.size; column++) {
            uint32_t replaced = diagonal + (a.data[line] != b.data[column] ? 1 : 0);
            uint32_t removed = row[column + 1] + 1;
            uint32_t inserted = row[column] + 1;
            uint32_t least = replaced < removed ? replaced : removed;

            diagonal = row[column + 1];
            row[column + 1] = least < inserted ? least : inserted;
        }
    }
    return row[b.size];
}

bool option_is_near(uint32_t distance, struct slice typed)
{
    return distance <= (typed.size < 4 ? 1 : typed.size < 6 ? 2 : typed.size / 3);
}
