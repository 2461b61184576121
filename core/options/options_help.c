/* SPDX-License-Identifier: GPL-3.0-or-later */
/* --help and docs/options.md, made from the table. */
#include "core/options/option_table.h"
#include "core/options/options.h"

#define HELP_COLUMN    30U
#define HELP_WIDTH     96U
#define HELP_TEXT_SIZE 1024U

/* Writes words from `column` on, wrapped, each further line indented to HELP_COLUMN. */
static void print_wrapped(FILE *out, const char *text, size_t column)
{
    while (*text != '\0') {
        size_t word = strcspn(text, " ");
        if (column > HELP_COLUMN && column + 1 + word > HELP_WIDTH) {
            (void)fprintf(out, "\n");
            column = 0;
        }
        if (column < HELP_COLUMN)
            (void)fprintf(out, "%*s", (int)(HELP_COLUMN - column), "");
        else if (column > HELP_COLUMN)
            (void)fprintf(out, " ");
        column = (column < HELP_COLUMN ? HELP_COLUMN : column > HELP_COLUMN ? column + 1 : column);
        (void)fprintf(out, "%.*s", (int)word, text);
        column += word;
        text += word;
        text += strspn(text, " ");
    }
    (void)fprintf(out, "\n");
}

/* A name that reaches into the explanation's column gets a line of its own. */
static void print_entry(FILE *out, const char *name, const char *text)
{
    size_t column = (size_t)fprintf(out, "  %s", name);

    if (column + 2 > HELP_COLUMN) {
        (void)fprintf(out, "\n");
        column = 0;
    }
    print_wrapped(out, text, column);
}

static void print_option(FILE *out, const struct option *option)
{
    char argument[OPTION_NAME_SIZE];
    char name[2 * OPTION_NAME_SIZE];
    char range[HELP_TEXT_SIZE / 4];
    char text[HELP_TEXT_SIZE];

    (void)snprintf(name, sizeof(name), "--%s %s", option_argument(option, argument),
                   option_placeholder(option));
    if (option->type == OPTION_CHOICE || option->type == OPTION_CHOICES)
        option_expected(option, range, sizeof(range));
    else
        option_range(option, range, sizeof(range));

    (void)snprintf(
        text, sizeof(text), "%s%s%s%s%s%s%s [%s]", option->help, range[0] != '\0' ? " (" : "",
        range, option->power_of_two ? ", power of two" : "", option->zero != NULL ? "; 0: " : "",
        option->zero != NULL ? option->zero : "", range[0] != '\0' ? ")" : "",
        option->standard[0] != '\0' ? option->standard : "empty");
    print_entry(out, name, text);
}

void options_print_help(FILE *out)
{
    (void)fprintf(out,
                  "shardmq: an MQTT 3.1, 3.1.1 and 5.0 broker, one thread a CPU\n"
                  "\n"
                  "Usage: shardmq [--config FILE] [OPTION VALUE]...\n"
                  "       shardmq check FILE     say what is wrong with a file, start nothing\n"
                  "\n"
                  "Examples:\n"
                  "  shardmq                                    127.0.0.1:1883, a shard a CPU\n"
                  "  shardmq --config shardmq.yaml --shards 2   a file, one value changed\n"
                  "  shardmq --listen '[::1]:1883' --listen unix:/run/shardmq.sock --cpus 0-3\n"
                  "\n"
                  "Values have units: 10MiB, 64kB, 500ms, 60s, 7d. The command line beats the\n"
                  "file, the file beats the defaults, which stand in [brackets]. In a file,\n"
                  "--limits-packet-size-max 1MiB is:\n"
                  "\n"
                  "  limits:\n"
                  "    packet_size_max: 1MiB\n"
                  "\n"
                  "Start\n");
    print_entry(out, "-c, --config FILE", "Read this YAML file.");
    print_entry(
        out, "    --listen ADDR",
        "Listen on ADDRESS:PORT, [IPv6]:PORT or unix:/path. May be repeated, up to 16 times; "
        "replaces the file's listeners. [127.0.0.1:1883]");
    print_entry(out, "    --bind ADDR", "Change the address of the first listener. [127.0.0.1]");
    print_entry(
        out, "-p, --port N",
        "Change the port of the first listener; 0: a free one of the kernel's choice. [1883]");
    print_entry(out, "-h, --help", "Print this.");
    print_entry(out, "-V, --version", "Print versions.");

    for (uint32_t group = 0; group < option_group_count; group++) {
        (void)fprintf(out, "\n%s\n", option_groups[group].title);
        for (uint32_t index = 0; index < option_count; index++)
            if (strcmp(option_table[index].group, option_groups[group].name) == 0)
                print_option(out, &option_table[index]);
    }
}

