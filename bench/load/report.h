/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/* The result of a run on stdout, as text or as one JSON object on one line. */

#include "bench/load/bench.h"

void report_print(const struct bench *bench, const char *scenario);
