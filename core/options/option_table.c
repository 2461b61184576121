/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/options/option_table.h"

#include "core/options/options.h"

#include <stddef.h>
#include <stdio.h>

/* clang-format off */

#define FIELD(member) \
    .offset = offsetof(struct options, member), .size = sizeof(((struct options *)0)->member)
#define LISTENER_FIELD(member)                        \
    .offset = offsetof(struct options_listener, member), \
    .size = sizeof(((struct options_listener *)0)->member)

#define SECONDS 1000000U
#define MILLISECONDS 1000U
#define MICROSECONDS 1U
#define DAY_MS 86400000U

static const struct option_choice log_levels[] = {
    {"error", OPTIONS_LOG_ERROR}, {"warning", OPTIONS_LOG_WARNING}, {"info", OPTIONS_LOG_INFO},
    {"debug", OPTIONS_LOG_DEBUG}, {NULL, 0},
};
static const struct option_choice versions[] = {
    {"3.1", MQTT_VERSION_31}, {"3.1.1", MQTT_VERSION_311}, {"5", MQTT_VERSION_5}, {NULL, 0},
};
static const struct option_choice queue_policies[] = {
    {"refuse_new", OPTIONS_QUEUE_REFUSE_NEW}, {"drop_oldest", OPTIONS_QUEUE_DROP_OLDEST},
    {"drop_qos0_first", OPTIONS_QUEUE_DROP_QOS0_FIRST}, {NULL, 0},
};
static const struct option_choice shared_strategies[] = {
    {"round_robin", OPTIONS_SHARED_ROUND_ROBIN}, {"local_first", OPTIONS_SHARED_LOCAL_FIRST},
    {"sticky", OPTIONS_SHARED_STICKY}, {"hash_client", OPTIONS_SHARED_HASH_CLIENT},
    {"hash_topic", OPTIONS_SHARED_HASH_TOPIC}, {"least_inflight", OPTIONS_SHARED_LEAST_INFLIGHT},
    {NULL, 0},
};
static const struct option_choice batchings[] = {
    {"adaptive", OPTIONS_BATCHING_ADAPTIVE}, {"latency", OPTIONS_BATCHING_LATENCY},
    {"throughput", OPTIONS_BATCHING_THROUGHPUT}, {NULL, 0},
};

const struct option_group option_groups[] = {
    {"", "General"},
    {"protocol", "Protocol: what is offered to clients"},
    {"limits", "Limits: what a client, and all of them together, may take"},
    {"shared", "Shared subscriptions"},
    {"retained", "Retained messages"},
    {"sys", "$SYS topics"},
    {"runtime", "Runtime: shards, buffers, batching"},
};
const uint32_t option_group_count = sizeof(option_groups) / sizeof(option_groups[0]);

