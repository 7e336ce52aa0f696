/* SPDX-License-Identifier: MIT */
/*
 * ring_map.c - memory for a byte ring whose bytes are mapped twice in a row.
 *
 * Role: the operating-system part of weir/ring.h (memfd, mmap).
 *
 *      | page with struct weir_ring | capacity bytes | the same pages again |
 */
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "weir/ring.h"

/* A pair of segments is handed to readv and writev as it is. */
_Static_assert(sizeof(struct weir_span) == sizeof(struct iovec) &&
                   offsetof(struct weir_span, data) == offsetof(struct iovec, iov_base) &&
                   offsetof(struct weir_span, length) == offsetof(struct iovec, iov_len),
               "struct weir_span has the layout of struct iovec");
_Static_assert(sizeof(struct weir_mut_span) == sizeof(struct iovec) &&
                   offsetof(struct weir_mut_span, data) == offsetof(struct iovec, iov_base) &&
                   offsetof(struct weir_mut_span, length) == offsetof(struct iovec, iov_len),
               "struct weir_mut_span has the layout of struct iovec");

static bool map_at(void *address, size_t length, int fd, off_t offset)
{
    return mmap(address, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, offset) !=
           MAP_FAILED;
}

enum weir_status weir_ring_map(size_t capacity_bytes, struct weir_ring **ring)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (weir_ring_mem_size(capacity_bytes) == 0 || capacity_bytes % page != 0) {
        return WEIR_ERR_INVALID;
    }
    size_t total = page + 2 * capacity_bytes;
    uint8_t *mem = MAP_FAILED;
    int fd = memfd_create("weir-ring", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)(page + capacity_bytes)) != 0) {
        goto fail;
    }
    /* Reserves the addresses first, so that nothing else can take the second half's place. */
    mem = (uint8_t *)mmap(NULL, total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mem == MAP_FAILED || !map_at(mem, page + capacity_bytes, fd, 0) ||
        !map_at(mem + page + capacity_bytes, capacity_bytes, fd, (off_t)page)) {
        goto fail;
    }
    (void)close(fd);
    return weir_ring_init_double(mem, mem + page, capacity_bytes, ring);
fail:
    if (mem != MAP_FAILED) {
        (void)munmap(mem, total);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return WEIR_ERR_MEMORY;
}

void weir_ring_unmap(struct weir_ring *ring)
{
    if (ring != NULL) {
        size_t page = (size_t)sysconf(_SC_PAGESIZE);
        (void)munmap(ring, page + 2 * ring->capacity_bytes);
    }
}
