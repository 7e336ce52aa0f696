/* SPDX-License-Identifier: MIT */
/*
 * weir.h - everything public, and the version.
 */
#ifndef WEIR_H
#define WEIR_H

#include "weir/addr.h"
#include "weir/cc.h"
#include "weir/driver.h"
#include "weir/loop.h"
#include "weir/parcel.h"
#include "weir/ring.h"
#include "weir/rudp.h"
#include "weir/sim.h"
#include "weir/slide.h"
#include "weir/span.h"
#include "weir/status.h"
#include "weir/time.h"
#include "weir/udp.h"
#include "weir/wrap.h"

#define WEIR_VERSION "0.1.0"

#endif
