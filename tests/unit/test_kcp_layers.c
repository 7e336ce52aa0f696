/* SPDX-License-Identifier: MIT */
/*
 * test_kcp_layers.c - KCP with kcp-go's crypto header and error correction, between two endpoints
 * and against datagrams made by hand.
 */
#include "figures.h"
#include "kcp/fec_internal.h"
#include "kcp_pair.h"
#include "kcp_solo.h"

enum {
    LENGTH_MAX = 8000,
    GROUP_DATA = 10,
    GROUP_PARITY = 3,
    FEC_OVERHEAD = 8
};

static struct talk {
    struct kcp_pair pair;
    struct kcp_pair_options options;
    struct weir_kcp_config server;
    uint32_t got[2], sent[2]; /* messages, by sending host */
    unsigned requests;
} talk;

/* --- two endpoints ---------------------------------------------------------------------------- */

static uint32_t length_of(uint32_t index)
{
    return index * 977 % LENGTH_MAX;
}

static uint8_t byte_of(uint32_t index, size_t at, unsigned sender)
{
    return (uint8_t)((size_t)index * 31 + at * 7 + sender);
}

static void on_event(struct kcp_pair *pair, struct kcp_host *host, struct weir_kcp_event *event)
{
    unsigned sender = host == &pair->hosts[0] ? 1 : 0;
    static uint8_t bytes[LENGTH_MAX];
    if (event->type == WEIR_KCP_EVENT_REQUEST) {
        talk.requests++;
        host->conn = event->conn;
        weir_kcp_accept(event->conn, NULL);
    } else if (event->type == WEIR_KCP_EVENT_MESSAGE) {
        uint32_t index = talk.got[sender]++;
        assert_int_equal(event->message.length, length_of(index));
        assert_int_equal(weir_kcp_copy_message(event, bytes, sizeof(bytes)), length_of(index));
        for (size_t i = 0; i < length_of(index); i++) {
            assert_int_equal(bytes[i], byte_of(index, i, sender));
        }
    }
}

static void talk_defaults(void)
{
    memset(&talk, 0, sizeof(talk));
    kcp_pair_options_default(&talk.options);
    struct weir_kcp_tuning *tuning = &talk.options.kcp.tuning;
    tuning->nodelay = 1;
    tuning->interval_ms = 10;
    tuning->resend = 2;
    tuning->is_window_fixed = true;
    tuning->send_window = tuning->receive_window = 256;
    talk.options.kcp.keepalive = 0;
}

static void use_fec(struct weir_kcp_config *config, uint16_t data, uint16_t parity)
{
    config->address_policy = WEIR_KCP_ADDRESS_REPLACE;
    config->is_fec = true;
    config->fec_data = data;
    config->fec_parity = parity;
}

static void talk_open(void)
{
    kcp_pair_open(&talk.pair, &talk.options, on_event, NULL);
    kcp_pair_connect(&talk.pair);
}

/* The server is set up otherwise than the client: talk.server. */
static void talk_split(void)
{
    talk.server = talk.options.kcp;
    talk.options.server = &talk.server;
}

static void talk_send(unsigned sender, uint32_t count)
{
    static uint8_t bytes[LENGTH_MAX];
    for (uint32_t i = 0; i < count; i++) {
        uint32_t index = talk.sent[sender];
        for (size_t k = 0; k < length_of(index); k++) {
            bytes[k] = byte_of(index, k, sender);
        }
        while (weir_kcp_send(talk.pair.hosts[sender].conn, bytes, length_of(index)) ==
               WEIR_ERR_FULL) {
            kcp_pair_run(&talk.pair, talk.pair.now + 5 * WEIR_MSEC);
        }
        talk.sent[sender]++;
    }
}

static void talk_wait(unsigned sender)
{
    weir_nsec limit = talk.pair.now + 1000 * WEIR_SEC;
    while (talk.got[sender] < talk.sent[sender] && talk.pair.now < limit) {
        kcp_pair_run(&talk.pair, talk.pair.now + 50 * WEIR_MSEC);
    }
    assert_int_equal(talk.got[sender], talk.sent[sender]);
}

