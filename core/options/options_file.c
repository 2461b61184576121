/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The configuration file: YAML by libfyaml, read event by event. The text is checked before the
 * library sees it (size, UTF-8, no NUL, no control characters, no directives): libfyaml 0.7.12
 * loops for ever on "%" followed by an invalid byte. No document tree is built, so that anchors,
 * aliases and deep nesting are refused at the event where they begin, before they cost anything.
 *
 * A fault in a value does not end the reading: an operator gets all faults at once. A fault of the
 * syntax does.
 */
#include "core/options/option_table.h"
#include "core/options/report.h"
#include "proto/utf8.h"

#include <libfyaml.h>

#include <errno.h>
#include <stdlib.h>

#define DEPTH_MAX      8U
#define LIST_TEXT_SIZE 8192U

struct place {
    int line; /* 1-based */
    int column;
};

struct loader {
    struct options       *options;
    struct options_error *error;
    const char           *name; /* of the file, for messages */
    struct fy_parser     *parser;
    struct fy_event      *event; /* the current one; NULL at the end */
    struct place          place; /* of the current event, or of the last that had one */
    uint32_t              depth;
    bool                  broken; /* a fault after which nothing more is read */
};

/* ---- before the library ---- */

static uint32_t character_size(uint8_t first)
{
    return first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

static const char *character_fault(struct slice text, uint32_t index, uint32_t *size)
{
    uint8_t byte = text.data[index];

    *size = character_size(byte);
    if (byte == 0)
        return "a NUL byte";
    if ((byte < ' ' && byte != '\t' && byte != '\n' && byte != '\r') || byte == 0x7f)
        return "a control character";
    if (*size > text.size - index || !utf8_valid(slice_of(text.data + index, *size)))
        return "a byte that is not UTF-8";
    return NULL;
}

/* True when the library may see the text; else says in which place it may not. */
static bool text_is_fit(struct loader *loader, struct slice text)
{
    struct place place = {.line = 1, .column = 1};

    for (uint32_t index = 0; index < text.size;) {
        uint32_t    size;
        const char *fault = character_fault(text, index, &size);
        if (fault == NULL && text.data[index] == '%' && place.column == 1)
            fault = "a YAML directive";
        if (fault != NULL) {
            report_add(loader->error, "%s:%d:%d: expected plain UTF-8 text, got %s", loader->name,
                       place.line, place.column, fault);
            return false;
        }
        bool ends_line = text.data[index] == '\n' || text.data[index] == '\r';
        if (text.data[index] == '\n')
            place.line++;
        place.column = ends_line ? 1 : place.column + 1;
        index += size;
    }
    return true;
}

/* ---- events ---- */

/* One fault, at a place. `key` may be empty. */
static void fault_at(struct loader *loader, struct place place, const char *key, const char *what)
{
    report_add(loader->error, "%s:%d:%d: %s%s%s", loader->name, place.line, place.column, key,
               key[0] != '\0' ? ": " : "", what);
    if (loader->error->count > REPORT_FAULTS_MAX)
        loader->broken = true;
}

static void fault(struct loader *loader, const char *key, const char *what)
{
    fault_at(loader, loader->place, key, what);
}

static void stop(struct loader *loader, const char *what)
{
    fault(loader, "", what);
    loader->broken = true;
}

/* What libfyaml has to say about the syntax. */
static void stop_at_syntax(struct loader *loader)
{
    struct fy_diag       *diag = fy_parser_get_diag(loader->parser);
    void                 *previous = NULL;
    struct fy_diag_error *first = fy_diag_errors_iterate(diag, &previous);
    struct place          place = loader->place;
    char                  what[256];

    if (first != NULL && first->line > 0)
        place = (struct place){.line = first->line, .column = first->column};
    (void)snprintf(what, sizeof(what), "expected YAML, got a fault of syntax: %s",
                   first != NULL && first->msg != NULL ? first->msg : "the text cannot be read");
    what[strcspn(what, "\n")] = '\0';
    fault_at(loader, place, "", what);
    fy_diag_unref(diag);
    loader->broken = true;
}

static enum fy_event_type event_type(const struct loader *loader)
{
    return loader->event != NULL ? loader->event->type : FYET_NONE;
}

static bool has_anchor_or_tag(struct fy_event *event)
{
    switch (event->type) {
    case FYET_SCALAR:
        return event->scalar.anchor != NULL || event->scalar.tag != NULL;
    case FYET_MAPPING_START:
        return event->mapping_start.anchor != NULL || event->mapping_start.tag != NULL;
    case FYET_SEQUENCE_START:
        return event->sequence_start.anchor != NULL || event->sequence_start.tag != NULL;
    case FYET_ALIAS:
        return true;
    case FYET_NONE:
    case FYET_STREAM_START:
    case FYET_STREAM_END:
    case FYET_DOCUMENT_START:
    case FYET_DOCUMENT_END:
    case FYET_MAPPING_END:
    case FYET_SEQUENCE_END:
        return false;
    }
    return false;
}

static void drop_event(struct loader *loader)
{
    if (loader->event != NULL)
        fy_parser_event_free(loader->parser, loader->event);
    loader->event = NULL;
}

/* Moves on by one event. Nothing is left to read once the loader is broken. */
static void advance(struct loader *loader)
{
    drop_event(loader);
    if (loader->broken)
        return;

    loader->event = fy_parser_parse(loader->parser);
    if (loader->event == NULL) {
        if (fy_parser_get_stream_error(loader->parser))
            stop_at_syntax(loader);
        return;
    }
    /* A value that is not there has no mark of its own. */
    const struct fy_mark *mark = fy_event_start_mark(loader->event);
    if (mark != NULL)
        loader->place = (struct place){.line = mark->line + 1, .column = mark->column + 1};
    if (has_anchor_or_tag(loader->event))
        stop(loader, "anchors, aliases and tags are not allowed");

    enum fy_event_type type = event_type(loader);
    if (type == FYET_MAPPING_START || type == FYET_SEQUENCE_START)
        loader->depth++;
    if (type == FYET_MAPPING_END || type == FYET_SEQUENCE_END)
        loader->depth--;
    if (loader->depth > DEPTH_MAX)
        stop(loader, "nested too deeply");
    if (loader->broken)
        drop_event(loader);
}

/* A view of the current scalar's text, valid until the next advance. */
static struct slice scalar_text(const struct loader *loader)
{
    size_t      size = 0;
    const char *text = NULL;

    assert(loader->event != NULL && loader->event->type == FYET_SCALAR);
    if (loader->event->scalar.value != NULL)
        text = fy_token_get_text(loader->event->scalar.value, &size);
    return slice_of(text != NULL ? text : "", text != NULL ? size : 0);
}

/* `limits:` with nothing, or only comments, below it. */
static bool is_nothing(const struct loader *loader)
{
    if (loader->event == NULL || loader->event->type != FYET_SCALAR)
        return false;
    struct fy_token *token = loader->event->scalar.value;
    return scalar_text(loader).size == 0 &&
           (token == NULL || fy_scalar_token_get_style(token) == FYSS_PLAIN);
}

/* Leaves the current value, whatever it is, behind. */
static void skip_value(struct loader *loader)
{
    enum fy_event_type type = event_type(loader);
    bool               opens = type == FYET_MAPPING_START || type == FYET_SEQUENCE_START;
    uint32_t           outside = opens ? loader->depth - 1 : loader->depth;

    do {
        advance(loader);
    } while (loader->event != NULL && loader->depth > outside);
    if (opens)
        advance(loader);
}

static const char *got(const struct loader *loader)
{
    switch (event_type(loader)) {
    case FYET_MAPPING_START:
        return "a mapping";
    case FYET_SEQUENCE_START:
        return "a list";
    case FYET_SCALAR:
        return is_nothing(loader) ? "nothing" : "a single value";
    case FYET_NONE:
    case FYET_STREAM_START:
    case FYET_STREAM_END:
    case FYET_DOCUMENT_START:
    case FYET_DOCUMENT_END:
    case FYET_MAPPING_END:
    case FYET_SEQUENCE_END:
    case FYET_ALIAS:
        break;
    }
    return "something else";
}

/* Says what was expected instead of the current value, and leaves that behind. */
static void refuse_value(struct loader *loader, const char *key, const char *expected)
{
    char what[OPTION_REASON_SIZE];

    if (loader->event == NULL)
        return;
    (void)snprintf(what, sizeof(what), "expected %s, got %s", expected, got(loader));
    fault(loader, key, what);
    skip_value(loader);
}

/* ---- keys and values ---- */

struct key {
    char         text[OPTION_NAME_SIZE]; /* what fits; longer ones are unknown anyway */
    struct slice name;
    struct place place;
};

/*
 * Takes the next key of the current mapping; the value is then the current event. False at the end
 * of the mapping, which is then behind.
 */
static bool take_key(struct loader *loader, struct key *key)
{
    while (loader->event != NULL && event_type(loader) != FYET_MAPPING_END) {
        if (event_type(loader) != FYET_SCALAR) {
            refuse_value(loader, "", "a name");
            skip_value(loader);
            continue;
        }
        struct slice text = scalar_text(loader);
        uint32_t     size = text.size < sizeof(key->text) ? text.size : sizeof(key->text) - 1;

        memcpy(key->text, text.data, size);
        key->text[size] = '\0';
        key->name = slice_of(key->text, size);
        key->place = loader->place;
        advance(loader);
        return loader->event != NULL;
    }
    advance(loader);
    return false;
}

/* False, and a fault, when the key was there before. */
static bool first_time(struct loader *loader, bool *seen, const struct key *key, const char *name)
{
    if (*seen) {
        fault_at(loader, key->place, name, "given twice");
        skip_value(loader);
        return false;
    }
    *seen = true;
    return true;
}

/* "limits.paket_size_max: unknown option; did you mean "packet_size_max"?" */
static void refuse_key(struct loader *loader, const struct key *key, const char *group,
                       const char *nearest)
{
    char                 name[OPTION_NAME_SIZE + 64];
    char                 quoted[128];
    char                 what[OPTION_REASON_SIZE];
    const struct option *elsewhere = option_find_anywhere(key->name);

    if (elsewhere == NULL) /* "limits.packet_size_max" */
        elsewhere = option_find_argument(key->name);

    /* Without the quotes, but safe to print. */
    option_quote(key->name, quoted, sizeof(quoted));
    (void)snprintf(name, sizeof(name), "%s%s%.*s", group, group[0] != '\0' ? "." : "",
                   (int)strlen(quoted) - 2, quoted + 1);
    if (elsewhere != NULL && elsewhere->group[0] != '\0')
        (void)snprintf(what, sizeof(what), "unknown option here; \"%s\" belongs below \"%s:\"",
                       elsewhere->name, elsewhere->group);
    else if (elsewhere != NULL)
        (void)snprintf(what, sizeof(what), "unknown option here; \"%s\" belongs at the top level",
                       elsewhere->name);
    else if (nearest != NULL)
        (void)snprintf(what, sizeof(what), "unknown option; did you mean \"%s\"?", nearest);
    else
        (void)snprintf(what, sizeof(what), "unknown option");
    fault_at(loader, key->place, name, what);
    skip_value(loader);
}

/* The scalars of a list, joined with commas: lists are understood as text, as on a command line. */
static bool join_list(struct loader *loader, const char *key, char text[LIST_TEXT_SIZE])
{
    size_t used = 0;
    bool   fine = true;

    text[0] = '\0';
    advance(loader);
    while (loader->event != NULL && event_type(loader) != FYET_SEQUENCE_END) {
        if (event_type(loader) != FYET_SCALAR) {
            refuse_value(loader, key, "a single value in the list");
            fine = false;
            continue;
        }
        struct slice element = scalar_text(loader);
        if (used + element.size + 2 > LIST_TEXT_SIZE) {
            if (fine)
                fault(loader, key, "the list is too long");
            fine = false;
        }
        if (fine) {
            if (used > 0)
                text[used++] = ',';
            memcpy(text + used, element.data, element.size);
            used += element.size;
            text[used] = '\0';
        }
        advance(loader);
    }
    advance(loader);
    return fine && !loader->broken;
}

static void load_value(struct loader *loader, const struct option *option, void *base)
{
    char         key[OPTION_NAME_SIZE];
    char         list[LIST_TEXT_SIZE];
    char         reason[OPTION_REASON_SIZE];
    struct place place = loader->place;

    option_key(option, key);
    if (event_type(loader) == FYET_SEQUENCE_START && option_takes_list(option)) {
        if (join_list(loader, key, list) && !option_set(option, base, slice_text(list), reason))
            fault_at(loader, place, key, reason);
        return;
    }
    if (event_type(loader) != FYET_SCALAR || is_nothing(loader)) {
        char expected[OPTION_REASON_SIZE / 2];
        refuse_value(loader, key, option_expected(option, expected, sizeof(expected)));
        return;
    }
    if (!option_set(option, base, scalar_text(loader), reason))
        fault_at(loader, place, key, reason);
    advance(loader);
}

static void load_group(struct loader *loader, const struct option_group *group)
{
    bool       seen[OPTION_COUNT_MAX] = {false};
    struct key key;

    if (is_nothing(loader)) {
        advance(loader);
        return;
    }
    if (event_type(loader) != FYET_MAPPING_START) {
        refuse_value(loader, group->name, "a mapping of options");
        return;
    }
    advance(loader);
    while (take_key(loader, &key)) {
        const struct option *option = option_find(group->name, key.name);
        char                 name[OPTION_NAME_SIZE];
        if (option == NULL)
            refuse_key(loader, &key, group->name, option_nearest_key(group->name, key.name));
        else if (first_time(loader, &seen[option - option_table], &key, option_key(option, name)))
            load_value(loader, option, loader->options);
    }
}

/* ---- listeners ---- */

enum listener_row {
    LISTENER_NAME,
    LISTENER_ADDRESS,
    LISTENER_PORT,
    LISTENER_BACKLOG,
    LISTENER_MODE
};

static const struct option *find_listener_option(struct slice name)
{
    for (uint32_t index = 0; index < listener_option_count; index++)
        if (slice_equal(name, slice_text(listener_table[index].name)))
            return &listener_table[index];
    return NULL;
}

static void load_listener_mapping(struct loader *loader, struct options_listener *listener)
{
    bool         seen[16] = {false};
    bool         address_has_port = false;
    uint32_t     faults_before = loader->error->count;
    struct place place = loader->place;
    struct key   key;

    /* Kept apart, because an address with a port may stand before or after it. */
    struct options_listener apart = *listener;

    advance(loader);
    while (take_key(loader, &key)) {
        const struct option *option = find_listener_option(key.name);
        char                 name[OPTION_NAME_SIZE];
        if (option == NULL) {
            refuse_key(loader, &key, "listeners", option_nearest_listener_key(key.name));
            continue;
        }
        if (!first_time(loader, &seen[option - listener_table], &key, option_key(option, name)))
            continue;
        bool is_port = option == &listener_table[LISTENER_PORT];
        if (option == &listener_table[LISTENER_ADDRESS] && event_type(loader) == FYET_SCALAR)
            address_has_port = address_names_port(scalar_text(loader));
        load_value(loader, option, is_port ? &apart : listener);
    }

    if (loader->broken || loader->error->count > faults_before)
        return; /* what does not fit together may follow from the fault told already */

    bool is_unix = listener->address.kind == ADDRESS_UNIX;
    if (!seen[LISTENER_ADDRESS])
        fault_at(loader, place, "listeners", "expected an address in each, got none");
    if (seen[LISTENER_PORT] && is_unix)
        fault_at(loader, place, "listeners.port", "a unix socket has no port");
    if (seen[LISTENER_PORT] && address_has_port)
        fault_at(loader, place, "listeners.port", "the address names a port, too");
    if (seen[LISTENER_MODE] && !is_unix)
        fault_at(loader, place, "listeners.mode", "only a unix socket has permissions");
    if (seen[LISTENER_PORT] && !is_unix)
        listener->address.port = apart.address.port;
}

static void load_listeners(struct loader *loader)
{
    struct options *options = loader->options;
    struct place    place = loader->place;
    uint32_t        count = 0;

    if (is_nothing(loader)) {
        advance(loader);
        return;
    }
    if (event_type(loader) != FYET_SEQUENCE_START) {
        refuse_value(loader, "listeners", "a list of listeners");
        return;
    }
    advance(loader);
    while (loader->event != NULL && event_type(loader) != FYET_SEQUENCE_END) {
        if (count == OPTIONS_LISTENERS_MAX) {
            fault(loader, "listeners", "expected at most 16 listeners, got more");
            loader->broken = true;
            return;
        }
        struct options_listener *listener = &options->listeners[count++];
        options_listener_defaults(listener);
        if (event_type(loader) == FYET_MAPPING_START)
            load_listener_mapping(loader, listener);
        else
            load_value(loader, &listener_table[LISTENER_ADDRESS], listener);
    }
    advance(loader);
    if (count == 0)
        fault_at(loader, place, "listeners", "expected at least one listener, got an empty list");
    else
        options->listener_count = count;
}

/* ---- the document ---- */

static void load_root_key(struct loader *loader, const struct key *key, bool *groups_seen,
                          bool *options_seen)
{
    const struct option_group *group = option_group_find(key->name);
    const struct option       *option = option_find("", key->name);

    if (group != NULL) {
        if (first_time(loader, &groups_seen[group - option_groups], key, group->name))
            load_group(loader, group);
    } else if (slice_equal(key->name, slice_text("listeners"))) {
        if (first_time(loader, &groups_seen[0], key, "listeners"))
            load_listeners(loader);
    } else if (option != NULL) {
        if (first_time(loader, &options_seen[option - option_table], key, option->name))
            load_value(loader, option, loader->options);
    } else {
        refuse_key(loader, key, "", option_nearest_key("", key->name));
    }
}

static void load_root(struct loader *loader)
{
    bool       groups_seen[16] = {false}; /* [0], the top level's own, stands for listeners */
    bool       options_seen[OPTION_COUNT_MAX] = {false};
    struct key key;

    assert(option_group_count <= 16);
    if (is_nothing(loader)) {
        advance(loader);
        return;
    }
    if (event_type(loader) != FYET_MAPPING_START) {
        refuse_value(loader, "", "a mapping of options");
        return;
    }
    advance(loader);
    while (take_key(loader, &key))
        load_root_key(loader, &key, groups_seen, options_seen);
}

static void load_stream(struct loader *loader)
{
    advance(loader);
    if (event_type(loader) == FYET_STREAM_START)
        advance(loader);
    if (event_type(loader) != FYET_DOCUMENT_START)
        return; /* nothing but comments, or a fault that has been told */

    advance(loader);
    load_root(loader);
    if (event_type(loader) == FYET_DOCUMENT_END)
        advance(loader);
    if (event_type(loader) == FYET_DOCUMENT_START)
        stop(loader, "expected one document, got a second one");
}

/* Messages are gathered, never printed by the library. */
static struct fy_parser *parser_create(void)
{
    struct fy_diag_cfg diag_configuration;
    fy_diag_cfg_default(&diag_configuration);
    diag_configuration.fp = NULL;
    diag_configuration.colorize = false;

    struct fy_diag *diag = fy_diag_create(&diag_configuration);
    if (diag == NULL)
        return NULL;
    fy_diag_set_collect_errors(diag, true);

    struct fy_parse_cfg configuration = {
        .flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG | FYPCF_JSON_NONE | FYPCF_DEFAULT_VERSION_1_2,
        .diag = diag,
    };
    struct fy_parser *parser = fy_parser_create(&configuration);
    fy_diag_unref(diag); /* the parser holds its own reference */
    return parser;
}

/* libfyaml 0.7.12 leaks the messages it has gathered unless they are reset. */
static void parser_destroy(struct fy_parser *parser)
{
    if (parser == NULL)
        return;
    struct fy_diag *diag = fy_parser_get_diag(parser);
    fy_diag_reset_error(diag);
    fy_diag_unref(diag);
    fy_parser_destroy(parser);
}

static int read_text(struct options *options, const char *name, struct slice text,
                     struct options_error *error)
{
    static const uint8_t byte_order_mark[] = {0xef, 0xbb, 0xbf};
    struct loader        loader = {
               .options = options, .error = error, .name = name, .place = {.line = 1, .column = 1}};
    uint32_t faults_before = error->count;

    if (text.size >= 3 && memcmp(text.data, byte_order_mark, 3) == 0)
        text = slice_of(text.data + 3, text.size - 3);
    if (!text_is_fit(&loader, text))
        return -EINVAL;
    if (text.size == 0)
        return 0;

    loader.parser = parser_create();
    if (loader.parser == NULL ||
        fy_parser_set_string(loader.parser, (const char *)text.data, text.size) != 0) {
        report_add(error, "%s: out of memory", name);
        parser_destroy(loader.parser);
        return -ENOMEM;
    }
    load_stream(&loader);
    drop_event(&loader);
    parser_destroy(loader.parser);
    return error->count == faults_before ? 0 : -EINVAL;
}

int options_load_text(struct options *options, const char *name, const char *text, size_t size,
                      struct options_error *error)
{
    report_clear(error);
    if (size > OPTIONS_FILE_SIZE_MAX) {
        report_add(error, "%s: expected a file of at most 1MiB, got a larger one", name);
        return -EINVAL;
    }
    int status = read_text(options, name, slice_of(text, size), error);
    if (status < 0)
        return status;

    char place[OPTIONS_PATH_SIZE];
    (void)snprintf(place, sizeof(place), "%.900s: ", name);
    options_cross_check(options, place, error);
    return error->count == 0 ? 0 : -EINVAL;
}

int options_read_file(struct options *options, const char *path, struct options_error *error)
{
    int   status;
    FILE *file = fopen(path, "rbe");
    if (file == NULL) {
        status = -errno;
        report_add(error, "%s: cannot be opened: %s", path, strerror(-status));
        return status;
    }
    char *text = malloc(OPTIONS_FILE_SIZE_MAX + 1);
    if (text == NULL) {
        status = -ENOMEM;
        report_add(error, "%s: out of memory", path);
        goto close_file;
    }
    errno = 0;
    size_t size = fread(text, 1, OPTIONS_FILE_SIZE_MAX + 1, file);
    if (ferror(file)) {
        status = errno != 0 ? -errno : -EIO;
        report_add(error, "%s: cannot be read: %s", path, strerror(-status));
    } else if (size > OPTIONS_FILE_SIZE_MAX) {
        status = -EINVAL;
        report_add(error, "%s: expected a file of at most 1MiB, got a larger one", path);
    } else {
        status = read_text(options, path, slice_of(text, size), error);
    }

    free(text);
close_file:
    (void)fclose(file);
    return status;
}
