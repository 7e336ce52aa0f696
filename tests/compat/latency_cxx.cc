/* SPDX-License-Identifier: MIT */
/*
 * latency_cxx.cc - the same program, as C++.
 */
#include "latency.c"