static const struct weir_kcp_stats *stats_of(unsigned host)
{
    return weir_kcp_stats(talk.pair.hosts[host].kcp);
}

static uint64_t resent(void)
{
    return stats_of(0)->resent_fast + stats_of(0)->resent_timeout;
}

static void set_key(struct weir_kcp_config *config, const char *phrase)
{
    weir_kcp_key(weir_span_of(phrase, strlen(phrase)), config->key);
}

static void the_loop_is_told_figures(void **state)
{
    (void)state;
    talk_defaults();
    talk_open();
    talk_send(0, 20);
    talk_wait(0);
    talk_send(1, 20);
    talk_wait(1);
    kcp_pair_run(&talk.pair, talk.pair.now + WEIR_SEC);
    struct weir_figures sums[2];
    for (unsigned i = 0; i < 2; i++) {
        sums[i] = figures_check(weir_kcp_verbs(), talk.pair.hosts[i].kcp, stats_of(i)->drops,
                                WEIR_KCP_DROP_COUNT);
    }
    assert_int_equal(sums[0].bytes_sent, sums[1].bytes_received);
    assert_int_equal(sums[0].packets_sent, sums[1].packets_received);
    assert_true(sums[0].rtt > 0);
    assert_int_equal(sums[0].packets_lost, resent());
    kcp_pair_close(&talk.pair);
}

static void every_cipher_carries_messages_both_ways(void **state)
{
    (void)state;
    for (int cipher = 0; cipher < WEIR_KCP_CIPHER_COUNT; cipher++) {
        talk_defaults();
        talk.options.kcp.cipher = (enum weir_kcp_cipher)cipher;
        talk.options.link.loss_ppm = 20000;
        set_key(&talk.options.kcp, "a phrase");
        talk_open();
        talk_send(0, 60);
        talk_wait(0);
        talk_send(1, 60);
        talk_wait(1);
        for (unsigned i = 0; i < 2; i++) {
            assert_int_equal(stats_of(i)->drops[WEIR_KCP_DROP_FORGED], 0);
            assert_int_equal(stats_of(i)->drops[WEIR_KCP_DROP_COMMAND], 0);
            assert_int_equal(talk.pair.hosts[i].base.longest_sent,
                             talk.options.kcp.tuning.mtu_bytes);
        }
        kcp_pair_close(&talk.pair);
    }
}

static void another_key_gets_nothing_through(void **state)
{
    (void)state;
    for (int cipher = WEIR_KCP_CIPHER_NONE + 1; cipher < WEIR_KCP_CIPHER_COUNT; cipher++) {
        talk_defaults();
        talk.options.kcp.cipher = (enum weir_kcp_cipher)cipher;
        set_key(&talk.options.kcp, "a phrase");
        talk_split();
        set_key(&talk.server, "another");
        talk_open();
        talk_send(0, 5);
        kcp_pair_run(&talk.pair, talk.pair.now + 2 * WEIR_SEC);
        assert_int_equal(talk.got[0], 0);
        assert_int_equal(talk.requests, 0);
        assert_true(stats_of(1)->datagrams_received > 0);
        assert_int_equal(stats_of(1)->drops[WEIR_KCP_DROP_FORGED], stats_of(1)->datagrams_received);
        assert_int_equal(stats_of(1)->sessions, 0);
        kcp_pair_close(&talk.pair);
    }
}

static void a_cipher_hides_what_is_sent(void **state)
{
    (void)state;
    static const char secret[] = "nobody else may read this here";
    for (int cipher = 0; cipher < WEIR_KCP_CIPHER_COUNT; cipher++) {
        struct weir_transmit transmit;
        solo_defaults();
        solo.config.cipher = (enum weir_kcp_cipher)cipher;
        set_key(&solo.config, "a phrase");
        solo_open();
        solo_connect();
        assert_int_equal(weir_kcp_send(solo.conn, secret, sizeof(secret)), WEIR_OK);
        struct weir_tx tx = {.buffer = solo.tx_buffer,
                             .buffer_bytes = sizeof(solo.tx_buffer),
                             .transmits = &transmit,
                             .transmits_max = 1};
        assert_int_equal(weir_kcp_output(solo.kcp, solo.now, &tx), WEIR_AGAIN);
        bool is_clear = memmem(tx.buffer, tx.used_bytes, secret, sizeof(secret)) != NULL;
        assert_int_equal(is_clear, cipher <= WEIR_KCP_CIPHER_NONE);
        weir_kcp_fini(solo.kcp);
        solo_close();
    }
}