const struct option option_table[] = {
    {.group = "", .name = "shards", .type = OPTION_INTEGER, FIELD(shards),
     .minimum = 0, .maximum = OPTIONS_SHARDS_MAX, .standard = "0", .zero = "one for each allowed CPU",
     .help = "Number of shards. Each is a thread with a ring of its own; more shards than CPUs works."},
    {.group = "", .name = "cpus", .type = OPTION_CPUS, FIELD(cpus), .standard = "",
     .help = "CPUs that shards run on, such as 0-3,6. Empty: all that the process is allowed."},
    {.group = "", .name = "data", .type = OPTION_TEXT, FIELD(data), .placeholder = "DIR",
     .maximum = OPTIONS_PATH_SIZE - 1, .standard = "",
     .help = "Directory of everything that is kept across restarts. Empty: nothing is kept."},
    {.group = "", .name = "log_level", .type = OPTION_CHOICE, FIELD(log_level), .choices = log_levels,
     .standard = "info", .help = "What is reported on standard error."},
    {.group = "", .name = "statistics_interval", .type = OPTION_DURATION, .scale = MILLISECONDS,
     FIELD(statistics_interval_ms), .minimum = 100, .maximum = DAY_MS, .zero_too = true,
     .standard = "0", .zero = "only on SIGUSR1",
     .help = "How often the statistics of each shard are printed to standard error."},

    {.group = "protocol", .name = "versions", .type = OPTION_CHOICES, FIELD(protocol.versions),
     .choices = versions, .standard = "3.1,3.1.1,5",
     .help = "Versions of MQTT that are served; a client of another one is refused."},
    {.group = "protocol", .name = "allow_empty_client_id", .type = OPTION_BOOL,
     FIELD(protocol.allow_empty_client_id), .standard = "true",
     .help = "Accept an empty client id and assign one."},
    {.group = "protocol", .name = "connect_timeout", .type = OPTION_DURATION, .scale = MILLISECONDS,
     FIELD(protocol.connect_timeout_ms), .minimum = 100, .maximum = 600000, .standard = "10s",
     .help = "Time from the connection until its CONNECT must be complete."},
    {.group = "protocol", .name = "keep_alive_max", .type = OPTION_DURATION, .scale = SECONDS,
     FIELD(protocol.keep_alive_max_s), .minimum = 1, .maximum = 65535, .zero_too = true,
     .standard = "0", .zero = "no bound",
     .help = "Longest keep-alive of a client, of any version; also binds a client that asks for none."},
    {.group = "protocol", .name = "session_expiry_max", .type = OPTION_DURATION, .scale = SECONDS,
     FIELD(protocol.session_expiry_max_s), .minimum = 0, .maximum = OPTIONS_NEVER, .never = true,
     .standard = "never", .zero = "sessions end with the connection",
     .help = "Longest session expiry that a client is granted."},
    {.group = "protocol", .name = "session_expiry_311", .type = OPTION_DURATION, .scale = SECONDS,
     FIELD(protocol.session_expiry_311_s), .minimum = 0, .maximum = OPTIONS_NEVER, .never = true,
     .standard = "7d", .zero = "sessions end with the connection",
     .help = "Expiry of persistent sessions of MQTT 3.1 and 3.1.1, whose clients cannot name one. "
             "Never longer than session_expiry_max."},
    {.group = "protocol", .name = "receive_maximum", .type = OPTION_INTEGER,
     FIELD(protocol.receive_maximum), .minimum = 1, .maximum = 65535, .standard = "1024",
     .help = "QoS 1 and 2 messages that a client may have unacknowledged towards the broker; also "
             "bounds the QoS 2 messages waiting for their PUBREL."},
    {.group = "protocol", .name = "topic_alias_max", .type = OPTION_INTEGER,
     FIELD(protocol.topic_alias_max), .minimum = 0, .maximum = 65535, .standard = "16",
     .zero = "none", .help = "Topic aliases that a client may set up towards the broker."},
    {.group = "protocol", .name = "topic_alias_max_outbound", .type = OPTION_INTEGER,
     FIELD(protocol.topic_alias_max_outbound), .minimum = 0, .maximum = 65535, .standard = "16",
     .zero = "none",
     .help = "Topic aliases that the broker sets up towards a client that allows it."},
    {.group = "protocol", .name = "maximum_qos", .type = OPTION_INTEGER, FIELD(protocol.maximum_qos),
     .minimum = 0, .maximum = 2, .standard = "2", .help = "Highest QoS of messages and subscriptions."},
    {.group = "protocol", .name = "retain_available", .type = OPTION_BOOL,
     FIELD(protocol.retain_available), .standard = "true", .help = "Keep retained messages."},
    {.group = "protocol", .name = "wildcard_subscriptions", .type = OPTION_BOOL,
     FIELD(protocol.wildcard_subscriptions), .standard = "true",
     .help = "Allow + and # in topic filters."},
    {.group = "protocol", .name = "shared_subscriptions", .type = OPTION_BOOL,
     FIELD(protocol.shared_subscriptions), .standard = "true", .help = "Allow $share/GROUP/FILTER."},
    {.group = "protocol", .name = "subscription_identifiers", .type = OPTION_BOOL,
     FIELD(protocol.subscription_identifiers), .standard = "true",
     .help = "Allow subscription identifiers."},
    {.group = "protocol", .name = "check_payload_format", .type = OPTION_BOOL,
     FIELD(protocol.check_payload_format), .standard = "false",
     .help = "Refuse a payload that is said to be UTF-8 and is not (0x99)."},
    {.group = "protocol", .name = "response_information", .type = OPTION_TEXT,
     FIELD(protocol.response_information), .maximum = OPTIONS_TEXT_SIZE - 1, .standard = "",
     .help = "Prefix of response topics, told to clients that ask for it. Empty: none."},
    {.group = "protocol", .name = "reason_strings", .type = OPTION_BOOL,
     FIELD(protocol.reason_strings), .standard = "true",
     .help = "Explain refusals in words to MQTT 5 clients that want it."},

    {.group = "limits", .name = "packet_size_max", .type = OPTION_SIZE, FIELD(limits.packet_size_max),
     .minimum = 64, .maximum = MQTT_PACKET_SIZE_MAX, .standard = "16MiB",
     .help = "Largest packet, whole; a larger one is refused with 0x95."},
    {.group = "limits", .name = "topic_size_max", .type = OPTION_SIZE, FIELD(limits.topic_size_max),
     .minimum = 1, .maximum = 65535, .standard = "65535B",
     .help = "Longest topic name or filter."},
    {.group = "limits", .name = "topic_levels_max", .type = OPTION_INTEGER,
     FIELD(limits.topic_levels_max), .minimum = 1, .maximum = 65535, .standard = "200",
     .help = "Most levels of a topic name or filter."},
    {.group = "limits", .name = "subscriptions_per_client_max", .type = OPTION_INTEGER,
     FIELD(limits.subscriptions_per_client_max), .minimum = 1, .maximum = 100000000,
     .standard = "10000", .help = "Most subscriptions of a client; more are answered with 0x97."},
    {.group = "limits", .name = "filters_per_packet_max", .type = OPTION_INTEGER,
     FIELD(limits.filters_per_packet_max), .minimum = 1, .maximum = 65535, .standard = "1000",
     .help = "Most topic filters in one SUBSCRIBE or UNSUBSCRIBE."},
    {.group = "limits", .name = "user_properties_max", .type = OPTION_INTEGER,
     FIELD(limits.user_properties_max), .minimum = 0, .maximum = 65535, .standard = "256",
     .zero = "none allowed", .help = "Most user properties in one packet."},
    {.group = "limits", .name = "connections_max", .type = OPTION_INTEGER,
     FIELD(limits.connections_max), .minimum = 0, .maximum = 100000000, .standard = "0",
     .zero = "as many as RLIMIT_NOFILE allows", .help = "Most connections, in all."},
    {.group = "limits", .name = "unauthenticated_connections_max", .type = OPTION_INTEGER,
     FIELD(limits.unauthenticated_connections_max), .minimum = 1, .maximum = 100000000,
     .standard = "10000", .help = "Most connections whose CONNECT is not accepted yet, in all."},
    {.group = "limits", .name = "connection_rate_max", .type = OPTION_INTEGER,
     FIELD(limits.connection_rate_max), .minimum = 0, .maximum = 100000000, .standard = "0",
     .zero = "no bound", .help = "Most new connections a second, in all."},
    {.group = "limits", .name = "inflight_max", .type = OPTION_INTEGER, FIELD(limits.inflight_max),
     .minimum = 1, .maximum = 65535, .standard = "1024",
     .help = "Most unacknowledged QoS 1 and 2 messages towards a client; its own receive maximum "
             "may be lower."},
    {.group = "limits", .name = "queue_messages_max", .type = OPTION_INTEGER,
     FIELD(limits.queue_messages_max), .minimum = 1, .maximum = 100000000, .standard = "10000",
     .help = "Most messages waiting for a client, connected or not."},
    {.group = "limits", .name = "queue_bytes_max", .type = OPTION_SIZE,
     FIELD(limits.queue_bytes_max), .minimum = 1024, .maximum = UINT64_C(1) << 40,
     .standard = "32MiB", .help = "Most bytes waiting for a client, connected or not."},
    {.group = "limits", .name = "queue_policy", .type = OPTION_CHOICE, FIELD(limits.queue_policy),
     .choices = queue_policies, .standard = "refuse_new",
     .help = "What happens when a client's queue is full. refuse_new: the new message is not taken "
             "(0x97); drop_oldest: the oldest one goes; drop_qos0_first: the oldest of QoS 0 goes, "
             "and without one the new message is not taken."},
    {.group = "limits", .name = "queue_qos0_offline", .type = OPTION_BOOL,
     FIELD(limits.queue_qos0_offline), .standard = "false",
     .help = "Queue QoS 0 messages, too, for clients that are away."},
    {.group = "limits", .name = "output_buffer_max", .type = OPTION_SIZE,
     FIELD(limits.output_buffer_max), .minimum = 4096, .maximum = UINT64_C(1) << 30,
     .standard = "1MiB",
     .help = "Bytes pending on a connection before further messages wait in the client's queue."},
    {.group = "limits", .name = "filter_shapes_per_client_max", .type = OPTION_INTEGER,
     FIELD(limits.filter_shapes_per_client_max), .minimum = 1, .maximum = 65535, .standard = "32",
     .help = "Most distinct shapes (places of the wildcards) among a client's topic filters; more "
             "are answered with 0x97."},
    {.group = "limits", .name = "filter_shapes_max", .type = OPTION_INTEGER,
     FIELD(limits.filter_shapes_max), .minimum = 1, .maximum = 65535, .standard = "1024",
     .help = "Most distinct shapes among all topic filters."},
    {.group = "limits", .name = "retained_messages_max", .type = OPTION_INTEGER,
     FIELD(limits.retained_messages_max), .minimum = 0, .maximum = 1000000000,
     .standard = "1000000", .zero = "none", .help = "Most retained messages, in all."},
    {.group = "limits", .name = "retained_bytes_max", .type = OPTION_SIZE,
     FIELD(limits.retained_bytes_max), .minimum = 1024, .maximum = UINT64_C(1) << 40,
     .standard = "1GiB", .help = "Most bytes of retained messages, in all."},
    {.group = "limits", .name = "sessions_max", .type = OPTION_INTEGER, FIELD(limits.sessions_max),
     .minimum = 1, .maximum = 100000000, .standard = "2000000",
     .help = "Most sessions, of clients connected or away, in all."},
    {.group = "limits", .name = "will_delay_max", .type = OPTION_DURATION, .scale = SECONDS,
     FIELD(limits.will_delay_max_s), .minimum = 0, .maximum = OPTIONS_NEVER, .never = true,
     .standard = "never", .zero = "wills are never delayed",
     .help = "Longest will delay; a longer one is cut to it. never: as long as the session."},
    {.group = "limits", .name = "message_expiry_max", .type = OPTION_DURATION, .scale = SECONDS,
     FIELD(limits.message_expiry_max_s), .minimum = 1, .maximum = OPTIONS_NEVER - 1,
     .zero_too = true, .standard = "0", .zero = "no bound",
     .help = "Longest time that a message waits for a client; binds messages without expiry, too."},

    {.group = "shared", .name = "strategy", .type = OPTION_CHOICE, FIELD(shared.strategy),
     .choices = shared_strategies, .standard = "round_robin",
     .help = "Which member of a share group gets a message: the next one, one on the publisher's "
             "shard, always the same while it lives, by the publisher's client id, by the topic, "
             "or the one with the fewest messages in flight."},

    {.group = "retained", .name = "pace", .type = OPTION_INTEGER, FIELD(retained.pace),
     .minimum = 1, .maximum = 65536, .standard = "256",
     .help = "Retained messages that a shard delivers a turn, so that a million of them do not "
             "stall it."},

    {.group = "sys", .name = "interval", .type = OPTION_DURATION, .scale = MILLISECONDS,
     FIELD(sys.interval_ms), .minimum = 100, .maximum = DAY_MS, .zero_too = true,
     .standard = "10s", .zero = "off", .help = "How often $SYS/broker/... is published."},

    {.group = "runtime", .name = "batching", .type = OPTION_CHOICE, FIELD(runtime.batching),
     .choices = batchings, .standard = "adaptive",
     .help = "Whether a shard gathers work before it wakes: as the load suggests, never, or always."},
    {.group = "runtime", .name = "wait_max", .type = OPTION_DURATION, .scale = MICROSECONDS,
     FIELD(runtime.wait_max_us), .minimum = 0, .maximum = 100000, .standard = "1ms",
     .zero = "never wait", .help = "Longest time that a shard gathers work."},
    {.group = "runtime", .name = "receive_buffer_size", .type = OPTION_SIZE,
     FIELD(runtime.receive_buffer_size), .minimum = 1024, .maximum = 1048576, .standard = "16KiB",
     .help = "Size of one receive buffer."},
    {.group = "runtime", .name = "receive_buffers", .type = OPTION_INTEGER,
     FIELD(runtime.receive_buffers), .minimum = 16, .maximum = 32768, .power_of_two = true,
     .standard = "256", .help = "Receive buffers of a shard."},
    {.group = "runtime", .name = "mailbox_capacity", .type = OPTION_INTEGER,
     FIELD(runtime.mailbox_capacity), .minimum = 64, .maximum = 1048576, .power_of_two = true,
     .standard = "1024", .help = "Parcels on their way from one shard to another."},
    {.group = "runtime", .name = "ring_entries", .type = OPTION_INTEGER,
     FIELD(runtime.ring_entries), .minimum = 64, .maximum = 32768, .power_of_two = true,
     .standard = "4096", .help = "Entries of a shard's submission queue."},
    {.group = "runtime", .name = "idle_after", .type = OPTION_DURATION, .scale = MILLISECONDS,
     FIELD(runtime.idle_after_ms), .minimum = 100, .maximum = DAY_MS, .standard = "5s",
     .help = "Quiet time until a connection gives up its armed receive, which saves memory."},
    {.group = "runtime", .name = "pin", .type = OPTION_BOOL, FIELD(runtime.pin), .standard = "true",
     .help = "Pin each shard to one CPU."},
};
const uint32_t option_count = sizeof(option_table) / sizeof(option_table[0]);
_Static_assert(sizeof(option_table) / sizeof(option_table[0]) <= OPTION_COUNT_MAX, "raise it");

