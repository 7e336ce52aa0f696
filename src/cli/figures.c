/* SPDX-License-Identifier: MIT */
/*
 * figures.c - the figures of a crew: taken, summed, written to JSON and read from it.
 */
#include "cli/figures.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

#define WORKER(member) offsetof(struct weir_crew_worker_stats, member)
#define SHARD(member)  offsetof(struct weir_crew_shard_stats, member)

const struct cli_field cli_worker_fields[CLI_FIGURES_WORKER_FIELDS] = {
    {"running", "running", "1: it runs.", CLI_FIELD_GAUGE, WORKER(started_at)},
    {"shards", "shards", "Shards that it runs.", CLI_FIELD_GAUGE, WORKER(shards)},
    {"connections", "connections", "Connections of its shards.", CLI_FIELD_GAUGE,
     WORKER(connections)},
    {"packets", "packets", "Packets that came by its queues.", CLI_FIELD_COUNTER, WORKER(packets)},
    {"misrouted", "misrouted", "Of these, packets sent on to another worker.", CLI_FIELD_COUNTER,
     WORKER(misrouted)},
    {"taken_in", "taken_in", "Packets that another worker sent here.", CLI_FIELD_COUNTER,
     WORKER(taken_in)},
    {"parked", "parked", "Packets that waited here for their shard.", CLI_FIELD_COUNTER,
     WORKER(parked)},
    {"blocked", "blocked", "Times that a ring or the parking place was full.", CLI_FIELD_COUNTER,
     WORKER(blocked)},
    {"shards_gained", "shards_gained", "Shards taken over.", CLI_FIELD_COUNTER,
     WORKER(shards_gained)},
    {"shards_given", "shards_given", "Shards handed over.", CLI_FIELD_COUNTER,
     WORKER(shards_given)},
    {"undrained", "undrained", "Shards handed over with packets perhaps left in the old queue.",
     CLI_FIELD_COUNTER, WORKER(undrained)},
    {"works", "works", "Pieces of work handed out.", CLI_FIELD_COUNTER, WORKER(works)},
    {"dropped", "dropped", "Packets for another worker that the rings had no room for.",
     CLI_FIELD_COUNTER, WORKER(dropped)},
    {"unsent", "unsent", "Transmits thrown away on leaving.", CLI_FIELD_COUNTER, WORKER(unsent)},
    {"driver_errors", "driver_errors", "Errors of its queues.", CLI_FIELD_COUNTER,
     WORKER(driver_errors)},
    {"rounds", "rounds", "Times that it looked for work.", CLI_FIELD_COUNTER, WORKER(rounds)},
    {"busy_ns", "busy", "Time that it did not wait, since it was started.", CLI_FIELD_COUNTER_NS,
     WORKER(busy)},
    {"busy_permille", "busy_ratio", "Share of time that it did not wait, running mean.",
     CLI_FIELD_GAUGE_MILLI, WORKER(busy_permille)},
    {"queue_length_milli", "queue_length", "Packets found waiting, running mean.",
     CLI_FIELD_GAUGE_MILLI, WORKER(queue_length)},
    {"queue_delay_ns", "queue_delay", "How long packets waited, running mean.", CLI_FIELD_GAUGE_NS,
     WORKER(queue_delay)},
};

const struct cli_field cli_shard_fields[CLI_FIGURES_SHARD_FIELDS] = {
    {"worker", "worker", "The worker that runs it.", CLI_FIELD_GAUGE, SHARD(worker)},
    {"connections", "connections", "Connections.", CLI_FIELD_GAUGE, SHARD(figures.connections)},
    {"awake", "awake_connections", "Connections with anything to do.", CLI_FIELD_GAUGE,
     SHARD(figures.awake)},
    {"packets", "packets", "Packets handed to it.", CLI_FIELD_COUNTER, SHARD(packets)},
    {"busy_ns", "busy", "Time spent in it.", CLI_FIELD_COUNTER_NS, SHARD(busy)},
    {"moves", "moves", "Times that it went to another worker.", CLI_FIELD_COUNTER, SHARD(moves)},
    {"packets_received", "received_packets", "Packets that its connections received.",
     CLI_FIELD_COUNTER, SHARD(figures.packets_received)},
    {"packets_sent", "sent_packets", "Packets that its connections sent.", CLI_FIELD_COUNTER,
     SHARD(figures.packets_sent)},
    {"bytes_received", "received_bytes", "Bytes that its connections received.", CLI_FIELD_COUNTER,
     SHARD(figures.bytes_received)},
    {"bytes_sent", "sent_bytes", "Bytes that its connections sent.", CLI_FIELD_COUNTER,
     SHARD(figures.bytes_sent)},
    {"packets_lost", "lost_packets", "Packets taken for lost, or sent again.", CLI_FIELD_COUNTER,
     SHARD(figures.packets_lost)},
    {"dropped", "dropped_packets", "Packets dropped, for any reason.", CLI_FIELD_COUNTER,
     SHARD(figures.dropped)},
    {"rtt_ns", "rtt", "Round-trip time, running mean over its connections; 0: not known.",
     CLI_FIELD_GAUGE_NS, SHARD(figures.rtt)},
};