static void fini_wipes_the_key(void **state)
{
    (void)state;
    solo_defaults();
    solo.config.cipher = WEIR_KCP_CIPHER_AES_256;
    set_key(&solo.config, "a phrase");
    solo_open();
    size_t crypt_bytes = weir_kcp_crypt_size();
    const uint8_t *crypt = (const uint8_t *)solo.kcp->crypt;
    assert_null(memmem(solo.kcp, sizeof(*solo.kcp), solo.config.key, WEIR_KCP_KEY_BYTES));
    assert_non_null(memmem(crypt, crypt_bytes, solo.config.key, 16)); /* AES's first round key */
    weir_kcp_fini(solo.kcp);
    assert_null(memmem(solo.mem, solo.mem_bytes, solo.config.key, 16));
    for (size_t i = 0; i < sizeof(*solo.kcp); i++) {
        assert_int_equal(((const uint8_t *)solo.kcp)[i], 0); /* the generator of nonces too */
    }
    solo_close();
}

/* --- FEC -------------------------------------------------------------------------------------- */

static uint64_t resent_at_loss(uint16_t data, uint16_t parity)
{
    talk_defaults();
    talk.options.link.loss_ppm = 50000;
    talk.options.link.delay = 50 * WEIR_MSEC;
    if (data > 0) {
        use_fec(&talk.options.kcp, data, parity);
    }
    talk_open();
    talk_send(0, 400);
    talk_wait(0);
    uint64_t count = resent();
    if (data > 0) {
        assert_true(stats_of(1)->fec.recovered > 50);
        assert_true(stats_of(0)->fec.parity_sent >= stats_of(0)->fec.data_sent / data * parity);
    } else {
        assert_int_equal(stats_of(1)->fec.recovered, 0);
    }
    kcp_pair_close(&talk.pair);
    return count;
}

static void fec_spares_resends(void **state)
{
    (void)state;
    uint64_t without = resent_at_loss(0, 0);
    uint64_t with = resent_at_loss(GROUP_DATA, GROUP_PARITY);
    assert_true(without > 50);
    assert_true(with < without / 2);
}

static void a_receiver_finds_out_the_groups(void **state)
{
    (void)state;
    static const uint16_t others[][2] = {{0, 0}, {5, 2}, {20, 10}};
    for (unsigned i = 0; i < 3; i++) {
        talk_defaults();
        talk.options.link.loss_ppm = 50000;
        use_fec(&talk.options.kcp, GROUP_DATA, GROUP_PARITY);
        talk_split();
        use_fec(&talk.server, others[i][0], others[i][1]);
        talk_open();
        talk_send(0, 200);
        talk_wait(0);
        assert_true(stats_of(1)->fec.tunings >= 1);
        assert_true(stats_of(1)->fec.recovered > 20);
        kcp_pair_close(&talk.pair);
    }
}

static void fec_with_a_cipher_recovers(void **state)
{
    (void)state;
    talk_defaults();
    talk.options.link.loss_ppm = 50000;
    talk.options.kcp.cipher = WEIR_KCP_CIPHER_AES_128_GCM;
    use_fec(&talk.options.kcp, GROUP_DATA, GROUP_PARITY);
    talk_open();
    talk_send(0, 200);
    talk_wait(0);
    talk_send(1, 200);
    talk_wait(1);
    assert_true(stats_of(0)->fec.recovered > 20);
    assert_true(stats_of(1)->fec.recovered > 20);
    kcp_pair_close(&talk.pair);
}

