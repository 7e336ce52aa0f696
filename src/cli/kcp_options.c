/* SPDX-License-Identifier: MIT */
/*
 * kcp_options.c - the options of kcp://, the same in every command that speaks it.
 */
#include "cli/kcp_options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "weir/kcp_layers.h"

enum {
    KEY_PRESET = 0x600,
    KEY_WINDOW,
    KEY_CRYPT,
    KEY_KEY,
    KEY_FEC,
    SECRET_BYTES_MAX = 1024,
    FEC_SHARDS_MAX = 256,
    NAMES_BYTES = 400
};

static const char key_variable[] = "WEIR_KEY";

static const struct argp_option option_list[] = {
    {NULL, 0, NULL, 0, "kcp:// (both ends must agree on --crypt, --key, and should on --mtu):", 8},
    {"preset", KEY_PRESET, "NAME", 0,
     "normal, fast (default, with --window 1024), turbo, gaming, realtime, file-transfer, "
     "kcptun-normal, kcptun-fast, kcptun-fast2, kcptun-fast3",
     8},
    {"mtu", 'm', "N", 0,
     "Longest datagram: kcp 50 to 1500 (default: the preset's), rudp 1200 to 65507 (default 1472)",
     8},
    {"window", KEY_WINDOW, "SND,RCV", 0, "Windows in segments, 1 to 32768; one number is for both",
     8},
    {"crypt", KEY_CRYPT, "NAME", 0,
     "Cipher, as in kcp-go: nil (default: no header), none, aes (default with a key), aes-128, "
     "aes-192, aes-256, aes-128-gcm, aes-192-gcm, aes-256-gcm, salsa20, sm4, twofish, blowfish, "
     "cast5, 3des, xor",
     8},
    {"key", KEY_KEY, "PHRASE", 0,
     "Pass phrase; better @FILE or $WEIR_KEY, as everybody here can read a command line", 8},
    {"fec", KEY_FEC, "DATA,PARITY", 0,
     "Error correction: so many parity packets behind so many data packets, e.g. 10,3", 8},
    {0}};

/* --- reading ---------------------------------------------------------------------------------- */

/* "A,B", both from 1 to max; is_one_enough: "A" is for both. */
static bool read_pair(const char *text, uint64_t max, bool is_one_enough, uint64_t pair[2])
{
    char first[32];
    const char *comma = strchr(text, ',');
    size_t length = comma == NULL ? strlen(text) : (size_t)(comma - text);
    if (length >= sizeof(first) || (comma == NULL && !is_one_enough)) {
        return false;
    }
    memcpy(first, text, length);
    first[length] = 0;
    return cli_read_count(first, max, &pair[0]) && pair[0] > 0 &&
           cli_read_count(comma == NULL ? first : comma + 1, max, &pair[1]) && pair[1] > 0;
}

static error_t read_mtu(struct cli_kcp_options *options, const char *text)
{
    uint64_t number;
    if (!cli_read_count(text, CLI_MTU_BYTES_MAX, &number) || number < WEIR_KCP_MTU_MIN) {
        return cli_fail(EINVAL, "--mtu '%s' is not a number from %d to %d", text, WEIR_KCP_MTU_MIN,
                        CLI_MTU_BYTES_MAX);
    }
    options->mtu_bytes = (uint32_t)number;
    return 0;
}

static error_t read_window(struct cli_kcp_options *options, const char *text)
{
    uint64_t pair[2];
    if (!read_pair(text, WEIR_KCP_WINDOW_MAX, true, pair)) {
        return cli_fail(EINVAL, "--window '%s' is not a number of segments from 1 to %d, or two",
                        text, WEIR_KCP_WINDOW_MAX);
    }
    options->send_window = (uint32_t)pair[0];
    options->receive_window = (uint32_t)pair[1];
    return 0;
}

static error_t read_fec(struct cli_kcp_options *options, const char *text)
{
    uint64_t pair[2];
    if (!read_pair(text, FEC_SHARDS_MAX, false, pair) || pair[0] + pair[1] > FEC_SHARDS_MAX) {
        return cli_fail(EINVAL, "--fec '%s' is not DATA,PARITY of %d together at most; write 10,3",
                        text, FEC_SHARDS_MAX);
    }
    options->fec_data = (uint16_t)pair[0];
    options->fec_parity = (uint16_t)pair[1];
    return 0;
}