static uint64_t word_at(const void *stats, size_t offset)
{
    uint64_t word;
    memcpy(&word, (const char *)stats + offset, sizeof(word));
    return word;
}

uint64_t cli_worker_value(const struct cli_figures *figures, uint32_t worker,
                          const struct cli_field *field)
{
    return word_at(&figures->worker[worker], field->offset);
}

uint64_t cli_shard_value(const struct cli_figures *figures, uint32_t shard,
                         const struct cli_field *field)
{
    return word_at(&figures->shard[shard], field->offset);
}

/* --- taken from the crew ---------------------------------------------------------------------- */

static void take_drops(struct cli_figures *figures, const char *const *names)
{
    struct weir_figures sum;
    cli_figures_sum_shards(figures, &sum);
    figures->drop_count = 0;
    for (uint32_t i = 0; names != NULL && i < CLI_FIGURES_DROPS_MAX && names[i] != NULL; i++) {
        (void)snprintf(figures->drop_names[i], CLI_FIGURES_WORD_BYTES, "%s", names[i]);
        figures->drops[i] = sum.drops[i];
        figures->drop_count++;
    }
}

static void take_pauses(struct cli_figures *figures)
{
    struct weir_crew_worker_stats sum;
    struct cli_pauses *pauses = &figures->pauses;
    cli_figures_sum_pauses(figures, &sum);
    *pauses = (struct cli_pauses){.sum = sum.pause_sum,
                                  .max = sum.pause_max,
                                  .p50 = weir_crew_pause_at(&sum, 500),
                                  .p90 = weir_crew_pause_at(&sum, 900),
                                  .p99 = weir_crew_pause_at(&sum, 990)};
    for (uint32_t i = 0; i < WEIR_CREW_PAUSE_BUCKETS; i++) {
        pauses->count += sum.pauses[i];
    }
}

void cli_figures_take(struct cli_figures *figures, const struct weir_crew *crew,
                      const char *const *drop_names)
{
    figures->workers = 0;
    for (uint32_t i = 0; i < WEIR_CREW_WORKERS_MAX; i++) {
        struct weir_crew_worker_stats *stats = &figures->worker[i];
        if (weir_crew_worker_stats(crew, i, stats) != WEIR_OK) {
            *stats = (struct weir_crew_worker_stats){0};
        }
        figures->has_run[i] = stats->rounds > 0;
        figures->workers += stats->shards > 0;
        stats->started_at = stats->started_at > 0;
    }
    figures->shard_count = 0;
    while (figures->shard_count < WEIR_CREW_SHARDS_MAX &&
           weir_crew_shard_stats(crew, figures->shard_count,
                                 &figures->shard[figures->shard_count]) == WEIR_OK) {
        figures->shard_count++;
    }
    figures->is_settled = weir_crew_is_settled(crew);
    take_pauses(figures);
    take_drops(figures, drop_names);
}

void cli_figures_sum_pauses(const struct cli_figures *figures, struct weir_crew_worker_stats *sum)
{
    *sum = (struct weir_crew_worker_stats){0};
    for (uint32_t i = 0; i < WEIR_CREW_WORKERS_MAX; i++) {
        const struct weir_crew_worker_stats *stats = &figures->worker[i];
        for (uint32_t k = 0; k < WEIR_CREW_PAUSE_BUCKETS; k++) {
            sum->pauses[k] += stats->pauses[k];
        }
        sum->pause_sum += stats->pause_sum;
        sum->pause_max = weir_max_u64(sum->pause_max, stats->pause_max);
    }
}