const struct option listener_table[] = {
    {.group = "listeners", .name = "name", .type = OPTION_TEXT, LISTENER_FIELD(name),
     .maximum = OPTIONS_NAME_SIZE - 1, .standard = "",
     .help = "Name of the listener in messages and statistics."},
    {.group = "listeners", .name = "address", .type = OPTION_ADDRESS, LISTENER_FIELD(address),
     .standard = "127.0.0.1",
     .help = "IPv4 or IPv6 address, with or without port (127.0.0.1:1883, \"[::1]:1883\"), or "
             "unix:/path of a unix socket."},
    {.group = "listeners", .name = "port", .type = OPTION_INTEGER, LISTENER_FIELD(address.port),
     .minimum = 0, .maximum = 65535, .standard = "1883", .zero = "a free port of the kernel's choice",
     .help = "Port, where the address names none."},
    {.group = "listeners", .name = "backlog", .type = OPTION_INTEGER, LISTENER_FIELD(backlog),
     .minimum = 1, .maximum = 65535, .standard = "4096",
     .help = "Connections that wait to be accepted; the kernel's somaxconn bounds it, too."},
    {.group = "listeners", .name = "mode", .type = OPTION_MODE, LISTENER_FIELD(mode),
     .standard = "0660", .help = "Permissions of a unix socket."},
};
const uint32_t listener_option_count = sizeof(listener_table) / sizeof(listener_table[0]);

