/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "shard/loop_statistics.h"

#include <inttypes.h>
#include <string.h>

static void print_drops(FILE *out, const struct statistics *broker)
{
    fputs("  drops      ", out);
    for (enum drop_cause cause = 0; cause < DROP_CAUSE_COUNT; cause++)
        fprintf(out, "%s%s %" PRIu64, cause > 0 ? ", " : "", drop_cause_name(cause),
                broker->drops[cause]);
    fputc('\n', out);
}

static void print_broker(FILE *out, const struct statistics *broker)
{
    fprintf(out,
            "  clients     connections %" PRIu64 " (greeting %" PRIu64 "), sessions %" PRIu64
            " (offline %" PRIu64 "), subscriptions %" PRIu64 " + %" PRIu64 " shared\n",
            broker->connections, broker->greeting, broker->sessions, broker->sessions_offline,
            broker->subscriptions, broker->shared_subscriptions);
    fprintf(out,
            "  publish     in %" PRIu64 " (%" PRIu64 "/%" PRIu64 "/%" PRIu64 "), out %" PRIu64
            " (%" PRIu64 "/%" PRIu64 "/%" PRIu64 "), refused %" PRIu64 "\n",
            broker->publish_in, broker->publish_in_qos[0], broker->publish_in_qos[1],
            broker->publish_in_qos[2], broker->publish_out, broker->publish_out_qos[0],
            broker->publish_out_qos[1], broker->publish_out_qos[2], broker->publish_refused);
    fprintf(out,
            "  traffic     packets in %" PRIu64 " out %" PRIu64 ", bytes in %" PRIu64
            " out %" PRIu64 ", output waiting %" PRIu64 "\n",
            broker->packets_in, broker->packets_out, broker->bytes_in, broker->bytes_out,
            broker->output_bytes);
    fprintf(out,
            "  messages    retained %" PRIu64 " (%" PRIu64 " B), queued %" PRIu64 " (%" PRIu64
            " B), inflight %" PRIu64 "\n",
            broker->retained_messages, broker->retained_bytes, broker->queued_messages,
            broker->queued_bytes, broker->inflight_messages);
    fprintf(out,
            "  parcels     in %" PRIu64 ", out %" PRIu64 ", false positive %" PRIu64
            ", outbox high water %" PRIu64 ", reads paused %" PRIu64 "\n",
            broker->parcels_in, broker->parcels_out, broker->parcels_false_positive,
            broker->outbox_high_water, broker->reads_paused);
    print_drops(out, broker);
}

static void print_loop(FILE *out, const struct loop_statistics *loop)
{
    uint64_t average_ns = loop->turns > 0 ? loop->turn_ns_total / loop->turns : 0;

    fprintf(out,
            "  loop        turns %" PRIu64 " (no wait %" PRIu64 ", one %" PRIu64 ", many %" PRIu64
            "), completions %" PRIu64 ", time a turn %" PRIu64 " ns, longest %" PRIu64
            " us, active %" PRIu64 "\n",
            loop->turns, loop->waits_none, loop->waits_one, loop->waits_many, loop->completions,
            average_ns, loop->turn_ns_max / 1000, loop->active);
    fprintf(out,
            "  transport   receives %" PRIu64 " (%" PRIu64 " B), sends %" PRIu64 " (%" PRIu64
            " B, short %" PRIu64 "), out of buffers %" PRIu64 ", to idle %" PRIu64
            ", from idle %" PRIu64 "\n",
            loop->receives, loop->receive_bytes, loop->sends, loop->send_bytes, loop->short_sends,
            loop->out_of_buffers, loop->to_idle, loop->from_idle);
    fprintf(out,
            "  links       now %" PRIu64 ", accepted %" PRIu64 " (paused %" PRIu64
            "), handed over in %" PRIu64 " out %" PRIu64 "\n",
            loop->links, loop->accepted, loop->accept_pauses, loop->moved_in, loop->moved_out);
    fprintf(out,
            "  mailboxes   parcels in %" PRIu64 ", out %" PRIu64 ", full %" PRIu64
            ", high water %" PRIu64 ", wakes %" PRIu64 "\n",
            loop->parcels_in, loop->parcels_out, loop->mailbox_full, loop->mailbox_high_water,
            loop->wakes);
}

void loop_statistics_print(FILE *out, const struct shard_snapshot *shards, uint16_t count)
{
    struct statistics sum;
    memset(&sum, 0, sizeof(sum));

    for (uint16_t shard = 0; shard < count; shard++) {
        fprintf(out, "shard %u\n", shard);
        print_broker(out, &shards[shard].broker);
        print_loop(out, &shards[shard].loop);
        statistics_add(&sum, &shards[shard].broker);
    }
    if (count > 1) {
        fprintf(out, "all %u shards\n", count);
        print_broker(out, &sum);
    }
}