void cli_figures_sum_shards(const struct cli_figures *figures, struct weir_figures *sum)
{
    unsigned __int128 weighted = 0;
    uint64_t weights = 0;
    *sum = (struct weir_figures){0};
    for (uint32_t i = 0; i < figures->shard_count; i++) {
        const struct weir_figures *of = &figures->shard[i].figures;
        sum->connections += of->connections;
        sum->awake += of->awake;
        sum->packets_received += of->packets_received;
        sum->packets_sent += of->packets_sent;
        sum->bytes_received += of->bytes_received;
        sum->bytes_sent += of->bytes_sent;
        sum->packets_lost += of->packets_lost;
        sum->dropped += of->dropped;
        for (uint32_t k = 0; k < WEIR_FIGURES_DROPS_MAX; k++) {
            sum->drops[k] += of->drops[k];
        }
        if (of->rtt > 0) {
            uint64_t weight = weir_max_u64(of->awake, 1);
            weighted += (unsigned __int128)of->rtt * weight;
            weights += weight;
        }
    }
    sum->rtt = weights > 0 ? (uint64_t)(weighted / weights) : 0;
}

/* --- to JSON ---------------------------------------------------------------------------------- */

static void put_number(cJSON *json, const char *name, uint64_t value)
{
    (void)cJSON_AddNumberToObject(json, name, (double)value);
}

void cli_figures_put_workers(const struct cli_figures *figures, cJSON *json)
{
    put_number(json, "workers", figures->workers);
    put_number(json, "wanted", figures->wanted);
    put_number(json, "max", figures->max);
    (void)cJSON_AddBoolToObject(json, "settled", figures->is_settled);
}

static void put_pauses(const struct cli_pauses *pauses, cJSON *json)
{
    cJSON *object = cJSON_AddObjectToObject(json, "pauses");
    put_number(object, "count", pauses->count);
    put_number(object, "sum_ns", pauses->sum);
    put_number(object, "max_ns", pauses->max);
    put_number(object, "p50_ns", pauses->p50);
    put_number(object, "p90_ns", pauses->p90);
    put_number(object, "p99_ns", pauses->p99);
}

static void put_arrays(const struct cli_figures *figures, cJSON *json)
{
    cJSON *workers = cJSON_AddArrayToObject(json, "worker");
    for (uint32_t i = 0; i < WEIR_CREW_WORKERS_MAX; i++) {
        if (figures->has_run[i]) {
            cJSON *object = cJSON_CreateObject();
            put_number(object, "worker", i);
            for (size_t k = 0; k < CLI_FIGURES_WORKER_FIELDS; k++) {
                put_number(object, cli_worker_fields[k].name,
                           cli_worker_value(figures, i, &cli_worker_fields[k]));
            }
            (void)cJSON_AddItemToArray(workers, object);
        }
    }
    cJSON *shards = cJSON_AddArrayToObject(json, "shard");
    for (uint32_t i = 0; i < figures->shard_count; i++) {
        cJSON *object = cJSON_CreateObject();
        put_number(object, "shard", i);
        for (size_t k = 0; k < CLI_FIGURES_SHARD_FIELDS; k++) {
            put_number(object, cli_shard_fields[k].name,
                       cli_shard_value(figures, i, &cli_shard_fields[k]));
        }
        (void)cJSON_AddItemToArray(shards, object);
    }
}

cJSON *cli_figures_write(const struct cli_figures *figures)
{
    cJSON *json = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(json, "weir", figures->version);
    (void)cJSON_AddStringToObject(json, "command", figures->command);
    (void)cJSON_AddStringToObject(json, "scheme", figures->scheme);
    (void)cJSON_AddStringToObject(json, "local", figures->local);
    if (figures->metrics[0] != 0) {
        (void)cJSON_AddStringToObject(json, "metrics", figures->metrics);
    }
    put_number(json, "pid", figures->pid);
    put_number(json, "at_ns", figures->at);
    put_number(json, "up_ns", figures->up);
    cli_figures_put_workers(figures, json);
    (void)cJSON_AddBoolToObject(json, "auto", figures->is_auto);
    put_pauses(&figures->pauses, json);
    cJSON *drops = cJSON_AddObjectToObject(json, "drops");
    for (uint32_t i = 0; i < figures->drop_count; i++) {
        put_number(drops, figures->drop_names[i], figures->drops[i]);
    }
    put_arrays(figures, json);
    return json;
}

