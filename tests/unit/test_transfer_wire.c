/* SPDX-License-Identifier: MIT */
/*
 * test_transfer_wire.c - the messages of the file transfer, hostile ones above all, and manifests.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/manifest.h"
#include "cli/transfer_wire.h"

static uint8_t bytes[CLI_TRANSFER_SMALL_BYTES_MAX];

/* Encodes, decodes and checks that every shorter and one longer message is refused. */
static struct cli_transfer_message pass(const struct cli_transfer_message *message,
                                        bool is_fixed_length)
{
    struct cli_transfer_message back;
    size_t length = cli_transfer_encode(message, bytes);
    for (size_t cut = 0; cut < length && is_fixed_length; cut++) {
        assert_int_equal(cli_transfer_decode(weir_span_of(bytes, cut), &back), WEIR_ERR_MALFORMED);
    }
    if (is_fixed_length) {
        assert_int_equal(cli_transfer_decode(weir_span_of(bytes, length + 1), &back),
                         WEIR_ERR_MALFORMED);
    }
    assert_int_equal(cli_transfer_decode(weir_span_of(bytes, length), &back), WEIR_OK);
    assert_int_equal(back.type, message->type);
    return back;
}

static void fixed_messages_pass(void **state)
{
    struct cli_transfer_message message = {
        .type = CLI_TRANSFER_OFFER,
        .offer = {.index = 0x01020304, .length = 0x0102030405060708, .hash = {1, 2, 3}}};
    struct cli_transfer_message back = pass(&message, true);
    (void)state;
    assert_int_equal(back.offer.index, 0x01020304);
    assert_int_equal(back.offer.length, 0x0102030405060708);
    assert_memory_equal(back.offer.hash, message.offer.hash, 32);
    message = (struct cli_transfer_message){.type = CLI_TRANSFER_FILE,
                                            .file = {.index = 7, .offset = UINT64_MAX}};
    back = pass(&message, true);
    assert_int_equal(back.file.index, 7);
    assert_int_equal(back.file.offset, UINT64_MAX);
    message = (struct cli_transfer_message){.type = CLI_TRANSFER_FILE_END,
                                            .file_end = {.index = 9, .hash = {[31] = 5}}};
    back = pass(&message, true);
    assert_int_equal(back.file_end.index, 9);
    assert_memory_equal(back.file_end.hash, message.file_end.hash, 32);
    message = (struct cli_transfer_message){.type = CLI_TRANSFER_DONE, .done = {.files = 3}};
    assert_int_equal(pass(&message, true).done.files, 3);
    for (size_t i = 0; i < 3; i++) {
        static const enum cli_transfer_type empty[] = {CLI_TRANSFER_READY, CLI_TRANSFER_FINISH,
                                                       CLI_TRANSFER_COMPLETE};

        message = (struct cli_transfer_message){.type = empty[i]};
        (void)pass(&message, true);
    }
}

static void hello_and_failed_pass(void **state)
{
    struct cli_transfer_message message = {.type = CLI_TRANSFER_HELLO,
                                           .hello = {.version_min = 1, .version_max = 3}};
    struct cli_transfer_message back = pass(&message, false);
    char text[16];
    (void)state;
    assert_int_equal(back.hello.version_min, 1);
    assert_int_equal(back.hello.version_max, 3);
    /* A later version's longer HELLO is understood, so that the versions can be named. */
    size_t length = cli_transfer_encode(&message, bytes);
    assert_int_equal(cli_transfer_decode(weir_span_of(bytes, length + 20), &back), WEIR_OK);
    bytes[1] ^= 1; /* the magic */
    assert_int_equal(cli_transfer_decode(weir_span_of(bytes, length), &back), WEIR_ERR_MALFORMED);
    message.hello.version_max = 0; /* below the least */
    length = cli_transfer_encode(&message, bytes);
    assert_int_equal(cli_transfer_decode(weir_span_of(bytes, length), &back), WEIR_ERR_MALFORMED);

    message = (struct cli_transfer_message){
        .type = CLI_TRANSFER_FAILED,
        .failed = {.code = 200, .index = 1, .text = weir_span_of("a\x1b[2Jb\n", 7)}};
    back = pass(&message, false);
    assert_int_equal(back.failed.code, 200);
    assert_string_equal(cli_transfer_printable(back.failed.text, text, sizeof(text)), "a?[2Jb?");
    assert_string_equal(cli_transfer_printable(back.failed.text, text, 3), "a?");
}

static void unknown_types_are_refused(void **state)
{
    struct cli_transfer_message back;
    (void)state;
    for (unsigned type = 0; type < 256; type++) {
        uint8_t message[1] = {(uint8_t)type};
        bool is_empty_type = type == CLI_TRANSFER_READY || type == CLI_TRANSFER_FINISH ||
                             type == CLI_TRANSFER_COMPLETE;
        assert_int_equal(cli_transfer_decode(weir_span_of(message, 1), &back),
                         is_empty_type ? WEIR_OK : WEIR_ERR_MALFORMED);
    }
}

