/* Has requests and responses arrive later, as its configuration says.
 *
 * host_delay does not wait: it tells the host when to go on, once the hook has returned. The
 * configuration arrives as compact JSON (field 11), made by the host and therefore well formed. */
#include "../../sdk/int3.h"

enum { LONGEST = 60000 };

static uint32_t request, response, jitter;

/* Step over `text` where it is next; return whether it was. */
static int take(const char **at, const char *text) {
    const char *next = *at;
    for (; *text != 0; text++, next++) {
        if (*next != *text) return 0;
    }
    *at = next;
    return 1;
}

/* Read a whole number up to LONGEST; return whether there was one. */
static int number(const char **at, uint32_t *value) {
    const char *begin = *at;
    for (*value = 0; **at >= '0' && **at <= '9'; (*at)++) {
        *value = *value * 10 + (**at - '0');
        if (*value > LONGEST) return 0;
    }
    return *at != begin;
}

/* Read `{"request":1,...}`; return whether that was all there is, and can be done. */
static int configure(const char *at) {
    if (!take(&at, "{")) return 0;
    while (*at == '"') {
        int known = take(&at, "\"request\":")    ? number(&at, &request)
                    : take(&at, "\"response\":") ? number(&at, &response)
                    : take(&at, "\"jitter\":")   ? number(&at, &jitter)
                                                 : 0;
        if (!known || !(*at == '}' || (take(&at, ",") && *at == '"'))) return 0;
    }
    return take(&at, "}") && *at == 0 && request + jitter <= LONGEST
           && response + jitter <= LONGEST;
}

static int32_t hold(uint32_t ms) {
    if (ms == 0) return INT3_CONTINUE;
    uint32_t chance = 0;
    if (jitter != 0) host_random(&chance, sizeof chance);
    ms += chance % (jitter + 1);
    host_delay(ms);
    int3_count("milliseconds", ms);
    return INT3_CONTINUE;
}

INT3_ABI_V1

INT3_HOOK(plugin_init) {
    char config[256];
    int32_t length = host_get_field(INT3_CONFIGURATION, config, sizeof config - 1);
    if (length >= 0 && length < (int32_t)sizeof config) {
        config[length] = 0;
        if (configure(config)) return 0;
    }
    int3_log(INT3_ERROR, "config takes request, response and jitter in milliseconds, whole "
                         "numbers of at most 60000 together with jitter");
    return 1;
}

INT3_HOOK(on_request) { return hold(request); }

INT3_HOOK(on_response) { return hold(response); }