/* --- from JSON -------------------------------------------------------------------------------- */

void cli_figures_text(const char *from, char *text, size_t bytes)
{
    size_t used = 0;
    for (; from != NULL && *from != 0 && used + 1 < bytes; from++) {
        bool is_shown = *from >= ' ' && *from <= '~';
        text[used++] = (char)(is_shown ? *from : '?');
    }
    text[used] = 0;
}

static void read_word(const cJSON *json, const char *name, char *text, size_t bytes)
{
    cli_figures_text(cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, name)), text,
                     bytes);
}

static uint64_t number_of(const cJSON *item)
{
    double value = cJSON_IsNumber(item) ? item->valuedouble : 0;
    return value >= 1 && value < 0x1p64 ? (uint64_t)value : 0;
}

static uint64_t read_number(const cJSON *json, const char *name)
{
    return number_of(cJSON_GetObjectItemCaseSensitive(json, name));
}

static uint32_t read_bounded(const cJSON *json, const char *name, uint32_t max)
{
    return (uint32_t)weir_min_u64(read_number(json, name), max);
}

static void read_drops(const cJSON *json, struct cli_figures *figures)
{
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(json, "drops"))
    {
        if (figures->drop_count == CLI_FIGURES_DROPS_MAX) {
            return;
        }
        cli_figures_text(item->string, figures->drop_names[figures->drop_count],
                         CLI_FIGURES_WORD_BYTES);
        figures->drops[figures->drop_count++] = number_of(item);
    }
}

static void read_fields(const cJSON *json, const struct cli_field *fields, size_t count, void *out)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t word = read_number(json, fields[i].name);
        memcpy((char *)out + fields[i].offset, &word, sizeof(word));
    }
}

static void read_arrays(const cJSON *json, struct cli_figures *figures)
{
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(json, "worker"))
    {
        uint64_t i = read_number(item, "worker");
        if (i < WEIR_CREW_WORKERS_MAX) {
            figures->has_run[i] = true;
            read_fields(item, cli_worker_fields, CLI_FIGURES_WORKER_FIELDS, &figures->worker[i]);
        }
    }
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(json, "shard"))
    {
        uint64_t i = read_number(item, "shard");
        if (i < WEIR_CREW_SHARDS_MAX) {
            figures->shard_count = (uint32_t)weir_max_u64(figures->shard_count, i + 1);
            read_fields(item, cli_shard_fields, CLI_FIGURES_SHARD_FIELDS, &figures->shard[i]);
        }
    }
}

bool cli_figures_read(const cJSON *json, struct cli_figures *figures)
{
    memset(figures, 0, sizeof(*figures));
    read_word(json, "weir", figures->version, sizeof(figures->version));
    read_word(json, "command", figures->command, sizeof(figures->command));
    read_word(json, "scheme", figures->scheme, sizeof(figures->scheme));
    read_word(json, "local", figures->local, sizeof(figures->local));
    read_word(json, "metrics", figures->metrics, sizeof(figures->metrics));
    figures->pid = read_number(json, "pid");
    figures->at = read_number(json, "at_ns");
    figures->up = read_number(json, "up_ns");
    figures->workers = read_bounded(json, "workers", WEIR_CREW_WORKERS_MAX);
    figures->wanted = read_bounded(json, "wanted", WEIR_CREW_WORKERS_MAX);
    figures->max = read_bounded(json, "max", WEIR_CREW_WORKERS_MAX);
    figures->is_settled = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "settled")) != 0;
    figures->is_auto = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "auto")) != 0;
    const cJSON *pauses = cJSON_GetObjectItemCaseSensitive(json, "pauses");
    figures->pauses = (struct cli_pauses){.count = read_number(pauses, "count"),
                                          .sum = read_number(pauses, "sum_ns"),
                                          .max = read_number(pauses, "max_ns"),
                                          .p50 = read_number(pauses, "p50_ns"),
                                          .p90 = read_number(pauses, "p90_ns"),
                                          .p99 = read_number(pauses, "p99_ns")};
    read_drops(json, figures);
    read_arrays(json, figures);
    return figures->version[0] != 0 && figures->max > 0;
}
