/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * Everything an operator can set. One table (option_table.c) makes the YAML parser, the command
 * line, the defaults, --help and docs/options.md; this struct is where the values end up. The
 * command line beats the file, the file beats the defaults.
 *
 *   options_defaults -> options_parse_arguments (loads the --config file itself) -> read-only
 *
 * The struct owns no memory: it may be copied, shared between threads once parsed, and needs no
 * end. `options.limits.packet_size_max` is `limits: {packet_size_max: ...}` in YAML and
 * `--limits-packet-size-max` on the command line; a suffix _s, _ms or _us is a field's unit only.
 */

#include "core/options/address.h"
#include "proto/mqtt.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define OPTIONS_SHARDS_MAX    256U
#define OPTIONS_CPUS_MAX      1024U /* CPU numbers are below this, too */
#define OPTIONS_LISTENERS_MAX 16U
#define OPTIONS_NAME_SIZE     64U   /* a listener's name, with its zero */
#define OPTIONS_PATH_SIZE     1024U /* a path, with its zero */
#define OPTIONS_TEXT_SIZE     256U  /* any other text, with its zero */
#define OPTIONS_FILE_SIZE_MAX 1048576U
#define OPTIONS_NEVER         UINT32_MAX /* "never" where an expiry in seconds allows it */

enum options_command {
    OPTIONS_RUN = 0,
    OPTIONS_CHECK,   /* `shardmq check FILE`: options_check_file(options.config, ...) */
    OPTIONS_HELP,    /* options_print_help(stdout) */
    OPTIONS_VERSION, /* options_print_version(stdout) */
};

enum options_log_level {
    OPTIONS_LOG_ERROR = 0,
    OPTIONS_LOG_WARNING,
    OPTIONS_LOG_INFO,
    OPTIONS_LOG_DEBUG,
};

enum options_queue_policy {
    OPTIONS_QUEUE_REFUSE_NEW = 0, /* the new message is refused with 0x97 */
    OPTIONS_QUEUE_DROP_OLDEST,
    OPTIONS_QUEUE_DROP_QOS0_FIRST, /* the oldest QoS 0 message, else refuse the new one */
};

enum options_shared_strategy {
    OPTIONS_SHARED_ROUND_ROBIN = 0,
    OPTIONS_SHARED_LOCAL_FIRST,
    OPTIONS_SHARED_STICKY,
    OPTIONS_SHARED_HASH_CLIENT,
    OPTIONS_SHARED_HASH_TOPIC,
    OPTIONS_SHARED_LEAST_INFLIGHT,
};

enum options_batching {
    OPTIONS_BATCHING_ADAPTIVE = 0,
    OPTIONS_BATCHING_LATENCY,
    OPTIONS_BATCHING_THROUGHPUT,
};

struct options_listener {
    char           name[OPTIONS_NAME_SIZE]; /* empty: none given */
    struct address address;                 /* IPv4, IPv6 or unix; port 0 lets the kernel choose */
    uint32_t       backlog;
    uint32_t       mode; /* permission bits of a unix socket, such as 0660 */
};

struct options_protocol {
    uint32_t versions; /* bit 1 << enum mqtt_version for each version that is served */
    bool     allow_empty_client_id;
    bool     retain_available;
    bool     wildcard_subscriptions;
    bool     shared_subscriptions;
    bool     subscription_identifiers;
    bool     check_payload_format;
    bool     reason_strings;
    uint8_t  maximum_qos;
    uint16_t keep_alive_max_s; /* 0: no bound; binds 3.1 and 3.1.1, and a keep-alive of 0, too */
    uint16_t receive_maximum;  /* the broker's own, at least 1 */
    uint16_t topic_alias_max;  /* inbound; 0 none */
    uint16_t topic_alias_max_outbound;
    uint32_t connect_timeout_ms;
    uint32_t session_expiry_max_s; /* OPTIONS_NEVER: no bound */
    uint32_t session_expiry_311_s; /* of persistent 3.1 and 3.1.1 sessions; may be OPTIONS_NEVER */
    char     response_information[OPTIONS_TEXT_SIZE]; /* empty: none is given to clients */
};