/* clang-format on */

const struct option_group *option_group_find(struct slice name)
{
    for (uint32_t index = 0; index < option_group_count; index++)
        if (name.size > 0 && slice_equal(name, slice_text(option_groups[index].name)))
            return &option_groups[index];
    return NULL;
}

const struct option *option_find(const char *group, struct slice name)
{
    for (uint32_t index = 0; index < option_count; index++)
        if (strcmp(option_table[index].group, group) == 0 &&
            slice_equal(name, slice_text(option_table[index].name)))
            return &option_table[index];
    return NULL;
}

const struct option *option_find_anywhere(struct slice name)
{
    for (uint32_t index = 0; index < option_count; index++)
        if (slice_equal(name, slice_text(option_table[index].name)))
            return &option_table[index];
    return NULL;
}

static char dashed(char letter)
{
    return letter == '_' || letter == '.' ? '-' : letter;
}

static bool equal_dashed(struct slice name, const char *other)
{
    if (name.size != strlen(other))
        return false;
    for (uint32_t index = 0; index < name.size; index++)
        if (dashed((char)name.data[index]) != dashed(other[index]))
            return false;
    return true;
}

const struct option *option_find_argument(struct slice name)
{
    char argument[OPTION_NAME_SIZE];

    for (uint32_t index = 0; index < option_count; index++)
        if (equal_dashed(name, option_argument(&option_table[index], argument)))
            return &option_table[index];
    return NULL;
}

