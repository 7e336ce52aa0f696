/* SPDX-License-Identifier: MIT */
/*
 * consumer.c - a program outside of this tree: includes, links and calls what was installed.
 */
#include <stdio.h>

#include <weir/weir.h>

int main(void)
{
    struct weir_rudp_config config;
    weir_rudp_config_default(&config);
    struct weir_slide_config slides;
    weir_slide_config_default(&slides);
    printf("weir %s: %s, slide %zu bytes, %u connections\n", WEIR_VERSION,
           weir_status_text(WEIR_OK), weir_slide_mem_size(&slides), config.connections_max);
    return weir_slide_mem_size(&slides) > slides.size_bytes ? 0 : 1;
}
