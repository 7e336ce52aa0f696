/* SPDX-License-Identifier: MIT */
/*
 * preset.c - settings that users know by name.
 */
#include <string.h>

#include "kcp/internal.h"

struct preset {
    const char *name;
    uint8_t nodelay, interval_ms, resend;
    bool is_window_fixed, is_stream;
    uint16_t send_window, receive_window;
    uint16_t accepting_window; /* both, of an accepting end; 0: the same */
    uint16_t mtu_bytes;
    uint8_t connect_s, keepalive_s;
};

/* Some intervals are below what the reference allows; the peer cannot tell. */
static const struct preset presets[] = {
    {"normal", 0, 40, 0, false, false, 32, 128, 0, 1400, 10, 30},
    {"fast", 1, 8, 2, false, false, 32, 128, 0, 1400, 10, 30},
    {"turbo", 1, 4, 1, true, false, 32, 128, 0, 1400, 10, 30},
    {"gaming", 1, 3, 1, true, false, 64, 128, 0, 1200, 3, 10},
    {"realtime", 1, 8, 2, false, false, 64, 64, 0, 1200, 3, 10},
    {"file-transfer", 0, 40, 0, false, true, 256, 256, 0, 1400, 30, 60},
    {"kcptun-normal", 0, 40, 2, true, true, 128, 512, 1024, 1350, 10, 30},
    {"kcptun-fast", 0, 30, 2, true, true, 128, 512, 1024, 1350, 10, 30},
    {"kcptun-fast2", 1, 20, 2, true, true, 128, 512, 1024, 1350, 10, 30},
    {"kcptun-fast3", 1, 10, 2, true, true, 128, 512, 1024, 1350, 10, 30},
};

enum {
    PRESETS = sizeof(presets) / sizeof(presets[0])
};

const char *weir_kcp_preset_name(unsigned i)
{
    return i < PRESETS ? presets[i].name : NULL;
}

static const struct preset *find_preset(const char *name)
{
    for (unsigned i = 0; i < PRESETS; i++) {
        if (strcmp(presets[i].name, name) == 0) {
            return &presets[i];
        }
    }
    return NULL;
}

enum weir_status weir_kcp_preset(const char *name, struct weir_kcp_config *config)
{
    const struct preset *preset = find_preset(name);
    struct weir_kcp_tuning *tuning = &config->tuning;
    if (preset == NULL) {
        return WEIR_ERR_INVALID;
    }
    bool is_server = config->is_accepting && preset->accepting_window != 0;
    tuning->nodelay = preset->nodelay;
    tuning->interval_ms = preset->interval_ms;
    tuning->resend = preset->resend;
    tuning->is_window_fixed = preset->is_window_fixed;
    tuning->is_stream = preset->is_stream;
    tuning->send_window = is_server ? preset->accepting_window : preset->send_window;
    tuning->receive_window = is_server ? preset->accepting_window : preset->receive_window;
    tuning->mtu_bytes = preset->mtu_bytes;
    config->connect_timeout = preset->connect_s * WEIR_SEC;
    config->keepalive = preset->keepalive_s * WEIR_SEC;
    return WEIR_OK;
}
