/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * One option: a row of the table, and what its type means: text to value, value to text, and the
 * sentence that tells an operator what was expected. Knows no file format and no command line.
 */

#include "proto/bytes.h"

enum option_type {
    OPTION_BOOL = 0,
    OPTION_INTEGER,
    OPTION_SIZE,     /* bytes, with a unit */
    OPTION_DURATION, /* with a unit */
    OPTION_CHOICE,   /* one of `choices` */
    OPTION_CHOICES,  /* a list of `choices`: bits */
    OPTION_CPUS,     /* a list of numbers and ranges */
    OPTION_TEXT,
    OPTION_MODE,    /* permission bits, octal */
    OPTION_ADDRESS, /* a listener's struct address, with or without port */
};

struct option_choice {
    const char *name; /* NULL ends the list */
    uint32_t    value;
};

struct option {
    const char                 *group; /* empty at the top level */
    const char                 *name;
    const char                 *standard; /* the default, as one would write it */
    const char                 *help;
    const char                 *zero;        /* what 0 means, NULL where nothing special */
    const char                 *placeholder; /* of --help, NULL: the type's */
    const struct option_choice *choices;     /* of OPTION_CHOICE and OPTION_CHOICES */

    enum option_type type;
    uint32_t         offset; /* of the field in struct options (or struct options_listener) */
    uint32_t         size;   /* of the field */
    uint32_t         scale;  /* microseconds a unit of the field, of OPTION_DURATION */
    uint64_t         minimum;
    uint64_t         maximum; /* in units of the field */
    bool             power_of_two;
    bool             never;    /* "never" stands for the maximum */
    bool             zero_too; /* 0 is allowed below the minimum */
};

#define OPTION_REASON_SIZE 512U

/*
 * Stores `text` in the field of `*base`. False: nothing changed, and `reason` (OPTION_REASON_SIZE
 * bytes) says what was expected and what came instead.
 */
bool option_set(const struct option *option, void *base, struct slice text, char *reason);

bool option_takes_list(const struct option *option);

/* "a size from 1KiB to 256MiB", "one of a, b, c". Return `text`. */
char *option_expected(const struct option *option, char *text, size_t room);

/* "from 1KiB to 256MiB", or empty for types that have no range. */
char *option_range(const struct option *option, char *text, size_t room);

/* The placeholder of --help: N, SIZE, TIME, LIST, ... */
const char *option_placeholder(const struct option *option);

/* Text of others, safe to print: in quotes, cut after some 60 bytes, odd bytes as \xNN. */
char *option_quote(struct slice text, char *quoted, size_t room);

/* Edit distance of two names; UINT32_MAX past 64 bytes: nothing is near to those. */
uint32_t option_distance(struct slice a, struct slice b);

/* True when a name at this distance is near enough to suggest in place of `typed`. */
bool option_is_near(uint32_t distance, struct slice typed);