static void print_rows(FILE *out, const struct option *rows, uint32_t count, const char *group)
{
    (void)fprintf(out, "| Key | Value | Default | Meaning |\n|---|---|---|---|\n");
    for (uint32_t index = 0; index < count; index++) {
        const struct option *option = &rows[index];
        char                 expected[HELP_TEXT_SIZE / 2];
        if (strcmp(option->group, group) != 0)
            continue;
        (void)fprintf(out, "| `%s` | %s | %s%s%s | %s%s%s%s |\n", option->name,
                      option_expected(option, expected, sizeof(expected)),
                      option->standard[0] != '\0' ? "`" : "empty", option->standard,
                      option->standard[0] != '\0' ? "`" : "", option->help,
                      option->zero != NULL ? " 0: " : "", option->zero != NULL ? option->zero : "",
                      option->zero != NULL ? "." : "");
    }
}

void options_print_markdown(FILE *out)
{
    (void)fprintf(
        out,
        "# Options\n"
        "\n"
        "Made from the table in core/options/option_table.c; do not edit. A test compares, and\n"
        "rewrites this file when it runs with `SHARDMQ_UPDATE_DOCS=1`.\n"
        "\n"
        "The command line beats the file (`shardmq --config FILE`), the file beats the defaults.\n"
        "`shardmq check FILE` says what is wrong with a file. A key `packet_size_max` of the "
        "group\n"
        "`limits` is `--limits-packet-size-max` on the command line; keys of the top level have "
        "no\n"
        "prefix (`--shards`). Lists are written with commas there: `--cpus 0-3,6`.\n"
        "\n"
        "```yaml\n"
        "shards: 4\n"
        "cpus: [0-3]\n"
        "listeners:\n"
        "  - 127.0.0.1:1883\n"
        "  - {name: local, address: unix:/run/shardmq.sock, mode: 0660}\n"
        "limits:\n"
        "  packet_size_max: 1MiB\n"
        "protocol:\n"
        "  connect_timeout: 5s\n"
        "```\n"
        "\n"
        "- Sizes need a unit: `B`, `KiB`, `MiB`, `GiB` (powers of 1024), `kB`, `MB`, `GB` (of "
        "1000).\n"
        "- Times need a unit: `us`, `ms`, `s`, `min` (or `m`), `h`, `d`; some take `never`.\n"
        "- 0 needs no unit. Booleans are `true` or `false` (or `yes`, `no`, `on`, `off`).\n"
        "- A file is UTF-8, at most 1 MiB, one document, without anchors, aliases, tags, "
        "directives.\n"
        "\n"
        "## Listeners (`listeners`)\n"
        "\n"
        "A list of up to 16, each an address or a mapping of the keys below. Without it there is "
        "one\n"
        "on 127.0.0.1:1883. On the command line: `--listen ADDR`, repeated; `--bind ADDR` and\n"
        "`--port N` (`-p`) change the first listener.\n"
        "\n");
    print_rows(out, listener_table, listener_option_count, "listeners");
    for (uint32_t group = 0; group < option_group_count; group++) {
        const struct option_group *row = &option_groups[group];
        if (row->name[0] != '\0')
            (void)fprintf(out, "\n## %s (`%s`)\n\n", row->title, row->name);
        else
            (void)fprintf(out, "\n## %s (top level)\n\n", row->title);
        print_rows(out, option_table, option_count, row->name);
    }
}
