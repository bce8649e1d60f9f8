/* Answers requests from its configuration, without asking the origin.
 *
 * The configuration arrives as compact JSON (field 11), made by the host and therefore well formed.
 * plugin_init looks through it once; on_request reads it where it lies, and decodes only the answer
 * that fits. */
#include "../../sdk/int3.h"

static char config[61440]; /* with a NUL behind what is there */
static char url[32769];
static char method[64];
static _Alignas(4) char block[16384];
static char body[sizeof config];

/* One of [[config.answers]]; texts point behind their opening quotation mark, or are null. */
typedef struct {
    const char *method, *path, *prefix, *body;
    const char *headers; /* at its brace */
    int32_t status;
} Answer;

/* Behind the JSON value that begins at `at`. */
static const char *past(const char *at) {
    int depth = 0;
    do {
        char byte = *at++;
        if (byte == '"') {
            for (; *at != '"'; at++) at += *at == '\\';
            at++;
        } else if (byte == '{' || byte == '[') {
            depth++;
        } else if (byte == '}' || byte == ']') {
            depth--;
        }
    } while (depth > 0 || (*at != ',' && *at != ':' && *at != '}' && *at != ']' && *at != 0));
    return at;
}

/* The next byte of a text, or -1 at its end. */
static int next(const char **at) {
    int byte = (unsigned char)*(*at)++;
    if (byte == '"') return -1;
    if (byte != '\\') return byte;
    switch (byte = (unsigned char)*(*at)++) {
    case 'b': return '\b';
    case 'f': return '\f';
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'u': /* the host escapes only control characters so: 00 and two digits */
        *at += 4;
        byte = (unsigned char)(*at)[-1];
        return (((*at)[-2] & 15) << 4) + (byte & 15) + (byte > '9' ? 9 : 0);
    default: return byte;
    }
}

/* Whether a text is the one of `length` bytes, or, as a prefix, what that begins with. */
static int fits(const char *text, const char *other, size_t length, int prefix) {
    for (size_t index = 0;; index++) {
        int byte = next(&text);
        if (byte < 0) return prefix || index == length;
        if (index == length || byte != (unsigned char)other[index]) return 0;
    }
}

static int is(const char *key, const char *name) { return fits(key, name, int3_length(name), 0); }

/* A status of three digits, or 0. */
static int32_t status_of(const char *digits) {
    int32_t status = 0;
    for (; *digits >= '0' && *digits <= '9' && status < 100; digits++) {
        status = status * 10 + *digits - '0';
    }
    return (*digits == ',' || *digits == '}') && status >= 200 && status < 600 ? status : 0;
}

static int are_texts(const char *table) {
    if (*table != '{') return 0;
    for (table++; *table != '}'; table += *table == ',') {
        table = past(table) + 1;
        if (*table != '"') return 0;
        table = past(table);
    }
    return 1;
}

/* Read the answer at `at`; return what is behind it, or null where it says what is unknown. */
static const char *read(const char *at, Answer *answer) {
    if (*at++ != '{') return 0;
    answer->method = answer->path = answer->prefix = answer->body = answer->headers = 0;
    answer->status = 200;
    while (*at != '}') {
        const char *key = at + 1, *value = past(at) + 1;
        int text = *value == '"';
        at = past(value);
        if (text && is(key, "method")) answer->method = value + 1;
        else if (text && is(key, "path")) answer->path = value + 1;
        else if (text && is(key, "prefix")) answer->prefix = value + 1;
        else if (text && is(key, "body")) answer->body = value + 1;
        else if (is(key, "headers") && are_texts(value)) answer->headers = value;
        else if (is(key, "status") && status_of(value)) answer->status = status_of(value);
        else return 0;
        at += *at == ',';
    }
    return (answer->path == 0) == (answer->prefix == 0) ? 0 : at + 1;
}

