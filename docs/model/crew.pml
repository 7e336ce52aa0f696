/* SPDX-License-Identifier: MIT */
/*
 * crew.pml - the hand-over of shards and queues between workers when their number changes.
 *
 * What is modelled: three workers, five shards (partitions of the connections), three queues of the
 * kernel (sockets, tun queues), a byte ring from each worker to each other, and a coordinator that changes
 * the number of workers RESIZES times, each time to any other number. What others can see of a worker's
 * step is one atomic step here; the steps come in any order that their guards allow.
 *
 * With -DSTEERED the kernel puts each shard's packets into the queue that the shard was given last, and STRAYS
 * packets into any queue; without, each queue carries the same shards for ever. With -DESCAPE too, order is
 * not claimed, and a worker may let go although its queue is not empty, as it does when it waited for too long.
 *
 * What is claimed: no packet is lost, handled twice or overtaken within its shard; no shard and no queue
 * ever has two workers; nobody waits for ever (there is no invalid end state).
 *
 * tools/model.sh runs it; docs/model/README.md says what it leaves out.
 */
#ifndef RESIZES
#define RESIZES 2
#endif
#ifndef RING
#define RING 1 /* packets or fences that a ring holds, 1 or 2 */
#endif
#ifndef PACKETS
#define PACKETS 1 /* of each shard */
#endif
#ifndef STRAYS
#define STRAYS 1 /* packets of shard 4, in no order, STEERED */
#endif
#define WORKERS 3
#define SHARDS 5
#define QUEUES 3
#define NOBODY 7
#define NONE 255
#define FENCE 128 /* + epoch; below it a packet: shard * 8 + its number within the shard */
#define STRAY (4 * 8 + 7)

/* The control word: written by the coordinator alone, whole. */
byte epoch = 1;
byte old_n = 1;
byte new_n = 1;
/* The last epoch that a worker has finished: written by it alone. */
byte finished[WORKERS];

/* A ring holds one or two: packets, or fences. Variables, so that a guard can look at the first. */
byte first[9] = NONE;
byte second[9] = NONE;
#define TO(from, to) ((from) * WORKERS + (to))
#define HAS_ROOM(r) (first[r] == NONE || (RING > 1 && second[r] == NONE))
#define PUSH(r, x) if :: first[r] == NONE -> first[r] = x :: else -> second[r] = x fi
#define POP(r) first[r] = second[r]; second[r] = NONE

/* How many packets were read from each queue. A packet that nobody has read might as well not have
 * arrived yet, so all of them are there from the start. */
byte taken_of[QUEUES];

bool is_alive[WORKERS]; /* started and not ended */
bool is_over = false;   /* no further resize comes */

/* A worker's knowledge of what it has; together, for the assertions. */
byte holder[SHARDS];
byte reader[QUEUES];
byte handled[SHARDS];
byte total = 0;

#define OWNER(s, n) ((n) == 1 -> 0 : (((n) == 2 || (s) != 4) -> (s) % 2 : 2))
#define READER(q, n) ((q) < (n) -> (q) : (q) % (n))

#ifdef STEERED
/* What waits in a queue, and the queue of each shard: the table in the kernel. A packet that does not fit
 * has not arrived yet. Only shards 1 and 4 get any: those that move, each to another worker. */
#define QUEUE_MAX 2
#define TOTAL (2 * PACKETS + STRAYS)
chan waiting[QUEUES] = [QUEUE_MAX] of {byte};
byte steering[SHARDS];
byte arrived[SHARDS];
byte strays = 0;
#define IS_LEFT(q) (len(waiting[q]) > 0)
#define TAKE_NEXT(q) waiting[q] ? hand
/* Our own queue is read until we have let go. */
#define IS_READ(q) (READER(q, n) == me || ((q) == me && finished[me] != seen))
#define IS_STRAY(packet) ((packet) == STRAY)
#define STEER(s) if :: holder[s] == me && OWNER(s, n) != me -> steering[s] = OWNER(s, n); \
    is_drained = false :: else fi
