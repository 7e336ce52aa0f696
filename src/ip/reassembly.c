/* SPDX-License-Identifier: MIT */
/*
 * reassembly.c - datagrams put together from their fragments, in few slots of fixed size.
 *
 * Bound: reassembly_max datagrams; for a new one the oldest goes. A bit for each 8 bytes says what
 * is there. Fragments that overlap with other bytes spoil their datagram (RFC 8200 4.5; for IPv4
 * the same, for nobody sends them in good faith).
 * Spec: RFC 791 3.2; RFC 1122 3.3.2; RFC 8200 4.5; RFC 3168 5.3.
 */
#include "base/bytes.h"
#include "ip/internal.h"

static size_t slot_bytes(const struct weir_ip_config *config)
{
    return weir_size_align(WEIR_IP_SLOT_HEAD + config->reassembly_bytes_max, 64);
}

size_t weir_ip_reassembly_bytes(const struct weir_ip_config *config)
{
    size_t slots = weir_size_mul(config->reassembly_max, sizeof(struct weir_ip_slot));
    return weir_size_add(weir_size_align(slots, 64),
                         weir_size_mul(config->reassembly_max, slot_bytes(config)));
}

void weir_ip_reassembly_init(struct weir_ip *ip, uint8_t *mem)
{
    const uint32_t count = ip->config.reassembly_max;
    ip->slots = (struct weir_ip_slot *)(void *)mem;
    mem += weir_size_align(weir_size_mul(count, sizeof(struct weir_ip_slot)), 64);
    for (uint32_t i = 0; i < count; i++) {
        ip->slots[i].bytes = mem + i * slot_bytes(&ip->config) + WEIR_IP_SLOT_HEAD;
    }
}

void weir_ip_reassembly_begin(struct weir_ip *ip)
{
    for (uint32_t i = 0; ip->slots_delivered > 0 && i < ip->config.reassembly_max; i++) {
        if (ip->slots[i].is_delivered) {
            ip->slots[i].is_used = ip->slots[i].is_delivered = false;
            ip->slots_delivered--;
        }
    }
}

static bool is_of_slot(const struct weir_ip_slot *slot, const struct weir_ip_rx *rx, uint32_t id)
{
    /* RFC 791 3.2: source, destination, identification and protocol; RFC 8200 4.5 leaves out the
     * protocol, which its fragments may differ in. */
    return slot->is_used && !slot->is_delivered && slot->id == id &&
           (slot->protocol == rx->protocol || rx->path.remote.family == WEIR_ADDR_IP6) &&
           weir_ip_is_same(&slot->path.remote, &rx->path.remote) &&
           weir_ip_is_same(&slot->path.local, &rx->path.local);
}

/* A slot for a new datagram: a free one, or that of the oldest. NULL: all are in use upstairs. */
static struct weir_ip_slot *make_slot(struct weir_ip *ip, const struct weir_ip_rx *rx, uint32_t id)
{
    struct weir_ip_slot *found = NULL;
    for (uint32_t i = 0; i < ip->config.reassembly_max; i++) {
        struct weir_ip_slot *slot = &ip->slots[i];
        if (!slot->is_used) {
            found = slot;
            break;
        }
        if (!slot->is_delivered && (found == NULL || slot->until < found->until)) {
            found = slot;
        }
    }
    if (found == NULL || found->is_used) {
        weir_ip_drop(ip, WEIR_IP_DROP_REASSEMBLY);
    }
    if (found == NULL) {
        return NULL;
    }
    uint8_t *bytes = found->bytes;
    *found = (struct weir_ip_slot){.is_used = true,
                                   .protocol = rx->protocol,
                                   .path = rx->path,
                                   .id = id,
                                   .until = rx->now + ip->config.reassembly_timeout,
                                   .bytes = bytes};
    weir_ip_arm(ip, found->until);
    return found;
}

static struct weir_ip_slot *find_slot(struct weir_ip *ip, const struct weir_ip_rx *rx, uint32_t id)
{
    for (uint32_t i = 0; i < ip->config.reassembly_max; i++) {
        if (is_of_slot(&ip->slots[i], rx, id)) {
            return &ip->slots[i];
        }
    }
    return make_slot(ip, rx, id);
}

/* How many of the count bits from first on are set. */
static uint32_t count_set(const struct weir_ip_slot *slot, uint32_t first, uint32_t count)
{
    uint32_t set = 0;
    for (uint32_t i = first; i < first + count; i++) {
        set += (uint32_t)(slot->map[i / 64] >> i % 64) & 1;
    }
    return set;
}

static void set_bits(struct weir_ip_slot *slot, uint32_t first, uint32_t count)
{
    for (uint32_t i = first; i < first + count; i++) {
        slot->map[i / 64] |= UINT64_C(1) << i % 64;
    }
}

/* Is its end, if it has one, the one that is known, and does nothing lie behind it? */
static bool is_end_right(struct weir_ip_slot *slot, uint32_t end, bool is_more)
{
    if (slot->total_bytes != 0) {
        return is_more ? end < slot->total_bytes : end == slot->total_bytes;
    }
    if (is_more) {
        return true;
    }
    const uint32_t first = (end + 7) / 8;
    slot->total_bytes = end;
    return count_set(slot, first, WEIR_IP_SLOT_WORDS * 64 - first) == 0;
}