char *option_key(const struct option *option, char text[OPTION_NAME_SIZE])
{
    (void)snprintf(text, OPTION_NAME_SIZE, "%s%s%s", option->group,
                   option->group[0] != '\0' ? "." : "", option->name);
    return text;
}

char *option_argument(const struct option *option, char text[OPTION_NAME_SIZE])
{
    option_key(option, text);
    for (char *at = text; *at != '\0'; at++)
        *at = dashed(*at);
    return text;
}

struct nearest {
    struct slice typed;
    const char  *name;
    uint32_t     distance;
};

static struct nearest nearest_to(struct slice typed)
{
    return (struct nearest){.typed = typed, .distance = UINT32_MAX};
}

static bool nearest_offer(struct nearest *nearest, const char *name)
{
    uint32_t distance = option_distance(nearest->typed, slice_text(name));

    if (distance >= nearest->distance || !option_is_near(distance, nearest->typed))
        return false;
    nearest->name = name;
    nearest->distance = distance;
    return true;
}

const char *option_nearest_key(const char *group, struct slice name)
{
    struct nearest nearest = nearest_to(name);

    for (uint32_t index = 0; index < option_count; index++)
        if (strcmp(option_table[index].group, group) == 0)
            (void)nearest_offer(&nearest, option_table[index].name);
    if (group[0] == '\0') {
        for (uint32_t index = 1; index < option_group_count; index++)
            (void)nearest_offer(&nearest, option_groups[index].name);
        (void)nearest_offer(&nearest, "listeners");
    }
    return nearest.name;
}

const char *option_nearest_listener_key(struct slice name)
{
    struct nearest nearest = nearest_to(name);

    for (uint32_t index = 0; index < listener_option_count; index++)
        (void)nearest_offer(&nearest, listener_table[index].name);
    return nearest.name;
}

const char *option_nearest_argument(struct slice name, const char *const *extra,
                                    char text[OPTION_NAME_SIZE])
{
    struct nearest nearest = nearest_to(name);
    char           argument[OPTION_NAME_SIZE];

    for (; *extra != NULL; extra++)
        (void)nearest_offer(&nearest, *extra);
    for (uint32_t index = 0; index < option_count; index++)
        if (nearest_offer(&nearest, option_argument(&option_table[index], argument)))
            nearest.name = memcpy(text, argument, OPTION_NAME_SIZE);
    return nearest.name;
}