#else
/* Queue q carries the shards q, q + QUEUES ..., one packet of each in turn. */
#define SHARDS_OF(q) ((SHARDS - (q) + QUEUES - 1) / QUEUES)
#define TOTAL (SHARDS * PACKETS)
#define IS_LEFT(q) (taken_of[q] < SHARDS_OF(q) * PACKETS)
#define NEXT(q) (((q) + QUEUES * (taken_of[q] % SHARDS_OF(q))) * 8 + taken_of[q] / SHARDS_OF(q))
#define TAKE_NEXT(q) hand = NEXT(q); taken_of[q]++
#define IS_READ(q) (READER(q, n) == me)
#define IS_STRAY(packet) false
#endif

/* All packets before it were handled, and it was not. */
#ifdef ESCAPE
/* A bit each. */
#define NOTE_HANDLED(s, number) \
    assert(!BIT(handled[s], number)); \
    handled[s] = handled[s] | (1 << (number))
#else
#define NOTE_HANDLED(s, number) \
    assert(handled[s] == (number)); \
    handled[s]++
#endif
#define HANDLE(packet) \
    assert(holder[(packet) / 8] == me); \
    if \
    :: IS_STRAY(packet) -> skip \
    :: else -> NOTE_HANDLED((packet) / 8, (packet) % 8) \
    fi; \
    total++

#define BIT(set, i) (((set) >> (i)) & 1)
#define IS_GAINED(packet) BIT(gained, (packet) / 8)
/* May it be handled here and now? Not before those that are parked. */
#define IS_MINE(packet) (holder[(packet) / 8] == me && (parked == NONE || !IS_GAINED(packet)))

/* Queues that we are to lose are not read any more. */
#define READ_QUEUE(q) \
    :: atomic { hand == NONE && reader[q] == me && IS_READ(q) && IS_LEFT(q) -> TAKE_NEXT(q) }

#define SEND_FENCE(i) \
    :: atomic { BIT(fences_out, i) && HAS_ROOM(TO(me, i)) -> \
            PUSH(TO(me, i), FENCE + seen); fences_out = fences_out & ~(1 << i) }

/* The first of the ring from worker i: a fence of our epoch, or a packet that is ours or will be. Anything
 * else stays there: a fence of the next epoch until we have seen that too. */
#define HEAD(i) first[TO(i, me)]
#define READ_RING(i) \
    :: atomic { HEAD(i) == FENCE + seen -> POP(TO(i, me)); fences_in = fences_in & ~(1 << i) } \
    :: atomic { HEAD(i) < FENCE && IS_MINE(HEAD(i)) -> HANDLE(HEAD(i)); POP(TO(i, me)) } \
    :: atomic { HEAD(i) < FENCE && !IS_MINE(HEAD(i)) && parked == NONE -> \
            assert(IS_GAINED(HEAD(i))); parked = HEAD(i); POP(TO(i, me)) }

/* Taken when the worker before has let go. */
#define TAKE_SHARD(s) \
    :: atomic { BIT(gained, s) && holder[s] != me && finished[OWNER(s, before)] >= seen -> \
            assert(holder[s] == NOBODY); holder[s] = me }
#ifdef STEERED
/* Shards 1 and 3 have the same owners, always, and 3 gets no packets: they are taken together. */
#define TAKE_ODD \
    :: atomic { BIT(gained, 1) && holder[1] != me && finished[OWNER(1, before)] >= seen -> \
            assert(holder[1] == NOBODY && holder[3] == NOBODY); holder[1] = me; holder[3] = me }
#else
#define TAKE_ODD TAKE_SHARD(1) TAKE_SHARD(3)
#endif
/* Not before all have finished: what its reader sent on may still be in a ring to a third one. */
#define ALL_FINISHED \
    (finished[0] >= seen && (before < 2 || finished[1] >= seen) && \
     (before < 3 || finished[2] >= seen))
#define TAKE_QUEUE(q) \
    :: atomic { READER(q, n) == me && reader[q] != me && ALL_FINISHED -> \
            assert(reader[q] == NOBODY); reader[q] = me }
