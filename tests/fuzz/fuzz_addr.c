/* SPDX-License-Identifier: MIT */
/*
 * fuzz_addr.c - any text: what parses must survive format and parse unchanged.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "weir/addr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* A copy of exactly the text, so that a read past its end is seen. */
    char *text = malloc(size + 1);
    if (text == NULL) {
        return 0;
    }
    memcpy(text, data, size);
    text[size] = '\0';
    struct weir_addr addr;
    if (weir_addr_parse(text, &addr) == WEIR_OK) {
        char formatted[WEIR_ADDR_TEXT_BYTES];
        struct weir_addr back;
        size_t length = weir_addr_format(&addr, formatted);
        if (length >= sizeof(formatted) || formatted[length] != '\0' ||
            weir_addr_parse(formatted, &back) != WEIR_OK || !weir_addr_is_equal(&addr, &back)) {
            abort();
        }
    }
    free(text);
    return 0;
}
