// SPDX-License-Identifier: MIT
/*
 * bench_ring_boost.cc - boost::lockfree::spsc_queue of bytes, pushed and popped in bulk.
 */
#include "bench_ring.h"

#include <boost/lockfree/spsc_queue.hpp>

namespace
{

using queue = boost::lockfree::spsc_queue<uint8_t, boost::lockfree::capacity<RING_BYTES>>;

inline size_t boost_put(void *ring, const uint8_t *data, size_t length)
{
    return static_cast<queue *>(ring)->push(data, length);
}

inline size_t boost_get(void *ring, uint8_t *data, size_t length)
{
    return static_cast<queue *>(ring)->pop(data, length);
}

RING_LOOPS_ALL(boost)

void *make(size_t)
{
    return new queue;
}

void unmake(void *ring)
{
    delete static_cast<queue *>(ring);
}

} // namespace

const struct ring_contender ring_boost = {
    "boost spsc_queue", make, nullptr, unmake, RING_WRITE_LOOPS(boost), RING_READ_LOOPS(boost)};