/* Sent without FEC there, by sessions that conv and address name. */
static void data_packets_are_read_without_fec(void **state)
{
    (void)state;
    talk_defaults();
    use_fec(&talk.options.kcp, GROUP_DATA, GROUP_PARITY);
    talk_split();
    use_fec(&talk.server, 0, 0);
    talk.server.is_fec = false;
    talk.server.address_policy = WEIR_KCP_ADDRESS_STRICT;
    talk_open();
    talk_send(0, 100);
    talk_wait(0);
    assert_int_equal(resent(), 0);
    assert_true(stats_of(0)->fec.parity_sent > 30);
    assert_int_equal(stats_of(1)->drops[WEIR_KCP_DROP_PARITY], stats_of(0)->fec.parity_sent);
    kcp_pair_close(&talk.pair);
}

static void datagrams_are_as_long_as_the_mtu(void **state)
{
    (void)state;
    static const uint16_t mtus[] = {100, 1400, 1500};
    for (unsigned i = 0; i < 3 * 3 * 2; i++) {
        talk_defaults();
        talk.options.kcp.tuning.mtu_bytes = mtus[i % 3];
        talk.options.kcp.tuning.fragments_max = WEIR_KCP_FRAGMENTS_MAX;
        talk.options.kcp.tuning.is_stream = false;
        talk.options.kcp.cipher = (enum weir_kcp_cipher[]){
            WEIR_KCP_CIPHER_NIL, WEIR_KCP_CIPHER_NONE, WEIR_KCP_CIPHER_AES_256_GCM}[i / 3 % 3];
        if (i >= 9) {
            use_fec(&talk.options.kcp, GROUP_DATA, GROUP_PARITY);
        }
        talk_open();
        talk_send(0, 6); /* the last is the longest */
        talk_wait(0);
        assert_int_equal(talk.pair.hosts[0].base.longest_sent, mtus[i % 3]);
        assert_true(talk.pair.hosts[1].base.longest_sent <= mtus[i % 3]);
        kcp_pair_close(&talk.pair);
    }
}

static void the_smallest_mtu_leaves_room_for_the_layers(void **state)
{
    (void)state;
    talk_defaults();
    talk.options.kcp.tuning.mtu_bytes = WEIR_KCP_MTU_MIN;
    talk.options.kcp.cipher = WEIR_KCP_CIPHER_AES_128;
    use_fec(&talk.options.kcp, GROUP_DATA, GROUP_PARITY);
    talk_open();
    talk_send(0, 2);
    talk_wait(0);
    assert_int_equal(talk.pair.hosts[0].base.longest_sent, WEIR_KCP_MTU_MIN + 20 + FEC_OVERHEAD);
    kcp_pair_close(&talk.pair);
}

/* Output has room for a datagram or two at a time. */
static void parity_waits_for_room(void **state)
{
    (void)state;
    talk_defaults();
    use_fec(&talk.options.kcp, 4, GROUP_PARITY);
    talk_open();
    talk.pair.hosts[0].base.tx_bytes = 1600;
    talk_send(0, 100);
    talk_wait(0);
    const struct weir_kcp_fec_stats *fec = &stats_of(0)->fec;
    assert_int_equal(fec->parity_skipped, 0);
    assert_int_equal(fec->parity_sent, fec->data_sent / 4 * GROUP_PARITY);
    assert_true(fec->parity_sent > 100);
    kcp_pair_close(&talk.pair);
}

static const struct fec_memory *memory_of(unsigned host)
{
    const struct weir_kcp_conn *conn = talk.pair.hosts[host].conn;
    return &talk.pair.hosts[host].kcp->fec_memory[weir_kcp_conn_index(conn)];
}

