/* SPDX-License-Identifier: MIT */
/*
 * control_socket.c - control sockets: their places, making, finding and asking.
 */
#include "cli/control_socket.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/cli.h"

enum {
    BACKLOG = 16,
    PLACES = 3,
    ANSWER_BYTES_MAX = 4 << 20
};

/* --- places ----------------------------------------------------------------------------------- */

/* The first that can be made is where a weir makes its socket. The others are looked at when there
 * is none: what sudo and cron start has no XDG_RUNTIME_DIR. Returns how many. */
static size_t list_places(char places[PLACES][CLI_SOCKET_PATH_BYTES])
{
    size_t count = 0;
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    if (runtime != NULL && runtime[0] == '/' && strlen(runtime) < CLI_SOCKET_PATH_BYTES - 32) {
        (void)snprintf(places[count++], CLI_SOCKET_PATH_BYTES, "%s/weir", runtime);
    }
    if (geteuid() == 0) {
        (void)snprintf(places[count++], CLI_SOCKET_PATH_BYTES, "/run/weir");
    }
    (void)snprintf(places[count++], CLI_SOCKET_PATH_BYTES, "/tmp/weir-%u", (unsigned)geteuid());
    return count;
}

/* A directory, no link to one; its owner is this user and nobody else may look into it. */
static bool is_place_ours(const char *place)
{
    struct stat info;
    return lstat(place, &info) == 0 && S_ISDIR(info.st_mode) && info.st_uid == geteuid() &&
           (info.st_mode & 077) == 0;
}

static bool make_place(const char *place, char problem[CLI_PROBLEM_BYTES])
{
    if (mkdir(place, 0700) != 0 && errno != EEXIST) {
        (void)snprintf(problem, CLI_PROBLEM_BYTES, "cannot make the directory %.107s: %s", place,
                       cli_text_errno(errno));
        return false;
    }
    if (!is_place_ours(place)) {
        (void)snprintf(
            problem, CLI_PROBLEM_BYTES,
            "%.107s is not a directory that is ours alone (mode 0700); remove it, or name "
            "a path",
            place);
        return false;
    }
    return true;
}

static bool default_path(char path[CLI_SOCKET_PATH_BYTES], char problem[CLI_PROBLEM_BYTES])
{
    char places[PLACES][CLI_SOCKET_PATH_BYTES];
    size_t count = list_places(places);
    for (size_t i = 0; i < count; i++) {
        if (make_place(places[i], problem)) {
            int length = snprintf(path, CLI_SOCKET_PATH_BYTES, "%s/%d.sock", places[i], getpid());
            return length > 0 && length < CLI_SOCKET_PATH_BYTES;
        }
    }
    return false;
}

/* --- making ----------------------------------------------------------------------------------- */

static bool make_address(const char *path, struct sockaddr_un *address)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof(address->sun_path)) {
        return false;
    }
    memcpy(address->sun_path, path, length + 1);
    return true;
}

/* A connection, blocking; -1: errno. A full backlog counts as an answer: somebody listens. */
static int connect_to(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -1;
    }
    if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) != 0) {
        int error = errno;
        (void)close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

/* 0: somebody listens; else errno. */
static int try_connection(const struct sockaddr_un *address)
{
    int fd = connect_to(address);
    if (fd >= 0) {
        (void)close(fd);
    }
    return fd >= 0 || errno == EAGAIN ? 0 : errno;
}

/* What a weir left behind that could not remove it: nobody has it open. A socket of another kind,
 * as a system's log has one, is somebody's, too. */
static bool remove_dead(const struct sockaddr_un *address, char problem[CLI_PROBLEM_BYTES])
{
    struct stat info;
    const char *path = address->sun_path;
    if (lstat(path, &info) != 0) {
        return true;
    }
    if (!S_ISSOCK(info.st_mode)) {
        (void)snprintf(problem, CLI_PROBLEM_BYTES,
                       "%s is there and is no socket; name another path", path);
        return false;
    }
    int error = try_connection(address);
    if (error == ECONNREFUSED) {
        (void)unlink(path);
        return true;
    }
    if (error == 0) {
        (void)snprintf(problem, CLI_PROBLEM_BYTES,
                       "somebody listens at %s already; name another path", path);
    } else {
        (void)snprintf(problem, CLI_PROBLEM_BYTES, "%s: %s; name another path", path,
                       error == EPROTOTYPE ? "another program's socket" : cli_text_errno(error));
    }
    return false;
}

static bool bind_socket(struct cli_listener *listener, const struct sockaddr_un *address)
{
    struct stat info;
    /* The mode of a socket is what bind leaves of 0777: nobody else gets in, not for a moment. */
    mode_t mask = umask(0177);
    bool is_bound = bind(listener->fd, (const struct sockaddr *)address, sizeof(*address)) == 0;
    int error = errno;
    (void)umask(mask);
    errno = error;
    if (!is_bound || stat(address->sun_path, &info) != 0) {
        return false;
    }
    listener->device = info.st_dev;
    listener->inode = info.st_ino;
    listener->made_at = info.st_mtim;
    return listen(listener->fd, BACKLOG) == 0;
}

bool cli_listener_open(struct cli_listener *listener, const char *path,
                       char problem[CLI_PROBLEM_BYTES])
{
    struct sockaddr_un address;
    *listener = (struct cli_listener){.fd = -1};
    if (path == NULL) {
        if (!default_path(listener->path, problem)) {
            return false;
        }
        path = listener->path;
    }
    if (!make_address(path, &address)) {
        (void)snprintf(problem, CLI_PROBLEM_BYTES,
                       "the path of a socket has 1 to %d bytes; name a shorter one",
                       CLI_SOCKET_PATH_BYTES - 1);
        return false;
    }
    if (!remove_dead(&address, problem)) {
        return false;
    }
    memcpy(listener->path, address.sun_path, sizeof(listener->path));
    listener->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener->fd < 0 || !bind_socket(listener, &address)) {
        (void)snprintf(problem, CLI_PROBLEM_BYTES, "%s: %s", listener->path, cli_text_errno(errno));
        if (listener->fd >= 0) {
            (void)close(listener->fd);
        }
        return false;
    }
    return true;
}

