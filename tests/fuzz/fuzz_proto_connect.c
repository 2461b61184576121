/* SPDX-License-Identifier: GPL-3.0-or-later */

/* The first byte holds the flags of the fixed header, the others are the body. */
#include "tests/support/oracle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0)
        (void)oracle_connect(data[0] & 0xf, slice_of(data + 1, size - 1));
    return 0;
}