/* Decode a text to `*to`, and a NUL behind it; return its length, or -1 where it does not fit. */
static int32_t decode(const char **text, char **to, const char *end) {
    char *begin = *to;
    for (int byte; (byte = next(text)) >= 0;) {
        if (end - *to < 2) return -1;
        *(*to)++ = (char)byte;
    }
    *(*to)++ = 0;
    return *to - begin - 1;
}

/* Make a header block of a table; return its length, or -1 where it does not fit. */
static int32_t make_block(const char *table) {
    uint32_t *counts = (uint32_t *)(void *)block, count = 0;
    const char *at = table + 1;
    for (; *at != '}'; at += *at == ',') {
        at = past(past(at) + 1);
        count++;
    }
    if (count > 200) return -1;
    counts[0] = count;
    char *to = block + 4 + 8 * count;
    at = table + 1;
    for (uint32_t index = 0; index < 2 * count; index++) {
        const char *text = at + 1;
        at = past(at) + 1;
        int32_t length = decode(&text, &to, block + sizeof block);
        if (length < 0) return -1;
        counts[1 + index] = length;
    }
    return to - block;
}

static int32_t give(const Answer *answer) {
    int32_t headers = answer->headers ? make_block(answer->headers) : 0;
    char *to = body;
    const char *text = answer->body;
    int32_t length = text ? decode(&text, &to, body + sizeof body) : 0;
    if (headers < 0 || length < 0
        || host_respond(answer->status, block, headers, body, length) < 0) {
        int3_log(INT3_WARN, "the host refused an answer; the request goes on");
        return INT3_CONTINUE;
    }
    int3_annotate("tag", "mock");
    return INT3_RESPOND;
}

/* Keep in `url` the path alone; return its length. */
static size_t path_of(int32_t length, const char **path) {
    const char *at = url, *end = url + length;
    while (end - at > 2 && !(at[0] == ':' && at[1] == '/' && at[2] == '/')) at++;
    at += end - at > 2 ? 3 : 0;
    while (at < end && *at != '/' && *at != '?') at++;
    *path = at;
    while (at < end && *at != '?') at++;
    return at - *path;
}

INT3_ABI_V1

INT3_HOOK(plugin_init) {
    int32_t length = host_get_field(INT3_CONFIGURATION, config, sizeof config - 1);
    const char *at = config;
    Answer answer;
    if (length >= (int32_t)sizeof config) {
        int3_log(INT3_ERROR, "config has more than 60 KiB");
        return 1;
    }
    if (length <= 2) { /* {}, or none */
        config[0] = 0;
        return 0;
    }
    if (is(at + 2, "answers")) {
        at = past(at + 1) + 1;
        if (*at == '[') {
            const char *list = at++;
            while (at && *at == '{') {
                at = read(at, &answer);
                if (at) at += *at == ',';
            }
            if (at && *at == ']' && at[1] == '}') {
                size_t left = config + length - list;
                for (size_t index = 0; index < left; index++) config[index] = list[index];
                config[left] = 0;
                return 0;
            }
        }
    }
    int3_log(INT3_ERROR, "config takes answers: path or prefix, method, status (200 to 599), "
                         "headers (name = value), body");
    return 1;
}

INT3_HOOK(on_request) {
    int32_t length = host_get_field(INT3_URL, url, sizeof url);
    int32_t method_length = host_get_field(INT3_METHOD, method, sizeof method);
    if (length < 0 || length > (int32_t)sizeof url) return INT3_CONTINUE;
    if (method_length < 0 || method_length > (int32_t)sizeof method) return INT3_CONTINUE;
    const char *path;
    size_t path_length = path_of(length, &path);
    Answer answer;
    for (const char *at = config + 1; config[0] && *at == '{'; at += *at == ',') {
        at = read(at, &answer);
        if (!at) break;
        if (answer.method && !fits(answer.method, method, method_length, 0)) continue;
        if (answer.path && !fits(answer.path, path, path_length, 0)) continue;
        if (answer.prefix && !fits(answer.prefix, path, path_length, 1)) continue;
        return give(&answer);
    }
    return INT3_CONTINUE;
}