void cli_listener_remove(const struct cli_listener *listener)
{
    struct stat info;
    if (lstat(listener->path, &info) == 0 && info.st_dev == listener->device &&
        info.st_ino == listener->inode &&
        memcmp(&info.st_mtim, &listener->made_at, sizeof(info.st_mtim)) == 0) {
        (void)unlink(listener->path);
    }
}

bool cli_is_peer_allowed(int fd)
{
    struct ucred peer;
    socklen_t length = sizeof(peer);
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 &&
           (peer.uid == geteuid() || peer.uid == 0);
}

/* --- TCP -------------------------------------------------------------------------------------- */

union address {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
};

static socklen_t to_system(const struct weir_addr *addr, union address *out)
{
    memset(out, 0, sizeof(*out));
    if (addr->family == WEIR_ADDR_IP4) {
        out->in.sin_family = AF_INET;
        out->in.sin_port = htons(addr->port);
        memcpy(&out->in.sin_addr, addr->ip, sizeof(out->in.sin_addr));
        return sizeof(out->in);
    }
    out->in6.sin6_family = AF_INET6;
    out->in6.sin6_port = htons(addr->port);
    out->in6.sin6_scope_id = addr->scope;
    memcpy(&out->in6.sin6_addr, addr->ip, sizeof(out->in6.sin6_addr));
    return sizeof(out->in6);
}

static bool learn_port(int fd, struct weir_addr *addr)
{
    union address bound = {0};
    socklen_t length = sizeof(bound);
    if (getsockname(fd, &bound.any, &length) != 0) {
        return false;
    }
    addr->port = ntohs(addr->family == WEIR_ADDR_IP4 ? bound.in.sin_port : bound.in6.sin6_port);
    return true;
}

