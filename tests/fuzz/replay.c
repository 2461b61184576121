/* SPDX-License-Identifier: GPL-3.0-or-later */

/*
 * Stands in for libFuzzer where there is none: feeds every file of the named folders to the fuzz
 * target once. Each input is copied to an allocation of its exact size, so that ASan sees a read
 * of one byte too many. A missing or empty corpus is an error: it would test nothing.
 */

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PATH_BYTES_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
    struct stat status;
    if (stat(path, &status) < 0) {
        perror(path);
        return -1;
    }
    if (!S_ISREG(status.st_mode))
        return 0;

    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return -1;
    }
    size_t   size = (size_t)status.st_size;
    uint8_t *data = malloc(size > 0 ? size : 1);
    if (data == NULL || fread(data, 1, size, file) != size) {
        fprintf(stderr, "%s: cannot be read\n", path);
        free(data);
        (void)fclose(file);
        return -1;
    }
    (void)fclose(file);

    (void)LLVMFuzzerTestOneInput(data, size);
    free(data);
    return 1;
}

/* Returns how many files it has fed, or -1. */
static int replay_folder(const char *folder)
{
    DIR *directory = opendir(folder);
    if (directory == NULL) {
        perror(folder);
        return -1;
    }

    int                  fed = 0;
    const struct dirent *entry;
    while (fed >= 0 && (entry = readdir(directory)) != NULL) {
        char path[PATH_BYTES_MAX];
        int  length = snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        int  status = length < (int)sizeof path ? replay_file(path) : -1;
        fed = status < 0 ? -1 : fed + status;
    }
    (void)closedir(directory);
    return fed;
}

int main(int argument_count, char **arguments)
{
    int fed = 0;
    for (int index = 1; index < argument_count; index++) {
        int status = replay_folder(arguments[index]);
        if (status < 0)
            return EXIT_FAILURE;
        fed += status;
    }
    printf("%d inputs\n", fed);
    return fed > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
