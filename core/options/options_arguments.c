/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The command line. Every row of the table is `--group-name VALUE` (or `=VALUE`); a few words stand
 * beside the table. Two passes: the first finds the --config file, which is then loaded, the second
 * sets values on top of it, so that the command line wins wherever --config stands.
 */
#include "core/options/option_table.h"
#include "core/options/report.h"

#include <errno.h>

enum word {
    WORD_NONE = 0,
    WORD_CONFIG,
    WORD_LISTEN,
    WORD_BIND,
    WORD_PORT,
    WORD_HELP,
    WORD_VERSION,
};

static const struct {
    const char *name;
    enum word   word;
    char        letter; /* 0 none */
} words[] = {
    {"config", WORD_CONFIG, 'c'}, {"listen", WORD_LISTEN, 0}, {"bind", WORD_BIND, 0},
    {"port", WORD_PORT, 'p'},     {"help", WORD_HELP, 'h'},   {"version", WORD_VERSION, 'V'},
};
#define WORD_COUNT (sizeof(words) / sizeof(words[0]))

static const char *const word_names[] = {"config", "listen",  "bind", "port",
                                         "help",   "version", NULL};

struct argument {
    int                  position;
    char                 shown[64]; /* "--prot", for messages */
    enum word            word;      /* or */
    const struct option *option;
    struct slice         value;
};

struct arguments {
    int                   count;
    char                **texts;
    int                   next;
    struct options_error *error;
};

static void fault(struct arguments *arguments, const struct argument *argument, const char *what)
{
    report_add(arguments->error, "argument %d (%s): %s", argument->position, argument->shown, what);
}

/* What the operator typed, safe to print and without the value behind '='. */
static void show(struct argument *argument, struct slice text)
{
    char quoted[sizeof(argument->shown)];

    option_quote(text, quoted, sizeof(quoted));
    (void)snprintf(argument->shown, sizeof(argument->shown), "%.*s", (int)strlen(quoted) - 2,
                   quoted + 1);
}

static enum word word_named(struct slice name)
{
    for (size_t index = 0; index < WORD_COUNT; index++)
        if (slice_equal(name, slice_text(words[index].name)))
            return words[index].word;
    return WORD_NONE;
}

static enum word word_of_letter(char letter)
{
    for (size_t index = 0; index < WORD_COUNT; index++)
        if (words[index].letter != 0 && words[index].letter == letter)
            return words[index].word;
    return WORD_NONE;
}

static void refuse_name(struct arguments *arguments, const struct argument *argument,
                        struct slice name)
{
    char        near[OPTION_NAME_SIZE];
    char        what[OPTION_REASON_SIZE];
    const char *nearest = option_nearest_argument(name, word_names, near);

    if (nearest != NULL)
        (void)snprintf(what, sizeof(what), "unknown option; did you mean \"--%s\"?", nearest);
    else
        (void)snprintf(what, sizeof(what), "unknown option; --help lists all");
    fault(arguments, argument, what);
}

/* The value: behind '=' or a short option's letter (`attached`), or the next argument. */
static bool take_value(struct arguments *arguments, struct argument *argument, const char *attached)
{
    if (attached == NULL && arguments->next < arguments->count &&
        strncmp(arguments->texts[arguments->next], "--", 2) != 0)
        attached = arguments->texts[arguments->next++];
    if (attached == NULL) {
        fault(arguments, argument, "expected a value, got nothing");
        return false;
    }
    argument->value = slice_text(attached);
    return true;
}

static bool take_long(struct arguments *arguments, struct argument *argument, const char *text)
{
    const char  *equals = strchr(text, '=');
    struct slice name = equals != NULL ? slice_of(text, (size_t)(equals - text)) : slice_text(text);

    argument->word = word_named(name);
    argument->option = argument->word == WORD_NONE ? option_find_argument(name) : NULL;
    if (argument->word == WORD_NONE && argument->option == NULL) {
        refuse_name(arguments, argument, name);
        /* Its value, most likely: one fault is enough for both. */
        if (equals == NULL && arguments->next < arguments->count &&
            arguments->texts[arguments->next][0] != '-')
            arguments->next++;
        return false;
    }
    return take_value(arguments, argument, equals != NULL ? equals + 1 : NULL);
}

static bool take_short(struct arguments *arguments, struct argument *argument, const char *text)
{
    argument->word = word_of_letter(text[0]);
    if (argument->word == WORD_NONE) {
        fault(arguments, argument, "unknown option; --help lists all");
        return false;
    }
    return take_value(arguments, argument, text[1] != '\0' ? text + 1 : NULL);
}

/* The next argument that can be understood; faults of others are told. False at the end. */
static bool next_argument(struct arguments *arguments, struct argument *argument)
{
    while (arguments->next < arguments->count) {
        const char  *text = arguments->texts[arguments->next];
        struct slice shown = slice_text(text);
        bool         is_long = strncmp(text, "--", 2) == 0 && text[2] != '\0';
        bool         is_short = !is_long && text[0] == '-' && text[1] != '\0' && text[1] != '-';

        *argument = (struct argument){.position = arguments->next++};
        if (is_long)
            shown.size = (uint32_t)strcspn(text, "=");
        else if (is_short)
            shown.size = 2;
        show(argument, shown);

        if (is_long ? take_long(arguments, argument, text + 2)
                    : is_short && take_short(arguments, argument, text + 1))
            return true;
        if (!is_long && !is_short)
            fault(arguments, argument, "expected an option that begins with --");
    }
    return false;
}