static void note_option(struct cli_kcp_options *options, const char *name)
{
    if (options->first_option == NULL) {
        options->first_option = name;
    }
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct cli_kcp_options *options = state->input;
    switch (key) {
    case KEY_PRESET:
        note_option(options, "--preset");
        options->preset = argument;
        return 0;
    case 'm':
        return read_mtu(options, argument);
    case KEY_WINDOW:
        note_option(options, "--window");
        return read_window(options, argument);
    case KEY_CRYPT:
        note_option(options, "--crypt");
        options->crypt = argument;
        return 0;
    case KEY_KEY:
        note_option(options, "--key");
        options->key = argument;
        return 0;
    case KEY_FEC:
        note_option(options, "--fec");
        return read_fec(options, argument);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp cli_kcp_argp = {option_list, parse_option, NULL, NULL, NULL, NULL, NULL};

bool cli_kcp_is_unused(const struct cli_kcp_options *options, const char *scheme)
{
    if (options->first_option == NULL) {
        return true;
    }
    cli_fail(CLI_USAGE, "%s is for kcp:// alone, the URL is of %s://", options->first_option,
             scheme);
    return false;
}

/* --- names ------------------------------------------------------------------------------------ */

/* "a, b, c" of all that name_at gives. */
static const char *list_names(const char *(*name_at)(unsigned index), char names[NAMES_BYTES])
{
    size_t used = 0;
    names[0] = 0;
    for (unsigned i = 0; name_at(i) != NULL; i++) {
        int length =
            snprintf(names + used, NAMES_BYTES - used, "%s%s", i == 0 ? "" : ", ", name_at(i));
        if (length < 0 || (size_t)length >= NAMES_BYTES - used) {
            break;
        }
        used += (size_t)length;
    }
    return names;
}

static bool set_preset(const struct cli_kcp_options *options, struct weir_kcp_config *config)
{
    char names[NAMES_BYTES];
    if (options->preset == NULL) {
        enum weir_status status = weir_kcp_preset("fast", config);
        config->tuning.send_window = config->tuning.receive_window = CLI_KCP_WINDOW_DEFAULT;
        return status == WEIR_OK;
    }
    if (weir_kcp_preset(options->preset, config) != WEIR_OK) {
        cli_fail(CLI_USAGE, "--preset '%s': there are %s", options->preset,
                 list_names(weir_kcp_preset_name, names));
        return false;
    }
    return true;
}

/* --- key -------------------------------------------------------------------------------------- */

/* The first line of a file, without its end. */
static bool read_secret_file(const char *path, char secret[SECRET_BYTES_MAX])
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        cli_fail(CLI_USAGE, "--key: cannot read '%s': %s", path, cli_text_errno(errno));
        return false;
    }
    if (fgets(secret, SECRET_BYTES_MAX, file) == NULL) {
        secret[0] = 0;
    }
    (void)fclose(file);
    secret[strcspn(secret, "\r\n")] = 0;
    return true;
}

/* Sets *is_given, and secret if it is. */
static bool read_secret(const struct cli_kcp_options *options, char secret[SECRET_BYTES_MAX],
                        bool *is_given)
{
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): main's thread is the only one here. */
    const char *variable = getenv(key_variable);
    const char *text = options->key != NULL ? options->key : variable;
    *is_given = text != NULL;
    secret[0] = 0;
    if (text == NULL) {
        return true;
    }
    if (options->key != NULL && text[0] == '@') {
        if (!read_secret_file(text + 1, secret)) {
            return false;
        }
    } else if (strlen(text) < SECRET_BYTES_MAX) {
        memcpy(secret, text, strlen(text) + 1);
    } else {
        cli_fail(CLI_USAGE, "the key is longer than %d bytes", SECRET_BYTES_MAX - 1);
        return false;
    }
    if (secret[0] == 0) {
        cli_fail(CLI_USAGE, "the key is empty");
        return false;
    }
    return true;
}

/* --- cipher ----------------------------------------------------------------------------------- */

static bool set_cipher(const struct cli_kcp_options *options, struct weir_kcp_config *config)
{
    char names[NAMES_BYTES];
    char secret[SECRET_BYTES_MAX];
    bool is_key_given;
    if (options->crypt != NULL &&
        weir_kcp_cipher_by_name(options->crypt, &config->cipher) != WEIR_OK) {
        cli_fail(CLI_USAGE, "--crypt '%s': there are %s", options->crypt,
                 list_names(weir_kcp_cipher_name, names));
        return false;
    }
    if (!read_secret(options, secret, &is_key_given)) {
        return false;
    }
    if (options->crypt == NULL && is_key_given) {
        config->cipher = WEIR_KCP_CIPHER_AES_256;
    }
    bool is_keyless =
        config->cipher == WEIR_KCP_CIPHER_NIL || config->cipher == WEIR_KCP_CIPHER_NONE;
    if (!is_key_given && !is_keyless) {
        cli_fail(CLI_USAGE, "--crypt %s needs a key; give --key @FILE or set %s", options->crypt,
                 key_variable);
        return false;
    }
    if (is_key_given) {
        weir_kcp_key(weir_span_of(secret, strlen(secret)), config->key);
        explicit_bzero(secret, sizeof(secret));
    }
    return true;
}

/* --- all of it -------------------------------------------------------------------------------- */

bool cli_kcp_configure(const struct cli_kcp_options *options, bool is_accepting,
                       struct weir_kcp_config *config)
{
    struct weir_kcp_tuning *tuning = &config->tuning;
    weir_kcp_config_default(config);
    config->is_accepting = is_accepting;
    if (options->mtu_bytes > WEIR_KCP_MTU_MAX) {
        cli_fail(CLI_USAGE, "--mtu '%u': kcp:// takes %d to %d", options->mtu_bytes,
                 WEIR_KCP_MTU_MIN, WEIR_KCP_MTU_MAX);
        return false;
    }
    if (!set_preset(options, config) || !set_cipher(options, config)) {
        return false;
    }
    if (options->mtu_bytes != 0) {
        tuning->mtu_bytes = (uint16_t)options->mtu_bytes;
    }
    if (options->send_window != 0) {
        tuning->send_window = (uint16_t)options->send_window;
        tuning->receive_window = (uint16_t)options->receive_window;
    }
    if (options->fec_data != 0) {
        config->is_fec = true;
        config->fec_data = options->fec_data;
        config->fec_parity = options->fec_parity;
        config->address_policy = WEIR_KCP_ADDRESS_REPLACE;
    }
    return true;
}
