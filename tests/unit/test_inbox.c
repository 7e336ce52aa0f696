/* SPDX-License-Identifier: MIT */
/*
 * test_inbox.c - the receiver's directory: nothing is written or read through a symbolic link.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/inbox.h"

struct place {
    char path[64]; /* holds inbox/ and outside/ */
    int top_fd, inbox_fd;
};

static int set_up(void **state)
{
    struct place *place = calloc(1, sizeof(*place));
    (void)snprintf(place->path, sizeof(place->path), "/tmp/weir-test-inbox.XXXXXX");
    if (mkdtemp(place->path) == NULL) {
        return -1;
    }
    place->top_fd = open(place->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (mkdirat(place->top_fd, "inbox", 0700) != 0 ||
        mkdirat(place->top_fd, "outside", 0700) != 0) {
        return -1;
    }
    place->inbox_fd = openat(place->top_fd, "inbox", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *state = place;
    return place->inbox_fd < 0;
}

static int tear_down(void **state)
{
    static const char *const left[] = {"inbox/link.part", "inbox/link",      "inbox/file",
                                       "inbox/dirlink",   "inbox/fifo.part", "inbox/file.part",
                                       "outside/secret",  "outside/x.part"};
    struct place *place = *state;
    for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
        (void)unlinkat(place->top_fd, left[i], 0);
    }
    (void)unlinkat(place->top_fd, "inbox/dir/sub", AT_REMOVEDIR);
    (void)unlinkat(place->top_fd, "inbox/dir", AT_REMOVEDIR);
    (void)unlinkat(place->top_fd, "inbox", AT_REMOVEDIR);
    (void)unlinkat(place->top_fd, "outside", AT_REMOVEDIR);
    close(place->inbox_fd);
    close(place->top_fd);
    int result = rmdir(place->path);
    free(place);
    return result;
}

static void symlinks_are_not_followed(void **state)
{
    const struct place *place = *state;
    const struct cli_entry entry = {.mode = 0600};
    struct stat stat;
    int secret = openat(place->top_fd, "outside/secret", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(secret >= 0);
    assert_int_equal(write(secret, "secret", 6), 6);
    close(secret);
    assert_int_equal(symlinkat("../outside/secret", place->inbox_fd, "link"), 0);
    assert_int_equal(symlinkat("../outside/secret", place->inbox_fd, "link.part"), 0);
    assert_int_equal(symlinkat("../outside", place->inbox_fd, "dirlink"), 0);

    assert_int_equal(cli_inbox_open(place->inbox_fd, "link"), -ELOOP);
    assert_int_equal(cli_inbox_open_part(place->inbox_fd, "link"), -ELOOP);
    assert_int_equal(cli_inbox_stat(place->inbox_fd, "link", false, &stat), -ENOENT);
    assert_true(cli_inbox_open_part(place->inbox_fd, "dirlink/x") < 0);
    assert_true(cli_inbox_open(place->inbox_fd, "dirlink/secret") < 0);
    assert_true(cli_inbox_stat(place->inbox_fd, "dirlink/secret", false, &stat) < 0);
    assert_true(cli_inbox_make_directory(place->inbox_fd, "dirlink") < 0);
    assert_true(cli_inbox_make_directory(place->inbox_fd, "dirlink/sub") < 0);
    assert_true(cli_inbox_touch(place->inbox_fd, "link", &entry) < 0);
    assert_true(cli_inbox_finish_directory(place->inbox_fd, "dirlink", &entry) < 0);
    assert_int_equal(fstatat(place->top_fd, "outside/secret", &stat, 0), 0);
    assert_int_equal(stat.st_size, 6);
    assert_int_equal(fstatat(place->top_fd, "outside/x.part", &stat, 0), -1);
}

static void parts_are_locked_and_committed(void **state)
{
    const struct place *place = *state;
    const struct cli_entry entry = {.mode = 0640, .mtime = 1000000000, .mtime_ns = 5};
    struct stat stat;
    int fd = cli_inbox_open_part(place->inbox_fd, "file");
    assert_true(fd >= 0);
    assert_int_equal(cli_inbox_open_part(place->inbox_fd, "file"), -EWOULDBLOCK);
    assert_int_equal(write(fd, "data", 4), 4);
    assert_int_equal(cli_inbox_commit(place->inbox_fd, "file", fd, &entry), 0);
    close(fd);
    assert_int_equal(cli_inbox_stat(place->inbox_fd, "file", true, &stat), -ENOENT);
    assert_int_equal(cli_inbox_stat(place->inbox_fd, "file", false, &stat), 0);
    assert_int_equal(stat.st_mode & 07777, 0640);
    assert_int_equal(stat.st_mtim.tv_sec, 1000000000);
    assert_int_equal(stat.st_mtim.tv_nsec, 5);
}

static void directories_are_made_and_kept(void **state)
{
    const struct place *place = *state;
    const struct cli_entry entry = {.mode = 0750, .mtime = 1000000001};
    struct stat stat;
    assert_int_equal(cli_inbox_make_directory(place->inbox_fd, "dir"), 0);
    assert_int_equal(cli_inbox_make_directory(place->inbox_fd, "dir/sub"), 0);
    assert_int_equal(cli_inbox_make_directory(place->inbox_fd, "dir"), 0);
    assert_int_equal(cli_inbox_finish_directory(place->inbox_fd, "dir", &entry), 0);
    assert_int_equal(fstatat(place->inbox_fd, "dir", &stat, 0), 0);
    assert_int_equal(stat.st_mode & 07777, 0750);
    assert_int_equal(stat.st_mtim.tv_sec, 1000000001);
    assert_int_equal(cli_inbox_make_directory(place->inbox_fd, "none/sub"), -ENOENT);
    int fd = cli_inbox_open_part(place->inbox_fd, "file");
    assert_true(fd >= 0);
    assert_int_equal(cli_inbox_commit(place->inbox_fd, "file", fd, &entry), 0);
    close(fd);
    assert_int_equal(cli_inbox_make_directory(place->inbox_fd, "file"), -ENOTDIR);
}

static void pipes_are_refused_without_waiting(void **state)
{
    const struct place *place = *state;
    assert_int_equal(mkfifoat(place->inbox_fd, "fifo.part", 0600), 0);
    assert_true(cli_inbox_open_part(place->inbox_fd, "fifo") < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(symlinks_are_not_followed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(parts_are_locked_and_committed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(directories_are_made_and_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(pipes_are_refused_without_waiting, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
