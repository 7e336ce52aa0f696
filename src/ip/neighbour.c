/* SPDX-License-Identifier: MIT */
/*
 * neighbour.c - who has which MAC address: a bounded cache, and the packets that wait for it.
 *
 * Role: one state machine for ARP and neighbour discovery.
 * Bound: neighbours_max; the least recently used goes. Who only asked us and was never sent
 * anything stands at the end of that order, so that strangers push out each other and no one else.
 * Spec: RFC 4861 5.1, 7.2, 7.3; RFC 1122 2.3.2 for ARP.
 *
 *   INCOMPLETE --answer--> REACHABLE --30 s--> STALE --used--> DELAY --5 s--> PROBE
 *       \--3 times asked--> gone                 ^--------- answer -------------/ --3 times--> gone
 */
#include "base/bytes.h"
#include "ip/internal.h"

enum {
    ASKED_MAX = 3, /* RFC 4861 10: MAX_MULTICAST_SOLICIT, MAX_UNICAST_SOLICIT */
    ETHERNET_BYTES = WEIR_ETH_HEADER_BYTES
};

static const weir_nsec retransmit_time = WEIR_SEC; /* RFC 4861 10, as all of these */
static const weir_nsec reachable_time = 30 * WEIR_SEC;
static const weir_nsec delay_time = 5 * WEIR_SEC;

static uint32_t count_buckets(const struct weir_ip_config *config)
{
    uint32_t count = 16;
    while (count < config->neighbours_max) {
        count *= 2;
    }
    return count;
}

static uint32_t pending_bytes(const struct weir_ip_config *config)
{
    return (uint32_t)weir_size_align(
        sizeof(struct weir_ip_pending) + ETHERNET_BYTES + config->mtu_bytes, 64);
}

/* Only Ethernet has neighbours. */
static uint32_t count_neighbours(const struct weir_ip_config *config)
{
    return config->is_ethernet ? config->neighbours_max : 0;
}

static uint32_t count_pending(const struct weir_ip_config *config)
{
    return config->is_ethernet ? config->pending_max : 0;
}

size_t weir_ip_neighbours_bytes(const struct weir_ip_config *config)
{
    size_t bytes = weir_size_mul(count_buckets(config), sizeof(uint32_t));
    bytes = weir_size_add(
        bytes, weir_pool_mem_size(sizeof(struct weir_ip_neighbour), count_neighbours(config)));
    return weir_size_add(bytes, weir_pool_mem_size(pending_bytes(config), count_pending(config)));
}

void weir_ip_neighbours_init(struct weir_ip *ip, uint8_t *mem)
{
    const struct weir_ip_config *config = &ip->config;
    const uint32_t buckets = count_buckets(config);
    ip->buckets = (uint32_t *)(void *)mem;
    ip->bucket_mask = buckets - 1;
    for (uint32_t i = 0; i < buckets; i++) {
        ip->buckets[i] = WEIR_POOL_NONE;
    }
    mem += (size_t)buckets * sizeof(uint32_t);
    weir_pool_init(&ip->neighbours, mem, sizeof(struct weir_ip_neighbour),
                   count_neighbours(config));
    mem += weir_pool_mem_size(sizeof(struct weir_ip_neighbour), count_neighbours(config));
    weir_pool_init(&ip->pending, mem, pending_bytes(config), count_pending(config));
    weir_list_init(&ip->uses);
    weir_list_init(&ip->timed);
    weir_list_init(&ip->waiting);
}

static uint32_t *bucket_of(const struct weir_ip *ip, const struct weir_addr *addr)
{
    return &ip->buckets[weir_hash13(&ip->key, addr->ip, sizeof(addr->ip)) & ip->bucket_mask];
}

struct weir_ip_neighbour *weir_ip_neighbour_find(struct weir_ip *ip, const struct weir_addr *addr)
{
    uint32_t index = *bucket_of(ip, addr);
    while (index != WEIR_POOL_NONE) {
        struct weir_ip_neighbour *neighbour = weir_pool_at(&ip->neighbours, index);
        if (weir_ip_is_same(&neighbour->addr, addr)) {
            return neighbour;
        }
        index = neighbour->next;
    }
    return NULL;
}

static struct weir_ip_pending *next_pending(const struct weir_ip *ip,
                                            const struct weir_ip_neighbour *neighbour)
{
    struct weir_link *link = weir_list_first(&ip->waiting);
    for (; link != NULL; link = weir_list_next(&ip->waiting, link)) {
        struct weir_ip_pending *pending = WEIR_CONTAINER(link, struct weir_ip_pending, link);
        if (pending->neighbour == neighbour) {
            return pending;
        }
    }
    return NULL;
}