static void a_group_may_be_slept_through(void **state)
{
    (void)state;
    talk_defaults();
    use_fec(&talk.options.kcp, GROUP_DATA, GROUP_PARITY);
    talk_split();
    use_fec(&talk.server, 0, 0);
    talk_open();
    talk_send(0, 50);
    talk_wait(0);
    kcp_pair_run(&talk.pair, talk.pair.now + 20 * WEIR_SEC);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(stats_of(i)->awake, 0);
        assert_int_equal(talk.pair.hosts[i].kcp->fec->buffers.used, 0);
    }
    uint32_t seqid = memory_of(0)->seqid;
    assert_true(seqid >= stats_of(0)->fec.data_sent + stats_of(0)->fec.parity_sent);
    assert_int_equal(seqid % (GROUP_DATA + GROUP_PARITY), 0);
    assert_true(stats_of(0)->fec.data_sent % GROUP_DATA != 0); /* else it shows nothing */
    assert_true(stats_of(0)->fec.parity_skipped > 0);
    assert_int_equal(stats_of(1)->fec.tunings, 1);
    assert_int_equal(memory_of(1)->groups.data, GROUP_DATA);
    assert_int_equal(memory_of(1)->groups.parity, GROUP_PARITY);

    struct weir_sim_link lossy = talk.options.link;
    lossy.loss_ppm = 50000;
    assert_int_equal(weir_sim_set_link(talk.pair.sim, talk.pair.hosts[0].base.driver,
                                       talk.pair.hosts[1].base.driver, &lossy),
                     WEIR_OK);
    talk_send(0, 100);
    talk_wait(0);
    assert_true(stats_of(1)->fec.recovered > 10);
    assert_int_equal(stats_of(1)->fec.tunings, 1); /* what it had found out it still knew */
    kcp_pair_close(&talk.pair);
}

static void the_config_of_layers_has_bounds(void **state)
{
    (void)state;
    solo_defaults();
    solo_open();
    struct weir_kcp_config config = solo.config;
    config.is_fec = true;
    assert_int_equal(weir_kcp_mem_size(&config), 0); /* policy strict */
    use_fec(&config, 10, 3);
    assert_true(weir_kcp_mem_size(&config) > weir_kcp_mem_size(&solo.config));
    use_fec(&config, 0, 3);
    assert_int_equal(weir_kcp_mem_size(&config), 0);
    use_fec(&config, 200, 57);
    assert_int_equal(weir_kcp_mem_size(&config), 0);
    use_fec(&config, 200, 56);
    assert_true(weir_kcp_mem_size(&config) > 0);
    config = solo.config;
    config.cipher = WEIR_KCP_CIPHER_COUNT;
    assert_int_equal(weir_kcp_mem_size(&config), 0);
    solo_close();
}

/* --- datagrams made by hand ------------------------------------------------------------------- */

static void put16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

/* What is in solo.in gets a FEC header in front, whose size is too large by excess. */
static void wrap(uint32_t seqid, uint16_t type, uint32_t excess)
{
    memmove(solo.in + FEC_OVERHEAD, solo.in, solo.in_bytes);
    put16(solo.in, seqid);
    put16(solo.in + 2, seqid >> 16);
    put16(solo.in + 4, type);
    put16(solo.in + 6, solo.in_bytes + 2 + excess);
    solo.in_bytes += FEC_OVERHEAD;
}

static void open_fec_solo(uint16_t data, uint16_t parity)
{
    solo_defaults();
    solo.config.is_accepting = true;
    use_fec(&solo.config, data, parity);
    solo_open();
}

static void a_data_packet_may_begin_a_session_and_parity_not(void **state)
{
    (void)state;
    open_fec_solo(1, 1);
    solo_add_push(0, 0, "hello");
    wrap(1, WEIR_KCP_FEC_PARITY, 0);
    solo_deliver();
    assert_int_equal(solo_drops(WEIR_KCP_DROP_PARITY), 1);
    assert_int_equal(solo.requests, 0);
    solo_add_push(0, 0, "hello");
    wrap(0, WEIR_KCP_FEC_OUT_OF_BAND, 0);
    solo_deliver();
    assert_int_equal(solo_drops(WEIR_KCP_DROP_PARITY), 2);
    solo_add_push(0, 0, "hello");
    wrap(0, WEIR_KCP_FEC_DATA, 1);
    solo_deliver();
    assert_int_equal(solo_drops(WEIR_KCP_DROP_FEC), 1);
    assert_int_equal(solo.requests, 0);
    solo_add_push(0, 0, "hello");
    wrap(0, WEIR_KCP_FEC_DATA, 0);
    solo_deliver();
    assert_int_equal(solo.requests, 1);
    assert_int_equal(solo.messages, 1);
    assert_memory_equal(solo.got, "hello", 5);
    solo_close();
}

