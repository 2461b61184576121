/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/options/options.h"

#include "core/options/option_table.h"
#include "core/options/report.h"

#include <errno.h>

#ifndef SHARDMQ_VERSION
#define SHARDMQ_VERSION "0.1.0"
#endif

#define RECEIVE_MEMORY_MAX (UINT64_C(4) << 30)
#define PARCELS_MAX        (UINT64_C(1) << 28)

/* The table's defaults are written as an operator would write them, and read the same way. */
static void set_standard(const struct option *option, void *base)
{
    char reason[OPTION_REASON_SIZE];
    bool understood = option_set(option, base, slice_text(option->standard), reason);
    assert(understood);
}

void options_listener_defaults(struct options_listener *listener)
{
    memset(listener, 0, sizeof(*listener));
    for (uint32_t index = 0; index < listener_option_count; index++)
        set_standard(&listener_table[index], listener);
}

void options_defaults(struct options *options)
{
    memset(options, 0, sizeof(*options));
    for (uint32_t index = 0; index < option_count; index++)
        set_standard(&option_table[index], options);
    options->listener_count = 1;
    options_listener_defaults(&options->listeners[0]);
}

static bool addresses_equal(const struct address *a, const struct address *b)
{
    if (a->kind != b->kind)
        return false;
    if (a->kind == ADDRESS_UNIX)
        return strcmp(a->path, b->path) == 0;
    /* Two listeners on port 0 get two ports. */
    return a->port == b->port && a->port != 0 && memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

static void check_listener_pair(const struct options_listener *one,
                                const struct options_listener *other, const char *place,
                                struct options_error *error)
{
    char text[ADDRESS_TEXT_SIZE];

    if (addresses_equal(&one->address, &other->address))
        report_add(error, "%slisteners: two of them on %s", place,
                   address_print(&one->address, text, sizeof(text)));
    if (one->name[0] != '\0' && strcmp(one->name, other->name) == 0)
        report_add(error, "%slisteners: two of them with the name \"%s\"", place, one->name);
}

static void check_listeners(const struct options *options, const char *place,
                            struct options_error *error)
{
    for (uint32_t one = 0; one < options->listener_count; one++)
        for (uint32_t other = one + 1; other < options->listener_count; other++)
            check_listener_pair(&options->listeners[one], &options->listeners[other], place, error);
}

void options_cross_check(struct options *options, const char *place, struct options_error *error)
{
    const struct options_limits  *limits = &options->limits;
    const struct options_runtime *runtime = &options->runtime;
    struct options_protocol      *protocol = &options->protocol;

    if (limits->queue_bytes_max < limits->packet_size_max)
        report_add(error,
                   "%slimits.queue_bytes_max (%llu bytes): expected at least "
                   "limits.packet_size_max (%u bytes), else the largest message fits no queue",
                   place, (unsigned long long)limits->queue_bytes_max, limits->packet_size_max);

    if (limits->filter_shapes_per_client_max > limits->filter_shapes_max)
        report_add(error,
                   "%slimits.filter_shapes_per_client_max (%u): expected at most "
                   "limits.filter_shapes_max (%u)",
                   place, limits->filter_shapes_per_client_max, limits->filter_shapes_max);

    uint64_t receive_memory = (uint64_t)runtime->receive_buffers * runtime->receive_buffer_size;
    if (receive_memory > RECEIVE_MEMORY_MAX)
        report_add(error,
                   "%sruntime.receive_buffers (%u) of runtime.receive_buffer_size (%u bytes): "
                   "expected at most 4GiB for a shard",
                   place, runtime->receive_buffers, runtime->receive_buffer_size);

    uint64_t pairs = (uint64_t)options->shards * options->shards;
    if (pairs * runtime->mailbox_capacity > PARCELS_MAX)
        report_add(error,
                   "%sruntime.mailbox_capacity (%u): expected at most %llu for the mailboxes "
                   "between %u shards",
                   place, runtime->mailbox_capacity, (unsigned long long)(PARCELS_MAX / pairs),
                   options->shards);

    check_listeners(options, place, error);

    if (protocol->session_expiry_311_s > protocol->session_expiry_max_s)
        protocol->session_expiry_311_s = protocol->session_expiry_max_s;
}

int options_load_file(struct options *options, const char *path, struct options_error *error)
{
    report_clear(error);
    int status = options_read_file(options, path, error);
    if (status < 0)
        return status;

    char place[OPTIONS_PATH_SIZE];
    (void)snprintf(place, sizeof(place), "%.900s: ", path);
    options_cross_check(options, place, error);
    return error->count == 0 ? 0 : -EINVAL;
}

int options_check_file(const char *path, FILE *out, FILE *errors)
{
    struct options       options;
    struct options_error error;

    options_defaults(&options);
    if (options_load_file(&options, path, &error) == 0) {
        (void)fprintf(out, "%s: ok\n", path);
        return 0;
    }
    (void)fprintf(errors, "%s\n", error.text);
    return 1;
}

void options_print_version(FILE *out)
{
    (void)fprintf(out, "shardmq %s\n", SHARDMQ_VERSION);
}