int cli_listen_tcp(struct weir_addr *addr)
{
    union address address;
    const int on = 1;
    const int off = 0;
    socklen_t length = to_system(addr, &address);
    int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -1;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (addr->family == WEIR_ADDR_IP6) {
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    }
    if (bind(fd, &address.any, length) != 0 || listen(fd, BACKLOG) != 0 || !learn_port(fd, addr)) {
        int error = errno;
        (void)close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

/* --- finding ---------------------------------------------------------------------------------- */

static size_t find_in(const char *place, char paths[][CLI_SOCKET_PATH_BYTES], size_t room)
{
    size_t count = 0;
    DIR *directory = is_place_ours(place) ? opendir(place) : NULL;
    const struct dirent *entry = directory == NULL ? NULL : readdir(directory);
    for (; entry != NULL && count < room; entry = readdir(directory)) {
        struct sockaddr_un address;
        const char *dot = strrchr(entry->d_name, '.');
        int length = snprintf(paths[count], CLI_SOCKET_PATH_BYTES, "%s/%s", place, entry->d_name);
        if (dot != NULL && strcmp(dot, ".sock") == 0 && length < CLI_SOCKET_PATH_BYTES &&
            make_address(paths[count], &address) && try_connection(&address) == 0) {
            count++;
        }
    }
    if (directory != NULL) {
        (void)closedir(directory);
    }
    return count;
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(a, b);
}

size_t cli_sockets_find(char paths[CLI_SOCKETS_MAX][CLI_SOCKET_PATH_BYTES])
{
    char places[PLACES][CLI_SOCKET_PATH_BYTES];
    size_t place_count = list_places(places);
    size_t count = 0;
    for (size_t i = 0; i < place_count && count == 0; i++) {
        count = find_in(places[i], paths, CLI_SOCKETS_MAX);
    }
    qsort(paths, count, CLI_SOCKET_PATH_BYTES, compare_paths);
    return count;
}

bool cli_socket_choose(const char *path, char chosen[CLI_SOCKET_PATH_BYTES])
{
    static char found[CLI_SOCKETS_MAX][CLI_SOCKET_PATH_BYTES];
    if (path != NULL) {
        struct sockaddr_un address;
        bool is_good = make_address(path, &address);
        if (is_good) {
            memcpy(chosen, address.sun_path, CLI_SOCKET_PATH_BYTES);
        } else {
            (void)cli_fail(CLI_USAGE, "'%s' is not the path of a socket: 1 to %d bytes", path,
                           CLI_SOCKET_PATH_BYTES - 1);
        }
        return is_good;
    }
    size_t count = cli_sockets_find(found);
    if (count == 1) {
        memcpy(chosen, found[0], CLI_SOCKET_PATH_BYTES);
        return true;
    }
    if (count == 0) {
        (void)cli_fail(CLI_FAILED, "no weir of this user runs with --workers; start one, or name "
                                   "its socket");
        return false;
    }
    (void)cli_fail(CLI_FAILED, "%zu of them run; name the socket of one:", count);
    for (size_t i = 0; i < count; i++) {
        (void)fprintf(stderr, "  %s\n", found[i]);
    }
    return false;
}

/* --- asking ----------------------------------------------------------------------------------- */

/* False when until has come, or a signal to end. */
static bool wait_for(int fd, short events, weir_nsec until)
{
    struct pollfd poll_fd = {.fd = fd, .events = events};
    int ready = 0;
    do {
        weir_nsec now = cli_clock();
        int ms = now >= until ? 0 : (int)((until - now + WEIR_MSEC - 1) / WEIR_MSEC);
        ready = poll(&poll_fd, 1, ms);
    } while (ready < 0 && errno == EINTR && !cli_is_stopping);
    return ready > 0;
}

static bool send_request(int fd, const char *request, weir_nsec until)
{
    char line[128];
    int length = snprintf(line, sizeof(line), "%s\n", request);
    for (int sent = 0; sent < length;) {
        ssize_t more = wait_for(fd, POLLOUT, until)
                           ? send(fd, line + sent, (size_t)(length - sent), MSG_NOSIGNAL)
                           : -1;
        if (more < 0) {
            return false;
        }
        sent += (int)more;
    }
    return true;
}

/* The line without its end, from malloc; NULL: it did not come whole. */
static char *read_answer(int fd, weir_nsec until)
{
    char *answer = NULL;
    size_t used = 0;
    size_t room = 0;
    while (used < ANSWER_BYTES_MAX && wait_for(fd, POLLIN, until)) {
        if (room - used < 4096) {
            room += 65536;
            char *larger = realloc(answer, room);
            if (larger == NULL) {
                break;
            }
            answer = larger;
        }
        ssize_t got = recv(fd, answer + used, room - used, 0);
        if (got <= 0) {
            break;
        }
        char *end = memchr(answer + used, '\n', (size_t)got);
        if (end != NULL) {
            *end = 0;
            return answer;
        }
        used += (size_t)got;
    }
    free(answer);
    return NULL;
}

cJSON *cli_socket_ask(const char *path, const char *request, weir_nsec timeout,
                      char problem[CLI_PROBLEM_BYTES])
{
    struct sockaddr_un address;
    weir_nsec until = cli_clock() + timeout;
    int fd = -1;
    errno = ENAMETOOLONG;
    if (make_address(path, &address)) {
        fd = connect_to(&address);
    }
    if (fd < 0) {
        (void)snprintf(problem, CLI_PROBLEM_BYTES, "%s: %s", path,
                       errno == ENOENT         ? "there is no such socket"
                       : errno == ECONNREFUSED ? "nobody listens there any more"
                       : errno == EAGAIN       ? "too many others are waiting there"
                                               : cli_text_errno(errno));
        return NULL;
    }
    char *answer = NULL;
    if (cli_is_peer_allowed(fd) && send_request(fd, request, until)) {
        answer = read_answer(fd, until);
    }
    (void)close(fd);
    cJSON *json = answer == NULL ? NULL : cJSON_Parse(answer);
    if (json == NULL) {
        (void)snprintf(problem, CLI_PROBLEM_BYTES, "%s: %s", path,
                       answer == NULL ? "no answer came" : "its answer is no JSON: no weir");
        errno = answer == NULL ? ETIMEDOUT : EPROTO;
    }
    free(answer);
    return json;
}
