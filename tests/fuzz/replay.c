/* SPDX-License-Identifier: MIT */
/*
 * replay.c - runs a fuzz target without libFuzzer: its corpus, then fixed mutations of it.
 *
 * Role: every ordinary build and test run walks the fuzzed code, with any compiler. The mutations
 * come from one constant seed, so a failure repeats; "-v" names each input before it is run.
 *
 *     fuzz_x [-v] DIRECTORY|FILE ...
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"

enum {
    INPUT_BYTES_MAX = 1 << 20,
    MUTATIONS_PER_FILE = 64,
    RANDOM_INPUTS = 256,
    RANDOM_BYTES_MAX = 1500
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct replay {
    struct weir_prng prng;
    uint8_t bytes[INPUT_BYTES_MAX];
    uint8_t changed[INPUT_BYTES_MAX];
    unsigned files;
    unsigned runs;
    int is_verbose;
};

static _Noreturn void die(const char *what, const char *about)
{
    (void)fprintf(stderr, "replay: %s%s\n", what, about);
    _Exit(1);
}

/* A copy of exactly the right size on the heap: a sanitizer then sees the first byte past it. */
static void run_one(struct replay *replay, const uint8_t *data, size_t size, const char *what,
                    unsigned variant)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    if (copy == NULL) {
        die("no memory", "");
    }
    if (replay->is_verbose) {
        (void)fprintf(stderr, "%s, variant %u, %zu bytes\n", what, variant, size);
    }
    memcpy(copy, data, size);
    (void)LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    replay->runs++;
}

/* One to four of: a bit flipped, a byte replaced, the end cut off. Returns the new size. */
static size_t mutate(struct replay *replay, size_t size)
{
    memcpy(replay->changed, replay->bytes, size);
    uint64_t steps = 1 + weir_prng_below(&replay->prng, 4);
    for (uint64_t i = 0; i < steps && size > 0; i++) {
        size_t at = (size_t)weir_prng_below(&replay->prng, size);
        switch (weir_prng_below(&replay->prng, 4)) {
        case 0:
            size = at;
            break;
        case 1:
            replay->changed[at] = (uint8_t)weir_prng_below(&replay->prng, 256);
            break;
        default:
            replay->changed[at] ^= (uint8_t)(1U << weir_prng_below(&replay->prng, 8));
            break;
        }
    }
    return size;
}

static void run_file(struct replay *replay, const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        die("cannot read ", path);
    }
    size_t size = fread(replay->bytes, 1, sizeof(replay->bytes), file);
    (void)fclose(file);
    replay->files++;
    run_one(replay, replay->bytes, size, path, 0);
    for (unsigned i = 1; i <= MUTATIONS_PER_FILE; i++) {
        size_t changed = mutate(replay, size);
        run_one(replay, replay->changed, changed, path, i);
    }
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* In the order of names, so that the mutations are the same on every machine. */
static void run_path(struct replay *replay, const char *path)
{
    struct dirent **entries = NULL;
    int count = scandir(path, &entries, is_visible, alphasort);
    if (count < 0) {
        run_file(replay, path);
        return;
    }
    for (int i = 0; i < count; i++) {
        char name[4096];
        int length = snprintf(name, sizeof(name), "%s/%s", path, entries[i]->d_name);
        if (length > 0 && (size_t)length < sizeof(name)) {
            run_file(replay, name);
        }
        free(entries[i]);
    }
    free(entries);
}

static void run_random(struct replay *replay)
{
    for (unsigned i = 0; i < RANDOM_INPUTS; i++) {
        size_t size = (size_t)weir_prng_below(&replay->prng, RANDOM_BYTES_MAX + 1);
        for (size_t k = 0; k < size; k++) {
            replay->bytes[k] = (uint8_t)weir_prng_below(&replay->prng, 256);
        }
        run_one(replay, replay->bytes, size, "random", i);
    }
}

int main(int argc, char **argv)
{
    static struct replay replay;
    weir_prng_init(&replay.prng, 1);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-v") == 0) {
            replay.is_verbose = 1;
        } else {
            run_path(&replay, argv[i]);
        }
    }
    run_random(&replay);
    printf("%u inputs from %u files, no finding\n", replay.runs, replay.files);
    return replay.files > 0 ? 0 : 1;
}
