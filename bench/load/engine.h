/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * Many TCP connections on one io_uring, one thread. Receiving is multishot into a shared ring of
 * buffers; what is written during a turn leaves as one send a connection at the start of the next.
 * A connection has two output buffers: one in the kernel's hands, one being filled.
 *
 * The engine knows no MQTT. Its caller embeds `struct connection` and is told of connecting,
 * bytes and closing through `struct engine_handler`, always from inside engine_turn.
 */

#include "proto/bytes.h"

#include <liburing.h>
#include <netinet/in.h>

struct connection;

struct engine_handler {
    void (*connected)(struct connection *connection);
    void (*received)(struct connection *connection, struct slice bytes); /* valid for the call */
    /* The last call for a connection, which may be opened again. 0: the peer closed; or -errno. */
    void (*closed)(struct connection *connection, int status);
};

struct engine_bytes {
    uint8_t *data;
    uint32_t size;
    uint32_t capacity;
};

struct connection {
    struct engine      *engine;
    struct connection  *dirty_next;
    struct engine_bytes filling;
    struct engine_bytes leaving;
    uint32_t            sent; /* bytes of `leaving` that the kernel has taken */
    int                 fd;
    int                 status; /* why it closes */
    bool                dirty;
    bool                connecting;
    bool                sending;
    bool                receiving;
    bool                hung_up;
};

struct engine {
    struct io_uring              ring;
    struct io_uring_buf_ring    *buffers;
    uint8_t                     *buffer_memory;
    const struct engine_handler *handler;
    struct connection           *dirty; /* what they wrote goes out at the next turn */
    struct sockaddr_in           target;
    uint64_t                     now_ns; /* CLOCK_MONOTONIC, read once a turn */
    uint32_t                     opened; /* connections so far: picks the source address */
    bool                         has_minimum_wait;
};

/* 0 or -errno. `target` on 127.0.0.0/8 spreads the sources, so that ports do not run out. */
int  engine_open(struct engine *engine, const struct sockaddr_in *target,
                 const struct engine_handler *handler);
void engine_close(struct engine *engine);

/* Starts to connect a zeroed or closed connection. 0 or -errno (-EMFILE: see RLIMIT_NOFILE). */
int engine_connect(struct engine *engine, struct connection *connection);

/* Room for `size` bytes at the end of what leaves next; the caller fills it at once. */
uint8_t *engine_room(struct connection *connection, uint32_t size);

/* Ends a connection; what was not sent is lost. `closed` follows in a later turn. */
void engine_hang_up(struct connection *connection);

/* Forgets a connection for good: closes the descriptor, frees its buffers, tells nobody. */
void engine_forget(struct connection *connection);

/*
 * Sends what was written, waits for events until `deadline_ns` at most, handles all of them. With
 * `gather_us` > 0 it lets events pile up that long, which makes a busy generator cheaper and would
 * spoil a latency. 0 or -errno.
 */
int engine_turn(struct engine *engine, uint64_t deadline_ns, uint32_t gather_us);

uint64_t clock_now_ns(void);
