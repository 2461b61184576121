/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * A broker that is not one: implements core/broker/broker.h with a protocol just rich enough to
 * drive every path of the shard loop. Include fake_broker.c in the test, once; its functions then
 * stand before those of the library.
 *
 * A frame is a kind, four bytes of size (the most significant first), and that many bytes:
 *   E  echo the frame                      C  close after what is waiting was sent
 *   D  swallow it                          A  abort
 *   N  answer with bytes[0..3] bytes       P  pause for bytes[0] turns, then echo
 *   H  hand over to shard bytes[0], there echo
 *   X  send a parcel to shard bytes[0]; echo when it has come back
 */

#include <stdint.h>

#define FAKE_HEADER_SIZE    5U
#define FAKE_FRAME_SIZE_MAX (256U << 20)
