/* SPDX-License-Identifier: MIT */
/*
 * weir.h - everything public.
 */
#ifndef WEIR_H
#define WEIR_H

#include "weir/addr.h"
#include "weir/cc.h"
#include "weir/crew.h"
#include "weir/crew_stats.h"
#include "weir/driver.h"
#include "weir/inet.h"
#include "weir/ip.h"
#include "weir/kcp.h"
#include "weir/kcp_layers.h"
#include "weir/kcp_stats.h"
#include "weir/kcp_stream.h"
#include "weir/loop.h"
#include "weir/os.h"
#include "weir/packet.h"
#include "weir/parcel.h"
#include "weir/raw.h"
#include "weir/ring.h"
#include "weir/route.h"
#include "weir/rudp.h"
#include "weir/rudp_stats.h"
#include "weir/sim.h"
#include "weir/slide.h"
#include "weir/span.h"
#include "weir/status.h"
#include "weir/steer.h"
#include "weir/tcp.h"
#include "weir/tcp_callbacks.h"
#include "weir/tcp_stats.h"
#include "weir/time.h"
#include "weir/tun.h"
#include "weir/udp.h"
#include "weir/version.h"
#include "weir/wrap.h"

#endif
