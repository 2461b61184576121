/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/options/option_table.h"
#include "core/options/options.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static char *printed_by(void (*print)(FILE *))
{
    char  *text = NULL;
    size_t size = 0;
    FILE  *sink = open_memstream(&text, &size);

    cr_assert_not_null(sink);
    print(sink);
    (void)fclose(sink);
    return text;
}

Test(options_help, each_option_and_default_is_in_the_help)
{
    char *help = printed_by(options_print_help);

    for (uint32_t index = 0; index < option_count; index++) {
        char name[OPTION_NAME_SIZE];
        char line[OPTION_NAME_SIZE + 8];
        (void)snprintf(line, sizeof(line), "\n  --%s ",
                       option_argument(&option_table[index], name));
        cr_assert_not_null(strstr(help, line), "%s", line);
    }
    cr_assert_not_null(strstr(help, "[127.0.0.1:1883]"));
    free(help);
}

Test(options_help, no_line_is_wider_than_a_hundred_columns)
{
    char *help = printed_by(options_print_help);

    for (char *line = strtok(help, "\n"); line != NULL; line = strtok(NULL, "\n"))
        cr_assert_leq(strlen(line), 100, "%s", line);
    free(help);
}

Test(options_help, the_version_is_printed_with_the_name)
{
    char *version = printed_by(options_print_version);

    cr_assert_eq(strncmp(version, "shardmq ", 8), 0);
    cr_assert_eq(version[strlen(version) - 1], '\n');
    free(version);
}

/* docs/options.md beside this file's own tree. */
static const char *documentation_path(void)
{
    static char path[4096];
    const char *own = strstr(__FILE__, "tests/unit/core/options/");

    cr_assert_not_null(own);
    (void)snprintf(path, sizeof(path), "%.*sdocs/options.md", (int)(own - __FILE__), __FILE__);
    return path;
}

/* SHARDMQ_UPDATE_DOCS=1 writes the file instead of comparing. */
Test(options_help, the_documentation_says_what_the_table_says)
{
    const char *path = documentation_path();
    char       *made = printed_by(options_print_markdown);
    bool        updates = getenv("SHARDMQ_UPDATE_DOCS") != NULL;
    FILE       *file = fopen(path, updates ? "w" : "r");
    cr_assert_not_null(file, "%s cannot be opened", path);

    if (updates) {
        (void)fputs(made, file);
    } else {
        static char kept[1 << 20];
        kept[fread(kept, 1, sizeof(kept) - 1, file)] = '\0';
        cr_assert_str_eq(kept, made,
                         "%s is not what the table makes: run with SHARDMQ_UPDATE_DOCS=1", path);
    }
    (void)fclose(file);
    free(made);
}

Test(options_help, the_example_in_the_documentation_is_a_good_file)
{
    static struct options       options;
    static struct options_error error;
    char                       *made = printed_by(options_print_markdown);
    const char                 *fence = strstr(made, "```yaml\n");
    cr_assert_not_null(fence);
    const char *begin = fence + strlen("```yaml\n");
    const char *end = strstr(begin, "```");
    cr_assert_not_null(end);

    options_defaults(&options);
    int status = options_load_text(&options, "example", begin, (size_t)(end - begin), &error);

    cr_assert_eq(status, 0, "%s", error.text);
    cr_assert_eq(options.listener_count, 2);
    free(made);
}
