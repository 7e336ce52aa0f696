/* SPDX-License-Identifier: MIT */
/*
 * script_tcp.c - plays the scripts that it is given: script_tcp [-v] FILE ...
 */
#include <stdio.h>
#include <string.h>

#include "tcp_script.h"

int main(int argc, char **argv)
{
    int failed = 0;
    bool is_verbose = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-v") == 0) {
            is_verbose = true;
        } else {
            failed += !tcp_script_play(argv[i], is_verbose);
        }
    }
    return failed > 0;
}
