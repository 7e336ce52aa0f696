/* SPDX-License-Identifier: MIT */
/*
 * test_hear.c - which frames reach which queue of many: flows one, ARP and neighbour discovery all.
 *
 * In a network namespace of its own: packet sockets on its loopback interface, and a tap that
 * frames leave by. Without the right to that only the rule itself is tested.
 */
#include "seed.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "driver/hear.h"
#include "weir/weir.h"

enum {
    QUEUES = 3,
    FRAME_BYTES = 86, /* Ethernet, IPv6, an advertisement with its option */
    ROOM_BYTES = 1 << 20,
    LOOKS = 200
};

enum kind {
    ARP_QUESTION,
    ARP_ANSWER,
    ARP_ANNOUNCEMENT, /* a question after oneself */
    ND_QUESTION,
    ND_ANSWER,
    ECHO,
    TCP4,
    KINDS
};

static void make_frame(enum kind kind, uint8_t frame[FRAME_BYTES])
{
    memset(frame, 0, FRAME_BYTES);
    memset(frame, 0xff, 6);
    frame[6] = 2;
    if (kind <= ARP_ANNOUNCEMENT) {
        weir_store16(frame + 12, 0x0806);
        weir_store16(frame + 20, kind == ARP_ANSWER ? 2 : 1);
        weir_store32(frame + 28, 0x0a070001);
        weir_store32(frame + 38, kind == ARP_ANNOUNCEMENT ? 0x0a070001 : 0x0a070002);
    } else if (kind == TCP4) {
        weir_store16(frame + 12, 0x0800);
        frame[14] = 0x45;
        frame[20] = 58; /* of IPv4 no next header */
        frame[23] = 6;
        frame[54] = 136;
    } else {
        weir_store16(frame + 12, 0x86dd);
        frame[14] = 0x60;
        frame[20] = 58;
        frame[54] = kind == ND_QUESTION ? 135 : kind == ND_ANSWER ? 136 : 128;
    }
}

static void test_what_is_heard(void **state)
{
    (void)state;
    for (int kind = 0; kind < KINDS; kind++) {
        uint8_t frame[FRAME_BYTES];
        make_frame((enum kind)kind, frame);
        assert_int_equal(weir_hear_is_heard(frame, FRAME_BYTES), kind < ECHO);
        for (uint32_t length = 0; length < 14; length++) {
            assert_false(weir_hear_is_heard(frame, length));
        }
    }
    for (int type = 0; type < 256; type++) {
        uint8_t frame[FRAME_BYTES];
        make_frame(ND_ANSWER, frame);
        frame[54] = (uint8_t)type;
        assert_int_equal(weir_hear_is_heard(frame, FRAME_BYTES), type >= 133 && type <= 137);
        assert_false(weir_hear_is_heard(frame, 54)); /* cut off before the type */
    }
}

/* --- real queues ------------------------------------------------------------------------------ */

static struct weir_driver *open_queue(bool is_tap, uint32_t q, const struct weir_driver *first)
{
    struct weir_driver *driver = NULL;
    char problem[WEIR_PROBLEM_BYTES] = "";
    enum weir_status status;
    if (is_tap) {
        struct weir_tun_config config;
        weir_tun_config_default(&config);
        memcpy(config.name, "weir0", 6);
        config.is_tap = config.is_multi_queue = config.is_offload_disabled = true;
        config.queue_index = q;
        status = weir_tun_open(&config, &driver, problem);
    } else {
        struct weir_packet_config config;
        weir_packet_config_default(&config);
        memcpy(config.name, "lo", 3);
        config.is_shared = true;
        config.first = first;
        status = weir_packet_open(&config, &driver, problem);
    }
    assert_string_equal(problem, "");
    assert_int_equal(status, WEIR_OK);
    return driver;
}

static int open_sender(const char *name)
{
    struct ifreq request = {.ifr_flags = 0};
    int fd = socket(AF_PACKET, SOCK_RAW, 0);
    assert_true(fd >= 0);
    memcpy(request.ifr_name, name, strlen(name));
    assert_int_equal(ioctl(fd, SIOCGIFFLAGS, &request), 0);
    request.ifr_flags |= IFF_UP;
    assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &request), 0);
    struct sockaddr_ll addr = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(name)};
    const void *any = &addr;
    assert_int_equal(bind(fd, any, sizeof(addr)), 0);
    return fd;
}

/* Frames of that kind, marked by their last byte, that come by a queue; the kernel's own are left
 * out. */
static uint32_t receive_marked(struct weir_driver *queue, weir_nsec now, uint8_t mark)
{
    static uint8_t room[ROOM_BYTES];
    struct weir_packet packets[16];
    uint32_t count = 0;
    uint32_t marked = 0;
    assert_int_equal(queue->ops->receive(queue, now, (struct weir_mut_span){room, sizeof(room)},
                                         packets, 16, &count),
                     WEIR_OK);
    for (uint32_t i = 0; i < count; i++) {
        marked += packets[i].length == FRAME_BYTES && packets[i].data[FRAME_BYTES - 1] == mark;
    }
    return marked;
}

static void expect(struct weir_driver **queues, enum kind kind, int sender)
{
    uint8_t frame[FRAME_BYTES];
    const uint8_t mark = (uint8_t)(0xa0 + kind);
    uint32_t got[QUEUES] = {0};
    uint32_t sum = 0;
    make_frame(kind, frame);
    frame[FRAME_BYTES - 1] = mark;
    assert_int_equal(send(sender, frame, sizeof(frame), 0), FRAME_BYTES);
    for (uint32_t look = 0; look < LOOKS; look++) {
        for (uint32_t q = 0; q < QUEUES; q++) {
            uint32_t more = receive_marked(queues[q], look * WEIR_MSEC, mark);
            got[q] += more;
            sum += more;
        }
    }
    const bool is_question = kind == ARP_QUESTION || kind == ND_QUESTION;
    const bool is_for_all = kind < ECHO && !is_question;
    assert_int_equal(sum, is_for_all ? QUEUES : 1);
    for (uint32_t q = 0; q < QUEUES && kind < ECHO; q++) {
        assert_int_equal(got[q], is_for_all || q == 0 ? 1 : 0);
    }
}