static void data_is_bounded(void **state)
{
    size_t max = CLI_TRANSFER_DATA_HEADER_BYTES + CLI_TRANSFER_DATA_BYTES_MAX;
    uint8_t *long_message = calloc(1, max + 1);
    struct cli_transfer_message back;
    (void)state;
    assert_non_null(long_message);
    long_message[0] = CLI_TRANSFER_DATA;
    assert_int_equal(cli_transfer_decode(weir_span_of(long_message, max + 1), &back),
                     WEIR_ERR_MALFORMED);
    assert_int_equal(cli_transfer_decode(weir_span_of(long_message, max), &back), WEIR_OK);
    assert_int_equal(back.data.bytes.length, CLI_TRANSFER_DATA_BYTES_MAX);
    assert_int_equal(
        cli_transfer_decode(weir_span_of(long_message, CLI_TRANSFER_DATA_HEADER_BYTES), &back),
        WEIR_ERR_MALFORMED);
    free(long_message);
}

static bool is_safe(const char *path)
{
    return cli_transfer_is_safe_path(weir_span_of(path, strlen(path)));
}

static void paths_that_escape_are_refused(void **state)
{
    static const char *const bad[] = {
        "",      "/",   "/etc/passwd", ".",  "..",  "../x",   "a/../b",       "a/..",
        "a/./b", "./a", "a//b",        "a/", "//a", "../../", "a/b/../../..",
    };
    static const char *const good[] = {"a", "a/b", "...", "..a", "a..", ".a/b.", "a b", "-", "~"};
    char path[CLI_TRANSFER_PATH_BYTES_MAX + 2];
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(is_safe(bad[i]));
    }
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(is_safe(good[i]));
    }
    assert_false(cli_transfer_is_safe_path(weir_span_of("a\0b", 3)));
    memset(path, 'a', sizeof(path));
    assert_true(cli_transfer_is_safe_path(weir_span_of(path, 250)));
    assert_false(cli_transfer_is_safe_path(weir_span_of(path, 251)));
    for (size_t i = 1; i < sizeof(path); i += 2) {
        path[i] = '/'; /* "a/a/a...": levels */
    }
    assert_true(cli_transfer_is_safe_path(weir_span_of(path, 2 * CLI_TRANSFER_DEPTH_MAX - 1)));
    assert_false(cli_transfer_is_safe_path(weir_span_of(path, 2 * CLI_TRANSFER_DEPTH_MAX + 1)));
    memset(path, 'a', sizeof(path));
    for (size_t i = 200; i < sizeof(path); i += 201) {
        path[i] = '/';
    }
    assert_true(cli_transfer_is_safe_path(weir_span_of(path, CLI_TRANSFER_PATH_BYTES_MAX)));
    assert_false(cli_transfer_is_safe_path(weir_span_of(path, CLI_TRANSFER_PATH_BYTES_MAX + 1)));
}

static struct cli_transfer_entry entry_of(const char *path, enum cli_transfer_kind kind)
{
    return (struct cli_transfer_entry){.kind = kind,
                                       .mode = 0644,
                                       .mtime = -5,
                                       .mtime_ns = 999999999,
                                       .size = kind == CLI_TRANSFER_KIND_FILE ? 10 : 0,
                                       .path = weir_span_of(path, strlen(path))};
}

/* One entry, as bytes, with the byte at off replaced: does it still decode? */
static bool passes_with(struct cli_transfer_entry entry, size_t off, uint8_t byte)
{
    struct weir_span span;
    struct cli_transfer_entry back;
    size_t length = cli_transfer_encode_entry(&entry, bytes, sizeof(bytes));
    assert_true(length > off);
    bytes[off] = byte;
    span = weir_span_of(bytes, length);
    return cli_transfer_next_entry(&span, &back) == WEIR_OK;
}