struct options_limits {
    uint32_t packet_size_max; /* whole packet, in bytes, both directions */
    uint32_t topic_size_max;  /* bytes */
    uint32_t topic_levels_max;
    uint32_t subscriptions_per_client_max;
    uint32_t filters_per_packet_max;
    uint32_t user_properties_max; /* a packet */
    uint32_t connections_max;     /* 0: as many as RLIMIT_NOFILE allows */
    uint32_t unauthenticated_connections_max;
    uint32_t connection_rate_max; /* a second, in all; 0 off */
    uint16_t inflight_max;        /* outbound QoS 1 and 2, a client */
    bool     queue_qos0_offline;
    uint32_t queue_messages_max; /* a client */
    uint64_t queue_bytes_max;    /* a client */
    uint32_t
        output_buffer_max; /* bytes pending on a connection before messages wait in the queue */
    uint32_t filter_shapes_per_client_max;
    uint32_t filter_shapes_max;
    uint32_t retained_messages_max; /* in all */
    uint64_t retained_bytes_max;    /* in all */
    uint32_t sessions_max;          /* in all, connected or not */
    uint32_t will_delay_max_s;      /* OPTIONS_NEVER: no bound */
    uint32_t message_expiry_max_s;  /* 0: no bound */

    enum options_queue_policy queue_policy;
};

struct options_shared {
    enum options_shared_strategy strategy;
};

struct options_retained {
    uint32_t pace; /* retained messages delivered a turn and shard */
};

struct options_sys {
    uint32_t interval_ms; /* of $SYS; 0 off */
};

struct options_runtime {
    enum options_batching batching;

    uint32_t wait_max_us;         /* the longest minimum wait for completions; 0 never wait */
    uint32_t receive_buffer_size; /* bytes */
    uint32_t receive_buffers;     /* a shard; power of two */
    uint32_t mailbox_capacity;    /* parcels for each ordered pair of shards; power of two */
    uint32_t ring_entries;        /* submission queue; power of two */
    uint32_t idle_after_ms;       /* quiet time until multishot receive is given up for poll */
    bool     pin;                 /* one shard one CPU */
};

struct options {
    enum options_command command;
    char                 config[OPTIONS_PATH_SIZE]; /* empty: built-in defaults */

    uint16_t               shards;                  /* 0: one for each allowed CPU */
    uint16_t               cpus[OPTIONS_CPUS_MAX];  /* in the order given, no CPU twice */
    uint32_t               cpu_count;               /* 0: all that the process is allowed */
    char                   data[OPTIONS_PATH_SIZE]; /* empty: nothing is kept */
    enum options_log_level log_level;
    uint32_t               statistics_interval_ms; /* 0: only on SIGUSR1 */

    uint32_t                listener_count; /* at least 1 */
    struct options_listener listeners[OPTIONS_LISTENERS_MAX];

    struct options_protocol protocol;
    struct options_limits   limits;
    struct options_shared   shared;
    struct options_retained retained;
    struct options_sys      sys;
    struct options_runtime  runtime;
};

/* What is wrong, one line a fault, ready to print: no newline at the end. */
#define OPTIONS_ERROR_SIZE 8192U
struct options_error {
    uint32_t count; /* faults found; those past the room of `text` are only counted */
    char     text[OPTIONS_ERROR_SIZE];
};

void options_defaults(struct options *options);

/*
 * Reads the command line on top of what is in `*options`, which begins as options_defaults left it;
 * a --config FILE is loaded first, wherever it stands. Look at options->command afterwards. Returns
 * 0, or -EINVAL with `*error` filled.
 */
__attribute__((warn_unused_result)) int options_parse_arguments(struct options *options, int argc,
                                                                char                **argv,
                                                                struct options_error *error);

/* The same for a file alone. 0, -EINVAL, or the error of reading the file, with `*error` filled. */
__attribute__((warn_unused_result)) int options_load_file(struct options *options, const char *path,
                                                          struct options_error *error);

/* The same for text in memory; `name` stands for the file in messages. What the fuzzer calls. */
__attribute__((warn_unused_result)) int options_load_text(struct options *options, const char *name,
                                                          const char *text, size_t size,
                                                          struct options_error *error);

/* `shardmq check FILE`: every fault to `errors`, or one line to `out`. Exit code: 0 fine, 1 not. */
int options_check_file(const char *path, FILE *out, FILE *errors);

void options_print_help(FILE *out);
void options_print_markdown(FILE *out); /* docs/options.md; a test compares */
void options_print_version(FILE *out);  /* "shardmq 0.1.0" */