#define HAS(s) (!BIT(gained, s) || holder[s] == me)
#define HAS_ALL (HAS(0) && HAS(1) && HAS(2) && HAS(3) && HAS(4))

#define LET_GO_SHARD(s) \
    if :: holder[s] == me && OWNER(s, n) != me -> holder[s] = NOBODY :: else fi
#define LET_GO_QUEUE(q) \
    if :: reader[q] == me && READER(q, n) != me -> reader[q] = NOBODY :: else fi
#define GAIN(s) if :: OWNER(s, n) == me && holder[s] != me -> gained = gained | (1 << s) :: else fi
#define GAIN_ALL GAIN(0); GAIN(1); GAIN(2); GAIN(3); GAIN(4)
/* Those that were there before, for only they have routed by the old number. */
#define OTHERS(set, i) if :: me != i && i < old_n -> set = set | (1 << i) :: else fi
#ifdef STEERED
/* What cannot be read cannot be emptied. */
#define HAS_QUEUE (reader[me] == me)
/* What it sent on while it emptied its queue is behind its fence. */
#define ARE_RINGS_TAKEN (first[TO(me, 0)] == NONE && first[TO(me, 1)] == NONE && first[TO(me, 2)] == NONE)
#else
#define ARE_RINGS_TAKEN true
#define HAS_QUEUE true
#endif
#define IS_DONE(i) (!is_alive[i] || finished[i] == epoch)

proctype worker(byte me)
{
    byte seen = 0;       /* the epoch whose number of workers we route by */
    byte n = 1;
    byte before = 1;     /* the number of the epoch before */
    byte hand = NONE;    /* read from a queue, without a place yet */
    byte parked = NONE;  /* waits until its shard comes */
    byte fences_out = 0; /* workers to whom our fence must still go, a bit each */
    byte fences_in = 0;  /* workers whose fence must still come */
    byte gained = 0;     /* shards that are to be ours, until what was parked is handled */
    bool is_steered = true;
    bool is_drained = true; /* what was in our queue when we steered has been handled */

    /* Started for this epoch: nothing to let go of, and nobody has routed to us before. */
    atomic {
        seen = epoch;
        n = new_n;
        before = old_n;
        GAIN_ALL;
        finished[me] = seen
    }
    do
    /* (1) Another number of workers. What is in hand was routed by the old one. */
    :: atomic { epoch != seen && hand == NONE && gained == 0 && finished[me] == seen && HAS_QUEUE ->
            seen = epoch;
            n = new_n;
            before = old_n;
            is_steered = false;
            GAIN_ALL;
            OTHERS(fences_in, 0); OTHERS(fences_in, 1); OTHERS(fences_in, 2);
            OTHERS(fences_out, 0); OTHERS(fences_out, 1); OTHERS(fences_out, 2) }
    SEND_FENCE(0)
    SEND_FENCE(1)
    SEND_FENCE(2)
    READ_QUEUE(0)
    READ_QUEUE(1)
    READ_QUEUE(2)

    /* What is in hand is handled, parked or sent on; not sent on before our fence. */
    :: atomic { hand != NONE && IS_MINE(hand) -> HANDLE(hand); hand = NONE }
    :: atomic { hand != NONE && !IS_MINE(hand) && IS_GAINED(hand) && parked == NONE ->
            parked = hand; hand = NONE }
    :: atomic { hand != NONE && holder[hand / 8] != me && !IS_GAINED(hand) &&
            !BIT(fences_out, OWNER(hand / 8, n)) && HAS_ROOM(TO(me, OWNER(hand / 8, n))) ->
            PUSH(TO(me, OWNER(hand / 8, n)), hand); hand = NONE }

    /* (2) All that reached us before the fences, and after. */
    READ_RING(0)
    READ_RING(1)
    READ_RING(2)

#ifdef STEERED
    /* (3) From now on the new owners' queues get the packets; ours is read until it has been empty once. */
    :: atomic { finished[me] != seen && fences_out == 0 && fences_in == 0 && !is_steered ->
            STEER(0); STEER(1); STEER(2); STEER(3); STEER(4);
            is_steered = true }
    :: atomic { is_steered && !is_drained && len(waiting[me]) == 0 &&
            (hand == NONE || holder[hand / 8] != me) ->
            is_drained = true }
#ifdef ESCAPE
    /* Or for so long there was no room for what is in hand that order yields. */
    :: atomic { is_steered && !is_drained && hand != NONE && holder[hand / 8] != me ->
            is_drained = true }
#endif
#else
#define is_steered true
#define is_drained true
#endif
    /* (3), (4) The old routing brings nothing any more: let go. */
    :: atomic { finished[me] != seen && fences_out == 0 && fences_in == 0 && is_steered &&
            is_drained ->
            LET_GO_SHARD(0); LET_GO_SHARD(1); LET_GO_SHARD(2); LET_GO_SHARD(3); LET_GO_SHARD(4);
            LET_GO_QUEUE(0); LET_GO_QUEUE(1); LET_GO_QUEUE(2);
            finished[me] = seen }
    TAKE_SHARD(0)
    TAKE_ODD
    TAKE_SHARD(2)
    TAKE_SHARD(4)
    TAKE_QUEUE(0)
    TAKE_QUEUE(1)
    TAKE_QUEUE(2)
    :: atomic { parked != NONE && holder[parked / 8] == me -> HANDLE(parked); parked = NONE }
    :: atomic { gained != 0 && parked == NONE && HAS_ALL -> gained = 0 }

    /* One too many, and it has let go of everything. */
    :: atomic { me >= n && finished[me] == seen && hand == NONE && ARE_RINGS_TAKEN ->
            assert(HEAD(0) == NONE && HEAD(1) == NONE && HEAD(2) == NONE && gained == 0);
            is_alive[me] = false;
            break }
    :: atomic { is_over && total == TOTAL && IS_DONE(0) && IS_DONE(1) && IS_DONE(2) &&
            HEAD(0) == NONE && HEAD(1) == NONE && HEAD(2) == NONE ->
            is_alive[me] = false;
            break }
    od
}