/* ---- first pass ---- */

/* --help and --version win over anything else on the command line, right or wrong. */
static enum options_command find_command(int argc, char **argv)
{
    for (int index = 1; index < argc; index++) {
        if (strcmp(argv[index], "--help") == 0 || strcmp(argv[index], "-h") == 0)
            return OPTIONS_HELP;
        if (strcmp(argv[index], "--version") == 0 || strcmp(argv[index], "-V") == 0)
            return OPTIONS_VERSION;
    }
    return argc > 1 && strcmp(argv[1], "check") == 0 ? OPTIONS_CHECK : OPTIONS_RUN;
}

static bool set_config(struct options *options, struct slice path)
{
    if (path.size == 0 || path.size >= sizeof(options->config))
        return false;
    memset(options->config, 0, sizeof(options->config));
    memcpy(options->config, path.data, path.size);
    return true;
}

static int parse_check(struct options *options, int argc, char **argv, struct options_error *error)
{
    if (argc == 3 && set_config(options, slice_text(argv[2])))
        return 0;
    report_add(error, "argument 1 (check): expected one FILE to check, as in: shardmq check FILE");
    return -EINVAL;
}

static void find_config(struct options *options, struct arguments *arguments)
{
    struct argument argument;

    while (next_argument(arguments, &argument)) {
        if (argument.word != WORD_CONFIG)
            continue;
        if (options->config[0] != '\0')
            fault(arguments, &argument, "given twice");
        else if (!set_config(options, argument.value))
            fault(arguments, &argument, "expected the path of a file");
    }
}

/* ---- second pass ---- */

struct changes {
    uint32_t listens;          /* --listen seen */
    bool     default_listener; /* --bind or --port seen */
};

static void set_port(struct options *options, struct arguments *arguments,
                     const struct argument *argument)
{
    static const struct option *const port = &listener_table[2];
    struct options_listener          *first = &options->listeners[0];
    char                              reason[OPTION_REASON_SIZE];

    assert(strcmp(port->name, "port") == 0);
    if (first->address.kind == ADDRESS_UNIX)
        fault(arguments, argument, "the first listener is a unix socket, which has no port");
    else if (!option_set(port, first, argument->value, reason))
        fault(arguments, argument, reason);
}

static void set_address(struct options_listener *listener, struct arguments *arguments,
                        const struct argument *argument)
{
    static const struct option *const address = &listener_table[1];
    char                              reason[OPTION_REASON_SIZE];

    assert(strcmp(address->name, "address") == 0);
    if (!option_set(address, listener, argument->value, reason))
        fault(arguments, argument, reason);
}

/* The first --listen replaces whatever listeners there were; later ones add to it. */
static void add_listener(struct options *options, struct arguments *arguments,
                         const struct argument *argument, struct changes *changes)
{
    if (changes->listens == OPTIONS_LISTENERS_MAX) {
        fault(arguments, argument, "expected at most 16 listeners, got more");
        return;
    }
    struct options_listener *listener = &options->listeners[changes->listens++];
    options_listener_defaults(listener);
    set_address(listener, arguments, argument);
    options->listener_count = changes->listens;
}

static void set_argument(struct options *options, struct arguments *arguments,
                         const struct argument *argument, struct changes *changes)
{
    char reason[OPTION_REASON_SIZE];

    switch (argument->word) {
    case WORD_LISTEN:
        add_listener(options, arguments, argument, changes);
        break;
    case WORD_BIND:
        changes->default_listener = true;
        set_address(&options->listeners[0], arguments, argument);
        break;
    case WORD_PORT:
        changes->default_listener = true;
        set_port(options, arguments, argument);
        break;
    case WORD_CONFIG:
    case WORD_HELP:
    case WORD_VERSION:
        break;
    case WORD_NONE:
        if (!option_set(argument->option, options, argument->value, reason))
            fault(arguments, argument, reason);
        break;
    }
    if (changes->listens > 0 && changes->default_listener &&
        (argument->word == WORD_LISTEN || argument->word == WORD_BIND ||
         argument->word == WORD_PORT))
        fault(arguments, argument,
              "--bind and --port change the first listener and do not go with --listen");
}

int options_parse_arguments(struct options *options, int argc, char **argv,
                            struct options_error *error)
{
    struct arguments arguments = {.count = argc, .texts = argv, .next = 1, .error = error};
    struct changes   changes = {0};
    struct argument  argument;

    report_clear(error);
    options->command = find_command(argc, argv);
    if (options->command == OPTIONS_HELP || options->command == OPTIONS_VERSION)
        return 0;
    if (options->command == OPTIONS_CHECK)
        return parse_check(options, argc, argv, error);

    find_config(options, &arguments);
    if (error->count > 0)
        return -EINVAL;

    if (options->config[0] != '\0' && options_read_file(options, options->config, error) < 0)
        return -EINVAL;

    arguments.next = 1;
    while (next_argument(&arguments, &argument))
        set_argument(options, &arguments, &argument, &changes);

    if (error->count == 0)
        options_cross_check(options, "", error);
    return error->count == 0 ? 0 : -EINVAL;
}
