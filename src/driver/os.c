/* SPDX-License-Identifier: MIT */
/*
 * os.c - memory and randomness from the system, for setting up an endpoint.
 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "weir/os.h"

void *weir_mem_map(size_t bytes)
{
    if (bytes == 0) {
        return NULL;
    }
    void *mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return mem == MAP_FAILED ? NULL : mem;
}

void weir_mem_unmap(void *mem, size_t bytes)
{
    if (mem != NULL) {
        (void)munmap(mem, bytes);
    }
}

enum weir_status weir_secret_seed(uint8_t *seed, size_t bytes)
{
    size_t filled = 0;
    while (filled < bytes) {
        ssize_t n = getrandom(seed + filled, bytes - filled, 0);
        if (n > 0) {
            filled += (size_t)n;
        } else if (n == 0 || errno != EINTR) {
            return WEIR_ERR_OS;
        }
    }
    return WEIR_OK;
}
