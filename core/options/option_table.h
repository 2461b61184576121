/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/* The one table of options, and how to find a row. Everything else is made from it. */

#include "core/options/option.h"

#define OPTION_COUNT_MAX 96U
#define OPTION_NAME_SIZE 96U

struct option_group {
    const char *name; /* empty: the top level */
    const char *title;
};

extern const struct option       option_table[];
extern const uint32_t            option_count;
extern const struct option       listener_table[]; /* fields of struct options_listener */
extern const uint32_t            listener_option_count;
extern const struct option_group option_groups[];
extern const uint32_t            option_group_count;

/* NULL when there is no such group; the top level is not found by name. */
const struct option_group *option_group_find(struct slice name);

/* The row of `group` (empty: the top level) with this name, NULL when there is none. */
const struct option *option_find(const char *group, struct slice name);

/* The first row of any group with this name: to tell where a misplaced key belongs. */
const struct option *option_find_anywhere(struct slice name);

/*
 * The row of "limits-packet-size-max", without the leading dashes; '_' and '.' count as '-'. NULL
 * when there is none.
 */
const struct option *option_find_argument(struct slice name);

/* "limits.packet_size_max" and "limits-packet-size-max". Return `text`. */
char *option_key(const struct option *option, char text[OPTION_NAME_SIZE]);
char *option_argument(const struct option *option, char text[OPTION_NAME_SIZE]);

/* Names near to a wrong one; NULL when nothing is near. */
const char *option_nearest_key(const char *group, struct slice name);
const char *option_nearest_listener_key(struct slice name);
/* `extra` are names beside the table, NULL-terminated. The answer lies in `text` or in `extra`. */
const char *option_nearest_argument(struct slice name, const char *const *extra,
                                    char text[OPTION_NAME_SIZE]);