/* Puts the fragment in its place. false: it contradicts what is there. */
static bool add_fragment(struct weir_ip_slot *slot, const struct weir_ip_rx *rx,
                         const struct weir_ip_fragment *fragment)
{
    const uint32_t offset = fragment->offset_bytes;
    const uint32_t length = rx->payload_bytes;
    const uint32_t units = (length + 7) / 8;
    if (!is_end_right(slot, offset + length, fragment->is_more)) {
        return false;
    }
    uint32_t set = count_set(slot, offset / 8, units);
    if (set != 0) {
        /* The same once more is harmless. */
        return set == units && memcmp(slot->bytes + offset, rx->payload, length) == 0;
    }
    memcpy(slot->bytes + offset, rx->payload, length);
    set_bits(slot, offset / 8, units);
    slot->received_bytes += length;
    if (offset == 0) {
        slot->head_bytes = fragment->head_bytes;
        slot->protocol = rx->protocol; /* RFC 8200 4.5: that of the first fragment counts */
        memcpy(slot->bytes - fragment->head_bytes, fragment->head, fragment->head_bytes);
    }
    return true;
}

/* RFC 3168 5.3: one that met congestion marks the whole; otherwise they agree in good faith. */
static uint8_t join_ecn(uint8_t a, uint8_t b, bool is_first)
{
    return is_first || b == WEIR_ECN_CE ? b : a;
}

static bool is_fragment_valid(const struct weir_ip *ip, const struct weir_ip_rx *rx,
                              const struct weir_ip_fragment *fragment)
{
    return ip->config.reassembly_max > 0 && rx->payload_bytes > 0 &&
           fragment->head_bytes <= WEIR_IP_SLOT_HEAD &&
           (!fragment->is_more || rx->payload_bytes % 8 == 0) &&
           fragment->offset_bytes + rx->payload_bytes <= ip->config.reassembly_bytes_max;
}

bool weir_ip_reassemble(struct weir_ip *ip, struct weir_ip_rx *rx,
                        const struct weir_ip_fragment *fragment)
{
    ip->stats.rx_fragments++;
    if (!is_fragment_valid(ip, rx, fragment)) {
        weir_ip_drop(ip, WEIR_IP_DROP_FRAGMENT);
        return false;
    }
    struct weir_ip_slot *slot = find_slot(ip, rx, fragment->id);
    if (slot == NULL) {
        return false;
    }
    if (slot->is_spoiled || !add_fragment(slot, rx, fragment)) {
        slot->is_spoiled = true;
        weir_ip_drop(ip, WEIR_IP_DROP_FRAGMENT);
        return false;
    }
    slot->ecn = join_ecn(slot->ecn, rx->ecn, slot->received_bytes == rx->payload_bytes);
    if (slot->total_bytes == 0 || slot->received_bytes != slot->total_bytes) {
        return false;
    }
    slot->is_delivered = true;
    ip->slots_delivered++;
    ip->stats.rx_reassembled++;
    rx->head = slot->bytes - slot->head_bytes;
    rx->payload = slot->bytes;
    rx->payload_bytes = slot->total_bytes;
    rx->protocol = slot->protocol;
    rx->ecn = slot->ecn;
    rx->is_checked = false;
    rx->segment_bytes = 0;
    return true;
}

/* RFC 1122 3.3.2, RFC 8200 4.5: whoever sent the first fragment is told. */
static void on_expired(struct weir_ip *ip, weir_nsec now, struct weir_ip_slot *slot)
{
    weir_ip_drop(ip, WEIR_IP_DROP_REASSEMBLY);
    if (slot->head_bytes != 0 && !slot->is_spoiled) {
        const bool is_ip6 = slot->path.remote.family == WEIR_ADDR_IP6;
        uint32_t there = 0;
        while (there < slot->received_bytes && count_set(slot, there / 8, 1) != 0) {
            there += 8;
        }
        const struct weir_ip_rx rx = {.now = now,
                                      .path = slot->path,
                                      .head = slot->bytes - slot->head_bytes,
                                      .payload = slot->bytes,
                                      .payload_bytes =
                                          (uint32_t)weir_min_u64(there, slot->received_bytes),
                                      .protocol = slot->protocol};
        weir_ip_send_error(
            ip, &rx, is_ip6 ? (uint8_t)WEIR_ICMP6_TIME_EXCEEDED : (uint8_t)WEIR_ICMP_TIME_EXCEEDED,
            WEIR_ICMP_CODE_REASSEMBLY, 0);
    }
    slot->is_used = false;
}

void weir_ip_reassembly_timeout(struct weir_ip *ip, weir_nsec now)
{
    for (uint32_t i = 0; i < ip->config.reassembly_max; i++) {
        struct weir_ip_slot *slot = &ip->slots[i];
        if (!slot->is_used || slot->is_delivered) {
            continue;
        }
        if (now >= slot->until) {
            on_expired(ip, now, slot);
        } else {
            weir_ip_arm(ip, slot->until);
        }
    }
}