/* The session begins with sn 0, and its decoder sees that groups are of one data packet and one
 * parity packet, which is then what the data packet was; with the fourth packet it knows, and makes
 * the third of it again. The next number is 6. */
static void begin_in_pairs(void)
{
    for (uint32_t seqid = 0; seqid < 5; seqid++) {
        solo_add_push(0, 0, "a");
        wrap(seqid, seqid % 2 == 0 ? WEIR_KCP_FEC_DATA : WEIR_KCP_FEC_PARITY, 0);
        solo_deliver();
    }
}

static void what_is_recovered_stays_in_its_session(void **state)
{
    (void)state;
    open_fec_solo(0, 0);
    begin_in_pairs();
    assert_int_equal(solo.messages, 1);
    assert_int_equal(weir_kcp_stats(solo.kcp)->fec.tunings, 1);
    solo_add_push(1, 0, "b");
    wrap(7, WEIR_KCP_FEC_PARITY, 0);
    solo_deliver();
    assert_int_equal(solo.messages, 2);
    assert_int_equal(weir_kcp_stats(solo.kcp)->fec.recovered, 2);

    solo_add_push(0, 0, "c");
    solo.in[0] ^= 1; /* another conv: as a datagram of its own it would end the session */
    wrap(9, WEIR_KCP_FEC_PARITY, 0);
    solo_deliver();
    assert_int_equal(weir_kcp_stats(solo.kcp)->fec.recovered, 3);
    assert_int_equal(solo_drops(WEIR_KCP_DROP_CONV), 1);
    assert_int_equal(solo.closed, 0);
    solo_close();
}

/* A decoder that took the peer's groups to be like its own (1 and 1) would make a segment of the
 * parity of other groups. */
static void the_groups_are_not_guessed(void **state)
{
    (void)state;
    open_fec_solo(1, 1);
    solo_add_push(0, 0, "a");
    wrap(0, WEIR_KCP_FEC_DATA, 0);
    solo_deliver();
    solo_add_push(1, 0, "b");
    wrap(3, WEIR_KCP_FEC_PARITY, 0);
    solo_deliver();
    assert_int_equal(weir_kcp_stats(solo.kcp)->fec.recovered, 0);
    assert_int_equal(weir_kcp_stats(solo.kcp)->fec.ignored_unknown, 2);
    assert_int_equal(solo.messages, 1);
    solo_close();
}

/* What was brought back is late: it is no measure of the path, nor of the peer's room. */
static void what_is_recovered_is_stale(void **state)
{
    (void)state;
    open_fec_solo(0, 0);
    solo_connect();
    assert_int_equal(weir_kcp_send(solo.conn, "x", 1), WEIR_OK);
    begin_in_pairs();
    solo_output();
    const struct awake *awake = weir_kcp_awake_of(solo.conn);
    assert_int_equal(awake->snd_nxt - awake->snd_una, 1);
    uint32_t sent_ms = solo_ms();
    solo.now += 70 * WEIR_MSEC;
    solo_add_ack(0, sent_ms, 0, 5);
    wrap(7, WEIR_KCP_FEC_PARITY, 0);
    solo_deliver();
    assert_int_equal(awake->snd_nxt - awake->snd_una, 0);
    assert_int_equal(awake->srtt_ms, 0);
    assert_int_equal(awake->peer_window, 128);
    solo_close();
}