static void entries_pass_and_are_checked(void **state)
{
    struct cli_transfer_entry entry = entry_of("dir/file", CLI_TRANSFER_KIND_FILE);
    struct cli_transfer_entry back;
    size_t length = cli_transfer_encode_entry(&entry, bytes, sizeof(bytes));
    struct weir_span span = weir_span_of(bytes, length);
    (void)state;
    assert_int_equal(cli_transfer_next_entry(&span, &back), WEIR_OK);
    assert_int_equal(back.mtime, -5);
    assert_int_equal(back.mtime_ns, 999999999);
    assert_int_equal(back.mode, 0644);
    assert_int_equal(back.size, 10);
    assert_int_equal(back.path.length, 8);
    assert_int_equal(cli_transfer_next_entry(&span, &back), WEIR_AGAIN);
    for (size_t cut = 1; cut < length; cut++) {
        span = weir_span_of(bytes, cut);
        assert_int_equal(cli_transfer_next_entry(&span, &back), WEIR_ERR_MALFORMED);
    }
    assert_int_equal(cli_transfer_encode_entry(&entry, bytes, length - 1), 0);
    assert_false(passes_with(entry, 0, 3)); /* kind */
    assert_false(passes_with(entry, 0, 0));
    assert_false(passes_with(entry, 1, 0x08));  /* set-user-id */
    assert_false(passes_with(entry, 11, 0xff)); /* a billion nanoseconds and more */
    assert_false(passes_with(entry, 15, 0x80)); /* a negative off_t */
    assert_false(passes_with(entry, 24, 9));    /* path longer than the message */
    assert_false(passes_with(entry, 24, 4));    /* "dir/" */
    assert_false(passes_with(entry, 0, CLI_TRANSFER_KIND_DIRECTORY)); /* with a size */
    assert_false(passes_with(entry_of("..", CLI_TRANSFER_KIND_FILE), 1, 0));
}

static enum weir_status check_list(const char *const *paths, const char **reason, uint32_t *bad)
{
    struct cli_manifest manifest = {0};
    for (; *paths != NULL; paths++) {
        bool is_directory = (*paths)[0] == '+';
        struct cli_transfer_entry entry =
            entry_of(*paths + is_directory,
                     is_directory ? CLI_TRANSFER_KIND_DIRECTORY : CLI_TRANSFER_KIND_FILE);
        assert_int_equal(cli_manifest_add(&manifest, &entry), WEIR_OK);
    }
    enum weir_status status = cli_manifest_check(&manifest, bad, reason);
    cli_manifest_free(&manifest);
    return status;
}

static void manifests_are_checked(void **state)
{
    const char *reason;
    uint32_t bad;
    (void)state;
    const char *good[] = {"a", "+d", "d/a", "+d/e", "d/e/a", "b.part", NULL};
    assert_int_equal(check_list(good, &reason, &bad), WEIR_OK);
    const char *twice[] = {"a", "+d", "d/a", "a", NULL};
    assert_int_equal(check_list(twice, &reason, &bad), WEIR_ERR_INVALID);
    assert_true(bad == 0 || bad == 3);
    const char *orphan[] = {"a", "d/a", NULL};
    assert_int_equal(check_list(orphan, &reason, &bad), WEIR_ERR_INVALID);
    assert_int_equal(bad, 1);
    const char *below_file[] = {"a", "a/b", NULL};
    assert_int_equal(check_list(below_file, &reason, &bad), WEIR_ERR_INVALID);
    const char *late_parent[] = {"d/a", "+d", NULL};
    assert_int_equal(check_list(late_parent, &reason, &bad), WEIR_ERR_INVALID);
    const char *part[] = {"a.part", "a", NULL};
    assert_int_equal(check_list(part, &reason, &bad), WEIR_ERR_INVALID);
    const char *none[] = {NULL};
    assert_int_equal(check_list(none, &reason, &bad), WEIR_OK);
}

static void manifests_are_bounded(void **state)
{
    struct cli_manifest manifest = {0};
    struct cli_transfer_entry entry = entry_of("x", CLI_TRANSFER_KIND_FILE);
    char name[251];
    (void)state;
    for (uint32_t i = 0; i < CLI_TRANSFER_ENTRIES_MAX; i++) {
        assert_int_equal(cli_manifest_add(&manifest, &entry), WEIR_OK);
    }
    assert_int_equal(cli_manifest_add(&manifest, &entry), WEIR_ERR_FULL);
    cli_manifest_free(&manifest);
    memset(name, 'n', 250);
    name[250] = 0;
    entry = entry_of(name, CLI_TRANSFER_KIND_FILE);
    uint32_t added = 0;
    while (cli_manifest_add(&manifest, &entry) == WEIR_OK) {
        added++;
    }
    assert_int_equal(added, CLI_TRANSFER_MANIFEST_BYTES_MAX / 251);
    cli_manifest_free(&manifest);
    entry.size = INT64_MAX;
    assert_int_equal(cli_manifest_add(&manifest, &entry), WEIR_OK);
    entry.size = 1;
    assert_int_equal(cli_manifest_add(&manifest, &entry), WEIR_ERR_FULL);
    cli_manifest_free(&manifest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixed_messages_pass),
        cmocka_unit_test(hello_and_failed_pass),
        cmocka_unit_test(unknown_types_are_refused),
        cmocka_unit_test(data_is_bounded),
        cmocka_unit_test(paths_that_escape_are_refused),
        cmocka_unit_test(entries_pass_and_are_checked),
        cmocka_unit_test(manifests_are_checked),
        cmocka_unit_test(manifests_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