/* A fragment, the first one with ports, between two hosts that number tells. */
static void make_fragment(bool is_6, uint8_t number, bool is_last, uint8_t frame[FRAME_BYTES])
{
    memset(frame, 0, FRAME_BYTES);
    frame[6] = 2;
    if (is_6) {
        weir_store16(frame + 12, 0x86dd);
        frame[14] = 0x60;
        weir_store16(frame + 18, 32);
        frame[20] = 44;
        frame[22] = frame[38] = 0xfd;
        frame[37] = number;
        frame[54] = 17;
        weir_store16(frame + 56, is_last ? 24 << 3 : 1);
    } else {
        weir_store16(frame + 12, 0x0800);
        frame[14] = 0x45;
        weir_store16(frame + 16, FRAME_BYTES - 14);
        weir_store16(frame + 20, is_last ? 3 : 0x2000);
        frame[22] = 64;
        frame[23] = 17;
        weir_store32(frame + 26, 0x0a070000 + number);
        weir_store32(frame + 30, 0x0a080001);
    }
    memset(frame + (is_6 ? 62 : 34), is_last ? 0xff : number, 4); /* no ports in the last one */
    frame[FRAME_BYTES - 1] = is_last ? 0xf1 : 0xf0;
}

/* Which queue it comes by, the only one. */
static uint32_t queue_of(struct weir_driver **queues, int sender, const uint8_t frame[FRAME_BYTES])
{
    uint32_t found = QUEUES;
    assert_int_equal(send(sender, frame, FRAME_BYTES, 0), FRAME_BYTES);
    for (uint32_t look = 0; look < LOOKS && found == QUEUES; look++) {
        for (uint32_t q = 0; q < QUEUES; q++) {
            if (receive_marked(queues[q], look * WEIR_MSEC, frame[FRAME_BYTES - 1]) > 0) {
                found = q;
            }
        }
    }
    assert_in_range(found, 0, QUEUES - 1);
    return found;
}

static void expect_fragments_together(struct weir_driver **queues, int sender)
{
    for (int is_6 = 0; is_6 <= 1; is_6++) {
        uint32_t got[QUEUES] = {0};
        for (uint8_t number = 1; number <= 40; number++) {
            uint8_t first[FRAME_BYTES];
            uint8_t last[FRAME_BYTES];
            make_fragment(is_6, number, false, first);
            make_fragment(is_6, number, true, last);
            uint32_t q = queue_of(queues, sender, first);
            assert_int_equal(queue_of(queues, sender, last), q);
            got[q]++;
        }
        for (uint32_t q = 0; q < QUEUES; q++) {
            assert_true(got[q] > 0); /* other hosts, other queues */
        }
    }
}

/* Longer than any such frame is: no queue has it, and each says so. */
static void expect_counted(struct weir_driver **queues, int sender)
{
    static uint8_t frame[3 * WEIR_HEAR_FRAME_BYTES / 2];
    uint64_t truncated[QUEUES];
    uint64_t got = 0;
    uint64_t counted = 0;
    make_frame(ARP_ANSWER, frame);
    for (uint32_t q = 0; q < QUEUES; q++) {
        truncated[q] = queues[q]->stats.rx_truncated;
        got -= queues[q]->stats.rx_datagrams;
    }
    assert_int_equal(send(sender, frame, sizeof(frame), 0), sizeof(frame));
    make_frame(ARP_ANSWER, frame);
    frame[FRAME_BYTES - 1] = 7;
    assert_int_equal(send(sender, frame, FRAME_BYTES, 0), FRAME_BYTES);
    for (uint32_t look = 0; look < LOOKS; look++) {
        for (uint32_t q = 0; q < QUEUES; q++) {
            counted += receive_marked(queues[q], look * WEIR_MSEC, 7);
        }
    }
    assert_int_equal(counted, QUEUES);
    for (uint32_t q = 0; q < QUEUES; q++) {
        got += queues[q]->stats.rx_datagrams;
        assert_int_equal(queues[q]->stats.rx_truncated, truncated[q] + 1);
    }
    assert_true(got >= QUEUES);
}

/* The last test: the process stays in the namespace. */
static void test_each_queue_gets_its_frames(void **state)
{
    (void)state;
    if (unshare(CLONE_NEWNET) != 0 || access("/dev/net/tun", R_OK | W_OK) != 0) {
        print_message("left out: needs root and /dev/net/tun\n");
        return;
    }
    for (int is_tap = 0; is_tap <= 1; is_tap++) {
        struct weir_driver *queues[QUEUES];
        for (uint32_t q = 0; q < QUEUES; q++) {
            queues[q] = open_queue(is_tap, q, q > 0 ? queues[0] : NULL);
        }
        int sender = open_sender(is_tap ? "weir0" : "lo");
        for (int kind = 0; kind < KINDS; kind++) {
            expect(queues, (enum kind)kind, sender);
        }
        if (!is_tap) { /* whose frames are no longer than its MTU */
            expect_counted(queues, sender);
            expect_fragments_together(queues, sender);
        }
        (void)close(sender);
        for (uint32_t q = 0; q < QUEUES; q++) {
            queues[q]->ops->close(queues[q]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_heard),
        cmocka_unit_test(test_each_queue_gets_its_frames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