/* Nor is it the header that those of the next segments are compared with. */
static void what_is_recovered_hides_no_window(void **state)
{
    (void)state;
    open_fec_solo(0, 0);
    begin_in_pairs();
    const struct awake *awake = weir_kcp_awake_of(solo.conn);
    struct weir_kcp_segment push = {
        .conv = SOLO_CONV, .cmd = WEIR_KCP_PUSH, .sn = 1, .wnd = 0, .data = weir_span_of("b", 1)};
    solo_add(&push);
    wrap(6, WEIR_KCP_FEC_DATA, 0);
    solo_deliver();
    assert_int_equal(awake->peer_window, 0);
    push.sn = 2;
    push.wnd = 90;
    solo_add(&push);
    wrap(9, WEIR_KCP_FEC_PARITY, 0);
    solo_deliver();
    assert_int_equal(solo.messages, 3);
    assert_int_equal(awake->peer_window, 0);
    push.sn = 3;
    solo_add(&push);
    wrap(10, WEIR_KCP_FEC_DATA, 0);
    solo_deliver();
    assert_int_equal(solo.messages, 4);
    assert_int_equal(awake->peer_window, 90);
    solo_close();
}

/* Its bytes lie in a buffer of the decoder until the next event. */
static void what_is_recovered_keeps_its_session_awake(void **state)
{
    (void)state;
    uint8_t bytes[2][64];
    struct weir_packet packets[2];
    struct weir_kcp_event event;
    struct weir_kcp_conn *other;
    struct weir_addr remote;
    solo_defaults();
    solo.config.is_accepting = true;
    solo.config.awake_max = 1;
    use_fec(&solo.config, 0, 0);
    solo_open();
    begin_in_pairs();
    for (uint32_t i = 0; i < 2; i++) {
        solo_add_push(1 + i, 0, "b");
        wrap(6 + 3 * i, i == 0 ? WEIR_KCP_FEC_DATA : WEIR_KCP_FEC_PARITY, 0);
        memcpy(bytes[i], solo.in, solo.in_bytes);
        packets[i] =
            (struct weir_packet){.data = bytes[i], .length = solo.in_bytes, .path = &solo.path};
        solo.in_bytes = 0;
    }
    weir_kcp_input(solo.kcp, solo.now, packets, 2);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(weir_kcp_event(solo.kcp, &event), WEIR_OK);
        assert_int_equal(event.type, WEIR_KCP_EVENT_MESSAGE);
    }
    struct weir_transmit transmit;
    struct weir_tx tx = {.buffer = solo.tx_buffer,
                         .buffer_bytes = sizeof(solo.tx_buffer),
                         .transmits = &transmit,
                         .transmits_max = 1};
    weir_kcp_flush(event.conn);
    assert_int_equal(weir_kcp_output(solo.kcp, solo.now, &tx), WEIR_AGAIN);
    assert_int_equal(weir_addr_parse("10.0.0.7:7", &remote), WEIR_OK);
    assert_int_equal(weir_kcp_connect(solo.kcp, solo.now, &remote, 1, NULL, &other), WEIR_OK);
    assert_int_equal(weir_kcp_send(other, "x", 1), WEIR_ERR_FULL);
    assert_memory_equal(event.message.spans[0].data, "b", 1);
    assert_int_equal(weir_kcp_event(solo.kcp, &event), WEIR_AGAIN);
    assert_int_equal(weir_kcp_send(other, "x", 1), WEIR_OK); /* now the first one sleeps */
    solo_close();
}

static void a_request_feeds_no_decoder(void **state)
{
    (void)state;
    open_fec_solo(2, 1);
    solo.is_accepted = false;
    solo_add_push(0, 0, "a");
    wrap(0, WEIR_KCP_FEC_DATA, 0);
    solo_deliver();
    assert_int_equal(solo.requests, 1);
    solo_add_push(0, 0, "a");
    wrap(2, WEIR_KCP_FEC_PARITY, 0);
    solo_deliver();
    assert_int_equal(solo_drops(WEIR_KCP_DROP_PARITY), 1);
    assert_int_equal(weir_kcp_stats(solo.kcp)->fec.data_received, 0);
    weir_kcp_accept(solo.conn, NULL);
    solo_add_push(1, 0, "b");
    wrap(3, WEIR_KCP_FEC_DATA, 0);
    solo_deliver();
    assert_int_equal(solo.messages, 2);
    assert_int_equal(weir_kcp_stats(solo.kcp)->fec.data_received, 1);
    solo_close();
}

/* The session ends while a packet of its waits for the decoder, and while recovered ones are read.
 */