static void free_pending(struct weir_ip *ip, struct weir_ip_pending *pending)
{
    pending->neighbour->pending--;
    weir_list_remove(&ip->waiting, &pending->link);
    weir_pool_give(&ip->pending, pending);
}

static void drop_pending(struct weir_ip *ip, struct weir_ip_pending *pending)
{
    weir_ip_drop(ip, WEIR_IP_DROP_UNRESOLVED);
    free_pending(ip, pending);
}

static void remove_neighbour(struct weir_ip *ip, struct weir_ip_neighbour *neighbour)
{
    uint32_t *link = bucket_of(ip, &neighbour->addr);
    uint32_t index = weir_pool_index(&ip->neighbours, neighbour);
    while (neighbour->pending > 0) {
        drop_pending(ip, next_pending(ip, neighbour));
    }
    while (*link != index) {
        link = &((struct weir_ip_neighbour *)weir_pool_at(&ip->neighbours, *link))->next;
    }
    *link = neighbour->next;
    weir_list_remove(&ip->uses, &neighbour->use);
    if (weir_link_is_linked(&neighbour->timed)) {
        weir_list_remove(&ip->timed, &neighbour->timed);
    }
    weir_pool_give(&ip->neighbours, neighbour);
}

static struct weir_ip_neighbour *make_neighbour(struct weir_ip *ip, const struct weir_addr *addr)
{
    struct weir_ip_neighbour *neighbour = weir_pool_take(&ip->neighbours);
    if (neighbour == NULL) {
        ip->stats.neighbours_evicted++;
        remove_neighbour(ip,
                         WEIR_CONTAINER(weir_list_last(&ip->uses), struct weir_ip_neighbour, use));
        neighbour = weir_pool_take(&ip->neighbours);
    }
    uint32_t *bucket = bucket_of(ip, addr);
    *neighbour = (struct weir_ip_neighbour){.addr = *addr, .next = *bucket};
    neighbour->addr.port = 0;
    *bucket = weir_pool_index(&ip->neighbours, neighbour);
    weir_list_append(&ip->uses, &neighbour->use);
    return neighbour;
}

/* at: when it is due, WEIR_NEVER for a state without a timer. */
static void set_state(struct weir_ip *ip, struct weir_ip_neighbour *neighbour,
                      enum weir_ip_neighbour_state state, weir_nsec at)
{
    bool is_timed = state == WEIR_IP_NEIGHBOUR_INCOMPLETE || state == WEIR_IP_NEIGHBOUR_DELAY ||
                    state == WEIR_IP_NEIGHBOUR_PROBE;
    neighbour->state = (uint8_t)state;
    neighbour->asked = 0;
    neighbour->at = at;
    if (is_timed != weir_link_is_linked(&neighbour->timed)) {
        if (is_timed) {
            weir_list_append(&ip->timed, &neighbour->timed);
        } else {
            weir_list_remove(&ip->timed, &neighbour->timed);
        }
    }
    if (is_timed) {
        weir_ip_arm(ip, at);
    }
}

static void ask(struct weir_ip *ip, weir_nsec now, struct weir_ip_neighbour *neighbour)
{
    neighbour->asked++;
    neighbour->at = now + retransmit_time;
    weir_ip_arm(ip, neighbour->at);
    if (neighbour->addr.family == WEIR_ADDR_IP4) {
        weir_ip_arp_ask(ip, neighbour);
    } else {
        weir_ip_nd_ask(ip, neighbour);
    }
}

/* What waited goes out. */
static void learn_mac(struct weir_ip *ip, struct weir_ip_neighbour *neighbour,
                      const uint8_t mac[WEIR_MAC_BYTES])
{
    memcpy(neighbour->mac, mac, WEIR_MAC_BYTES);
    while (neighbour->pending > 0) {
        struct weir_ip_pending *pending = next_pending(ip, neighbour);
        weir_ip_emit_pending(ip, pending);
        free_pending(ip, pending);
    }
}

void weir_ip_neighbour_heard(struct weir_ip *ip, weir_nsec now, const struct weir_addr *addr,
                             const uint8_t mac[WEIR_MAC_BYTES], bool is_made)
{
    struct weir_ip_neighbour *neighbour = weir_ip_neighbour_find(ip, addr);
    (void)now;
    if (neighbour == NULL && is_made) {
        neighbour = make_neighbour(ip, addr);
    } else if (neighbour == NULL || (neighbour->state != WEIR_IP_NEIGHBOUR_INCOMPLETE &&
                                     memcmp(neighbour->mac, mac, WEIR_MAC_BYTES) == 0)) {
        return;
    }
    /* RFC 4861 7.2.3: STALE, whatever it was. It has spoken to us, not answered us. */
    set_state(ip, neighbour, WEIR_IP_NEIGHBOUR_STALE, WEIR_NEVER);
    learn_mac(ip, neighbour, mac);
}