#ifdef STEERED
#define ARRIVE(s) \
    :: atomic { arrived[s] < PACKETS && len(waiting[steering[s]]) < QUEUE_MAX -> \
            waiting[steering[s]] ! (s) * 8 + arrived[s]; arrived[s]++ }
#define STRAY_TO(q) \
    :: atomic { strays < STRAYS && len(waiting[q]) < QUEUE_MAX -> waiting[q] ! STRAY; strays++ }

active proctype kernel()
{
    do
    ARRIVE(1)
    ARRIVE(4)
    STRAY_TO(0)
    STRAY_TO(1)
    STRAY_TO(2)
    :: arrived[1] == PACKETS && arrived[4] == PACKETS && strays == STRAYS -> break
    od
}
#endif

#define START(i) if :: i >= old_n && i < new_n -> is_alive[i] = true; run worker(i) :: else fi

/* The coordinator: nobody else changes the control word. It waits for all workers to finish, and for
 * those that leave to have ended, before it publishes the next number. */
init
{
    byte r = 0;
    byte wanted = 0;

    atomic { is_alive[0] = true; run worker(0) }
    do
    :: r < RESIZES ->
        if
        :: wanted = 1
        :: wanted = 2
        :: wanted = 3
        fi;
        atomic { IS_DONE(0) && IS_DONE(1) && IS_DONE(2) && (!is_alive[1] || new_n > 1) &&
                (!is_alive[2] || new_n > 2) ->
            if
            :: wanted != new_n ->
                old_n = new_n;
                new_n = wanted;
                epoch++;
                START(1);
                START(2)
            :: else -> skip
            fi;
            wanted = 0;
            r++ }
    :: else -> break
    od;
    is_over = true;
    total == TOTAL && !is_alive[0] && !is_alive[1] && !is_alive[2];
    assert(first[1] == NONE && first[2] == NONE && first[3] == NONE && first[5] == NONE &&
           first[6] == NONE && first[7] == NONE)
}
