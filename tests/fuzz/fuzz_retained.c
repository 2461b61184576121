/* SPDX-License-Identifier: GPL-3.0-or-later */

/* The retained store against a list, by programs of two bytes an operation; see the model. */
#include "tests/support/retained_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct model model;

    if (size < 2)
        return 0;
    model_init(&model, (struct retained_limits){.messages_max = data[0], .bytes_max = data[1]});
    for (size_t at = 2; at + 1 < size; at += 2)
        model_step(&model, data[at], data[at + 1]);
    model_fini(&model);
    return 0;
}