void weir_ip_neighbour_confirm(struct weir_ip *ip, weir_nsec now,
                               struct weir_ip_neighbour *neighbour,
                               const uint8_t mac[WEIR_MAC_BYTES])
{
    set_state(ip, neighbour, WEIR_IP_NEIGHBOUR_REACHABLE, now + reachable_time);
    learn_mac(ip, neighbour, mac);
}

/* RFC 4861 7.2.2: at least one packet is kept; when there are too many, the oldest goes. */
static void keep_frame(struct weir_ip *ip, struct weir_ip_neighbour *neighbour,
                       const struct weir_transmit *frame)
{
    if (neighbour->pending == WEIR_IP_PENDING_PER_NEIGHBOUR) {
        drop_pending(ip, next_pending(ip, neighbour));
    }
    struct weir_ip_pending *pending = frame->length <= ETHERNET_BYTES + ip->config.mtu_bytes
                                          ? weir_pool_take(&ip->pending)
                                          : NULL;
    if (pending == NULL) {
        weir_ip_drop(ip, WEIR_IP_DROP_UNRESOLVED);
        return;
    }
    *pending = (struct weir_ip_pending){.neighbour = neighbour,
                                        .length = frame->length,
                                        .header_bytes = frame->header_bytes,
                                        .segment_bytes = frame->segment_bytes};
    const uint32_t near_bytes = frame->length - frame->tail_bytes;
    memcpy(pending + 1, frame->data, near_bytes);
    if (frame->tail_bytes > 0) {
        memcpy((uint8_t *)(pending + 1) + near_bytes, frame->tail, frame->tail_bytes);
    }
    neighbour->pending++;
    weir_list_append(&ip->waiting, &pending->link);
}

static void move_to_front(struct weir_ip *ip, struct weir_ip_neighbour *neighbour)
{
    if (weir_list_first(&ip->uses) != &neighbour->use) {
        weir_list_remove(&ip->uses, &neighbour->use);
        weir_list_prepend(&ip->uses, &neighbour->use);
    }
}

const uint8_t *weir_ip_resolve(struct weir_ip *ip, weir_nsec now, const struct weir_addr *hop,
                               const struct weir_transmit *frame)
{
    struct weir_ip_neighbour *neighbour = weir_ip_neighbour_find(ip, hop);
    bool is_new = neighbour == NULL;
    if (is_new) {
        neighbour = make_neighbour(ip, hop);
    }
    neighbour->from = frame->path.local;
    move_to_front(ip, neighbour);
    if (is_new) {
        set_state(ip, neighbour, WEIR_IP_NEIGHBOUR_INCOMPLETE, now + retransmit_time);
        keep_frame(ip, neighbour, frame);
        ask(ip, now, neighbour);
        return NULL;
    }
    if (neighbour->state == WEIR_IP_NEIGHBOUR_INCOMPLETE) {
        keep_frame(ip, neighbour, frame);
        return NULL;
    }
    if (neighbour->state == WEIR_IP_NEIGHBOUR_REACHABLE && now >= neighbour->at) {
        neighbour->state = WEIR_IP_NEIGHBOUR_STALE;
    }
    if (neighbour->state == WEIR_IP_NEIGHBOUR_STALE) {
        set_state(ip, neighbour, WEIR_IP_NEIGHBOUR_DELAY, now + delay_time);
    }
    return neighbour->mac;
}

/* One that is due. */
static void on_due(struct weir_ip *ip, weir_nsec now, struct weir_ip_neighbour *neighbour)
{
    if (neighbour->state == WEIR_IP_NEIGHBOUR_DELAY) {
        set_state(ip, neighbour, WEIR_IP_NEIGHBOUR_PROBE, now + retransmit_time);
    }
    if (neighbour->asked >= ASKED_MAX) {
        remove_neighbour(ip, neighbour);
    } else {
        ask(ip, now, neighbour);
    }
}

void weir_ip_neighbours_timeout(struct weir_ip *ip, weir_nsec now)
{
    struct weir_link *link = weir_list_first(&ip->timed);
    while (link != NULL) {
        struct weir_ip_neighbour *neighbour = WEIR_CONTAINER(link, struct weir_ip_neighbour, timed);
        link = weir_list_next(&ip->timed, link);
        if (now >= neighbour->at) {
            on_due(ip, now, neighbour);
        } else {
            weir_ip_arm(ip, neighbour->at);
        }
    }
}
