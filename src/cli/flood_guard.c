/* SPDX-License-Identifier: MIT */
/*
 * flood_guard.c - packets with made-up addresses must not get anywhere: what is looked at before
 * the first one is made.
 *
 * All of these hold, or nothing is sent: the network namespace is not that of process 1, where it
 * can be seen; every interface in it that is up is the loopback or a TUN device (nothing that
 * frames leave the machine on); there is no default route; the target lies in the prefix of such an
 * interface.
 */
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/flood.h"

/* Where a container hides process 1, the other rules have to do. */
static bool is_namespace_own(void)
{
    struct stat first;
    struct stat own;
    if (stat("/proc/1/ns/net", &first) == 0 && stat("/proc/self/ns/net", &own) == 0 &&
        first.st_dev == own.st_dev && first.st_ino == own.st_ino) {
        (void)cli_fail(CLI_FAILED, "refused outside of a network namespace made for a test; run it "
                                   "with the server inside of: unshare -n");
        return false;
    }
    return true;
}

/* Does its driver say that it is a TUN device? */
static bool is_tun(int fd, struct ifreq *request)
{
    struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
    struct ifreq driver = *request;
    driver.ifr_data = (char *)&info;
    if (ioctl(fd, SIOCETHTOOL, &driver) != 0 || strcmp(info.driver, "tun") != 0) {
        return false;
    }
    /* A TAP device may be the way out of a container. */
    return strcmp(info.bus_info, "tun") == 0;
}

static bool is_harmless(int fd, const char *name)
{
    struct ifreq request = {.ifr_flags = 0};
    (void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    if (ioctl(fd, SIOCGIFFLAGS, &request) != 0) {
        return false;
    }
    return (request.ifr_flags & IFF_UP) == 0 || (request.ifr_flags & IFF_LOOPBACK) != 0 ||
           is_tun(fd, &request);
}

static bool leads_nowhere(void)
{
    struct if_nameindex *all = if_nameindex();
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool is_fine = all != NULL && fd >= 0;
    if (!is_fine) {
        (void)cli_fail(CLI_FAILED, "cannot list the interfaces: %s", cli_text_errno(errno));
    }
    for (size_t i = 0; is_fine && all[i].if_index != 0; i++) {
        is_fine = is_harmless(fd, all[i].if_name);
        if (!is_fine) {
            (void)cli_fail(CLI_FAILED,
                           "refused: %s may lead out of this network namespace; only "
                           "the loopback and TUN devices may be up",
                           all[i].if_name);
        }
    }
    if (all != NULL) {
        if_freenameindex(all);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return is_fine;
}

/* The file's second column is the destination, the eighth the mask; 0 is everywhere. A file that
 * cannot be read counts as a way out. */
static bool has_default_route(void)
{
    enum {
        COLUMN_DESTINATION = 1,
        COLUMN_MASK = 7
    };

    char line[256];
    bool is_found = false;
    FILE *file = fopen("/proc/self/net/route", "re");
    if (file == NULL || fgets(line, sizeof(line), file) == NULL) {
        is_found = true; /* not even its heading */
    }
    while (!is_found && fgets(line, sizeof(line), file) != NULL) {
        char *rest = NULL;
        unsigned zeros = 0;
        unsigned column = 0;
        for (const char *word = strtok_r(line, "\t ", &rest); word != NULL;
             word = strtok_r(NULL, "\t ", &rest), column++) {
            bool is_mine = column == COLUMN_DESTINATION || column == COLUMN_MASK;
            zeros += is_mine && strcmp(word, "00000000") == 0;
        }
        is_found = zeros == 2;
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return is_found;
}

static uint32_t ip4_of(const struct sockaddr *name)
{
    struct sockaddr_in in4;
    memcpy(&in4, name, sizeof(in4));
    return ntohl(in4.sin_addr.s_addr);
}

/* The loopback's own prefix is the kernel's, which is no target. */
static bool is_on_link(const struct weir_addr *target)
{
    struct ifaddrs *all = NULL;
    bool is_found = false;
    uint32_t ip = (uint32_t)target->ip[0] << 24 | (uint32_t)target->ip[1] << 16 |
                  (uint32_t)target->ip[2] << 8 | target->ip[3];
    if (getifaddrs(&all) != 0) {
        return false;
    }
    for (const struct ifaddrs *at = all; at != NULL && !is_found; at = at->ifa_next) {
        if (at->ifa_addr == NULL || at->ifa_netmask == NULL || at->ifa_addr->sa_family != AF_INET ||
            (at->ifa_flags & IFF_LOOPBACK) != 0) {
            continue;
        }
        uint32_t mask = ip4_of(at->ifa_netmask);
        is_found = mask != 0 && ((ip ^ ip4_of(at->ifa_addr)) & mask) == 0;
    }
    freeifaddrs(all);
    return is_found;
}

bool cli_flood_is_allowed(const struct weir_addr *target)
{
    char text[WEIR_ADDR_TEXT_BYTES];
    if (!is_namespace_own() || !leads_nowhere()) {
        return false;
    }
    if (has_default_route()) {
        (void)cli_fail(CLI_FAILED,
                       "refused: this network namespace has a default route, so it leads out");
        return false;
    }
    if (!is_on_link(target)) {
        (void)weir_addr_format(target, text);
        (void)cli_fail(CLI_FAILED,
                       "refused: %s is in no prefix of this namespace's TUN devices; start the "
                       "server first",
                       text);
        return false;
    }
    return true;
}

static bool write_setting(const char *path, const char *value)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool is_written = fd >= 0 && write(fd, value, 1) == 1;
    if (!is_written) {
        (void)cli_fail(CLI_FAILED, "%s: %s; mount /proc/sys writable in this namespace", path,
                       cli_text_errno(errno));
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return is_written;
}

bool cli_flood_set_kernel(const char *device)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/accept_local", device);
    if (!write_setting("/proc/sys/net/ipv4/ip_forward", "1") || !write_setting(path, "1") ||
        !write_setting("/proc/sys/net/ipv4/conf/all/rp_filter", "0")) {
        return false;
    }
    (void)snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/rp_filter", device);
    return write_setting(path, "0");
}
