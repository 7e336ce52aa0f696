/* SPDX-License-Identifier: MIT */
/*
 * steer.c - loads the steering program, gives it the sockets, and changes its table.
 *
 * Without libbpf at build time all that is left is the line that says so.
 */
#include "weir/steer.h"

#include <stdio.h>
#include <stdlib.h>

#ifdef WEIR_HAS_BPF

#include <bpf/bpf.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "rudp/id.h"
#include "run/steer_program.h"

struct weir_steer {
    struct weir_steer_program program;
    int program_fd;
    int socket_fd; /* the first driver's: what is attached to one counts for the group */
    bool is_attached;
    uint32_t count;
};

static enum weir_status fail(const char *what, char problem[WEIR_STEER_PROBLEM_BYTES])
{
    (void)snprintf(problem, WEIR_STEER_PROBLEM_BYTES,
                   "no steering by eBPF (%s: %m), the kernel spreads packets by their addresses",
                   what);
    return WEIR_ERR_OS;
}

static enum weir_status make_maps(struct weir_steer *steer, struct weir_driver *const *drivers,
                                  char problem[WEIR_STEER_PROBLEM_BYTES])
{
    struct weir_steer_program *program = &steer->program;
    program->table_fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "weir_shards", sizeof(uint32_t),
                                       sizeof(uint32_t), program->shards, NULL);
    if (program->table_fd < 0) {
        return fail("table", problem);
    }
    program->sockets_fd = bpf_map_create(BPF_MAP_TYPE_REUSEPORT_SOCKARRAY, "weir_queues",
                                         sizeof(uint32_t), sizeof(uint64_t), steer->count, NULL);
    if (program->sockets_fd < 0) {
        return fail("sockets", problem);
    }
    for (uint32_t i = 0; i < steer->count; i++) {
        uint64_t fd = (uint64_t)drivers[i]->ops->fd(drivers[i]);
        if (bpf_map_update_elem(program->sockets_fd, &i, &fd, BPF_ANY) != 0) {
            return fail("socket", problem);
        }
    }
    return WEIR_OK;
}

static enum weir_status attach(struct weir_steer *steer, char problem[WEIR_STEER_PROBLEM_BYTES])
{
    steer->program_fd = bpf_prog_load(BPF_PROG_TYPE_SK_REUSEPORT, "weir_steer", "Dual MIT/GPL",
                                      steer->program.instructions, steer->program.count, NULL);
    if (steer->program_fd < 0) {
        return fail("program", problem);
    }
    if (setsockopt(steer->socket_fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, &steer->program_fd,
                   sizeof(steer->program_fd)) != 0) {
        return fail("attach", problem);
    }
    steer->is_attached = true;
    return WEIR_OK;
}

enum weir_status weir_steer_open(struct weir_driver *const *drivers, uint32_t count,
                                 const struct weir_route *route, enum weir_steer_by by,
                                 struct weir_steer **steer, char problem[WEIR_STEER_PROBLEM_BYTES])
{
    problem[0] = 0;
    if (count == 0 || route->shards == 0 || route->shards > INT32_MAX) {
        return WEIR_ERR_INVALID;
    }
    struct weir_steer *made = calloc(1, sizeof(*made));
    if (made == NULL) {
        return WEIR_ERR_MEMORY;
    }
    made->program.key = (struct weir_hash_key){route->key[0], route->key[1]};
    made->program.id_key = weir_rudp_id_key(route);
    made->program.shards = route->shards;
    made->program.table_fd = made->program.sockets_fd = made->program_fd = -1;
    made->count = count;
    made->socket_fd = drivers[0]->ops->fd(drivers[0]);
    enum weir_status status = make_maps(made, drivers, problem);
    if (status == WEIR_OK) {
        weir_steer_write_program(&made->program, by);
        status = attach(made, problem);
    }
    if (status != WEIR_OK) {
        weir_steer_close(made);
        return status;
    }
    *steer = made;
    return WEIR_OK;
}

void weir_steer_set(void *steer, uint32_t shard, uint32_t queue)
{
    const struct weir_steer *of = (const struct weir_steer *)steer;
    WEIR_ASSERT(shard < of->program.shards && queue < of->count);
    int result = bpf_map_update_elem(of->program.table_fd, &shard, &queue, BPF_ANY);
    WEIR_ASSERT(result == 0); /* an array is there as a whole */
}

static void close_fd(int fd)
{
    if (fd >= 0) {
        (void)close(fd);
    }
}

void weir_steer_close(struct weir_steer *steer)
{
    if (steer == NULL) {
        return;
    }
    if (steer->is_attached) {
        int unused = 0;
        (void)setsockopt(steer->socket_fd, SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, &unused,
                         sizeof(unused));
    }
    close_fd(steer->program_fd);
    close_fd(steer->program.sockets_fd);
    close_fd(steer->program.table_fd);
    free(steer);
}

#else

enum weir_status weir_steer_open(struct weir_driver *const *drivers, uint32_t count,
                                 const struct weir_route *route, enum weir_steer_by by,
                                 struct weir_steer **steer, char problem[WEIR_STEER_PROBLEM_BYTES])
{
    (void)drivers;
    (void)by;
    *steer = NULL;
    (void)snprintf(
        problem, WEIR_STEER_PROBLEM_BYTES,
        "no steering by eBPF (built without libbpf), the kernel spreads packets by their "
        "addresses");
    return count == 0 || route->shards == 0 ? WEIR_ERR_INVALID : WEIR_ERR_OS;
}

void weir_steer_set(void *steer, uint32_t shard, uint32_t queue)
{
    (void)steer;
    (void)shard;
    (void)queue;
}

void weir_steer_close(struct weir_steer *steer)
{
    (void)steer;
}

#endif