static void a_session_may_end_between_packet_and_decoder(void **state)
{
    (void)state;
    open_fec_solo(0, 0);
    for (unsigned i = 0; i < 2; i++) {
        struct weir_kcp_event event;
        begin_in_pairs();
        assert_int_equal(weir_kcp_stats(solo.kcp)->fec.tunings, i + 1); /* each anew */
        uint64_t fed = weir_kcp_stats(solo.kcp)->fec.data_received;
        solo_add_push(1, 0, "b");
        wrap(6 + i, i == 0 ? WEIR_KCP_FEC_DATA : WEIR_KCP_FEC_PARITY, 0);
        memcpy(solo.tx_buffer, solo.in, solo.in_bytes);
        struct weir_packet packet = {
            .data = solo.tx_buffer, .length = solo.in_bytes, .path = &solo.path};
        solo.in_bytes = 0;
        weir_kcp_input(solo.kcp, solo.now, &packet, 1);
        assert_int_equal(weir_kcp_event(solo.kcp, &event), WEIR_OK);
        assert_int_equal(event.type, WEIR_KCP_EVENT_MESSAGE);
        weir_kcp_abort(event.conn);
        assert_memory_equal(event.message.spans[0].data, "b", 1); /* borrowed until the next */
        assert_int_equal(weir_kcp_event(solo.kcp, &event), WEIR_OK);
        assert_int_equal(event.type, WEIR_KCP_EVENT_CLOSED);
        solo_connect(); /* in its place, and awake */
        assert_int_equal(weir_kcp_send(solo.conn, "c", 1), WEIR_OK);
        assert_int_equal(weir_kcp_event(solo.kcp, &event), WEIR_AGAIN);
        assert_int_equal(weir_kcp_stats(solo.kcp)->fec.data_received, fed);
        weir_kcp_abort(solo.conn);
        solo_drain();
        assert_int_equal(solo.kcp->fec->buffers.used, 0);
        assert_int_equal(weir_kcp_stats(solo.kcp)->sessions, 0);
    }
    solo_close();
}

static void garbage_in_a_crypto_header_is_counted(void **state)
{
    (void)state;
    solo_defaults();
    solo.config.cipher = WEIR_KCP_CIPHER_AES_128;
    solo_open();
    solo.in_bytes = 19;
    solo_deliver();
    assert_int_equal(solo_drops(WEIR_KCP_DROP_TRUNCATED), 1);
    solo.in_bytes = 200;
    solo_deliver();
    assert_int_equal(solo_drops(WEIR_KCP_DROP_FORGED), 1);
    solo_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_loop_is_told_figures),
        cmocka_unit_test(every_cipher_carries_messages_both_ways),
        cmocka_unit_test(another_key_gets_nothing_through),
        cmocka_unit_test(a_cipher_hides_what_is_sent),
        cmocka_unit_test(fini_wipes_the_key),
        cmocka_unit_test(fec_spares_resends),
        cmocka_unit_test(a_receiver_finds_out_the_groups),
        cmocka_unit_test(fec_with_a_cipher_recovers),
        cmocka_unit_test(data_packets_are_read_without_fec),
        cmocka_unit_test(datagrams_are_as_long_as_the_mtu),
        cmocka_unit_test(the_smallest_mtu_leaves_room_for_the_layers),
        cmocka_unit_test(parity_waits_for_room),
        cmocka_unit_test(a_group_may_be_slept_through),
        cmocka_unit_test(the_config_of_layers_has_bounds),
        cmocka_unit_test(a_data_packet_may_begin_a_session_and_parity_not),
        cmocka_unit_test(what_is_recovered_stays_in_its_session),
        cmocka_unit_test(what_is_recovered_is_stale),
        cmocka_unit_test(what_is_recovered_hides_no_window),
        cmocka_unit_test(what_is_recovered_keeps_its_session_awake),
        cmocka_unit_test(the_groups_are_not_guessed),
        cmocka_unit_test(a_request_feeds_no_decoder),
        cmocka_unit_test(a_session_may_end_between_packet_and_decoder),
        cmocka_unit_test(garbage_in_a_crypto_header_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
