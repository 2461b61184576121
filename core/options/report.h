/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/* Gathers faults in a struct options_error: a line each. For the files of this folder. */

#include "core/options/options.h"

#define REPORT_FAULTS_MAX 20U /* past this a reader of the faults gives up, and so do we */

void                                       report_clear(struct options_error *error);
__attribute__((format(printf, 2, 3))) void report_add(struct options_error *error,
                                                      const char           *format, ...);

/* Rules between options, once all are set. `place` begins each message ("file", or empty). */
void options_cross_check(struct options *options, const char *place, struct options_error *error);

/* A listener as the defaults have it. */
void options_listener_defaults(struct options_listener *listener);

/* Reads a file on top of `*options`, without the cross check. 0 or negative errno. */
int options_read_file(struct options *options, const char *path, struct options_error *error);
