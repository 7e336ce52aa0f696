/* SPDX-License-Identifier: MIT */
/*
 * fuzz_kcp_wire.c - any bytes as a KCP datagram: what decodes lies within it and encodes to the
 * same bytes again.
 */
#include <stdlib.h>
#include <string.h>

#include "wire/kcp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int condition)
{
    if (!condition) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *at = data;
    const uint8_t *end = data + size;
    for (;;) {
        struct weir_kcp_segment segment;
        uint8_t header[WEIR_KCP_HEADER_BYTES];
        const uint8_t *before = at;
        enum weir_kcp_decoded decoded = weir_kcp_decode(&at, end, &segment);
        if (decoded != WEIR_KCP_DECODED) {
            must(at == before);
            must((decoded == WEIR_KCP_DECODED_END) == (end - at < WEIR_KCP_HEADER_BYTES));
            return 0;
        }
        must(segment.data.data == before + WEIR_KCP_HEADER_BYTES);
        must(at == segment.data.data + segment.data.length && at <= end);
        must(weir_kcp_encode_header(header, &segment) == header + sizeof(header));
        must(memcmp(header, before, sizeof(header)) == 0);
    }
}
