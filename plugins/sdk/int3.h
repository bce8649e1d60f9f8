/* INT3RCEPTOR's plugin ABI as C would want it: no libc, no allocator, no dependencies.
 *
 * clang --target=wasm32 -O2 -nostdlib -Wl,--no-entry -Wl,--strip-all -o plugin.wasm plugin.c
 *
 * Only the functions that a plugin calls become imports of its module. A plugin that calls anything
 * but int3_log and int3_abort speaks ABI v1: put INT3_ABI_V1 once into it. See docs/plugin-abi.md. */
#ifndef INT3_H
#define INT3_H

typedef unsigned char uint8_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long long int64_t;
typedef __SIZE_TYPE__ size_t;

#define INT3_IMPORT(name) __attribute__((import_module("env"), import_name(#name)))

/* The hooks, of which a plugin exports those that it wants. */
int32_t plugin_init(void);           /* while it is loaded; anything but 0 and it is not */
int32_t on_connect(void);            /* a client has connected, or sent CONNECT */
int32_t on_request(void);            /* a request is there, and the origin knows nothing yet */
int32_t on_request_chunk(void);      /* a piece of its body, of any length */
int32_t on_response(void);           /* a response is there, and the client knows nothing yet */
int32_t on_response_chunk(void);     /* a piece of its body */
int32_t on_websocket_message(void);  /* a whole message, in either direction */
int32_t on_rule_match(void);         /* a rule fired on a flow */
int32_t on_capture(void);            /* the flow is over; what was kept of it can be rewritten */
int32_t on_tick(void);               /* every `tick_ms` of the manifest, without a flow */
void plugin_shutdown(void);

/* INT3_HOOK(on_request) { ...; return INT3_CONTINUE; } */
#define INT3_HOOK(name) __attribute__((export_name(#name))) int32_t name(void)
#define INT3_SHUTDOWN __attribute__((export_name("plugin_shutdown"))) void plugin_shutdown(void)
#define INT3_ABI_V1 INT3_HOOK(int3_abi_version) { return 1; }

enum { INT3_DEBUG = 0, INT3_INFO = 1, INT3_WARN = 2, INT3_ERROR = 3 };

/* What a hook returns. */
enum {
    INT3_CONTINUE = 0,
    INT3_BLOCK = 1,
    INT3_HOLD = 2,
    INT3_RESPOND = 3,
    INT3_SKIP_REST = 4,
};

/* What the host answers; zero and more is success, or a length. */
enum {
    INT3_ABSENT = -1,
    INT3_NOT_PERMITTED = -2,
    INT3_BAD_POINTER = -3,
    INT3_OVER_LIMIT = -4,
    INT3_NOT_IN_HOOK = -5,
};

/* What host_get_field and host_set_field name. */
enum {
    INT3_METHOD = 0,
    INT3_URL = 1,
    INT3_STATUS = 2,
    INT3_HOST = 3,
    INT3_PORT = 4,
    INT3_SCHEME = 5,
    INT3_HTTP_VERSION = 6,
    INT3_FLOW_ID = 7,
    INT3_CLIENT_ADDRESS = 8,
    INT3_SERVER_ADDRESS = 9,
    INT3_RULE_ID = 10,
    INT3_CONFIGURATION = 11,
    INT3_WEBSOCKET_DIRECTION = 12,
    INT3_WEBSOCKET_OPCODE = 13,
    INT3_REASON = 14,
    INT3_HOST_VERSION = 15,
    INT3_MESSAGE = 16, /* which one headers and bodies are of: set "request", "response" and the like */
    INT3_BODY_END = 17,
};

/* The host, with pointers and lengths. Readers return the full length, and write nothing that does
 * not fit. */
INT3_IMPORT(host_log) int32_t host_log(int32_t level, const char *text, size_t length);
INT3_IMPORT(host_abort) int32_t host_abort(const char *text, size_t length);
INT3_IMPORT(host_get_memory_size) int32_t host_get_memory_size(void);
INT3_IMPORT(host_get_header)
int32_t host_get_header(const char *name, size_t name_length, char *into, size_t room);
INT3_IMPORT(host_get_headers) int32_t host_get_headers(void *into, size_t room);
INT3_IMPORT(host_set_header)
int32_t host_set_header(const char *name, size_t name_length, const char *value, size_t length);
INT3_IMPORT(host_add_header)
int32_t host_add_header(const char *name, size_t name_length, const char *value, size_t length);
INT3_IMPORT(host_remove_header) int32_t host_remove_header(const char *name, size_t name_length);
INT3_IMPORT(host_get_field) int32_t host_get_field(int32_t id, char *into, size_t room);
INT3_IMPORT(host_set_field) int32_t host_set_field(int32_t id, const char *text, size_t length);
INT3_IMPORT(host_respond)
int32_t host_respond(int32_t status, const void *headers, size_t headers_length, const void *body,
                     size_t body_length);
/* Copies what there is of the body from `offset`; returns its full length. In on_request and
 * on_response that is the whole body, decoded; elsewhere the piece, the message or the captured
 * copy that the hook is about. */
INT3_IMPORT(host_get_body) int32_t host_get_body(size_t offset, void *into, size_t room);
INT3_IMPORT(host_set_body) int32_t host_set_body(const void *body, size_t length);
/* What the hook is about goes on `ms` later, 60000 at most; the hook returns meanwhile. */
INT3_IMPORT(host_delay) int32_t host_delay(uint32_t ms);
INT3_IMPORT(host_annotate)
int32_t host_annotate(const char *key, size_t key_length, const char *value, size_t length);
INT3_IMPORT(host_now_ns) int64_t host_now_ns(void);
INT3_IMPORT(host_random) int32_t host_random(void *into, size_t length);
/* State that survives traps, reloads and restarts. An empty value deletes. */
INT3_IMPORT(host_kv_get)
int32_t host_kv_get(const void *key, size_t key_length, void *into, size_t room);
INT3_IMPORT(host_kv_set)
int32_t host_kv_set(const void *key, size_t key_length, const void *value, size_t length);
/* Returns the new number, or a negative code. */
INT3_IMPORT(host_kv_add) int64_t host_kv_add(const void *key, size_t key_length, int64_t delta);
/* Reads from a file in a directory that the user has granted; returns how many bytes. */
INT3_IMPORT(host_read_file)
int32_t host_read_file(const char *path, size_t path_length, uint32_t offset, void *into, size_t room);
/* Asks a host that the user has granted and waits. The request is `METHOD URL`, lines
 * `name: value`, an empty line, the body; the answer is alike. Where that did not fit, ask again
 * with a length of 0 and more room. */
INT3_IMPORT(host_http_request)
int32_t host_http_request(const char *request, size_t length, void *into, size_t room);
INT3_IMPORT(host_metric_add)
int32_t host_metric_add(const char *name, size_t name_length, int64_t delta);

/* The same with text that ends in NUL. */
static inline size_t int3_length(const char *text) {
    size_t length = 0;
    while (text[length] != 0) length++;
    return length;
}

static inline void int3_log(int32_t level, const char *text) {
    host_log(level, text, int3_length(text));
}

/* Logs the text and ends this call; the host gives up the instance. */
static inline void int3_abort(const char *text) { host_abort(text, int3_length(text)); }

static inline int32_t int3_header(const char *name, char *into, size_t room) {
    return host_get_header(name, int3_length(name), into, room);
}

static inline int32_t int3_set_header(const char *name, const char *value) {
    return host_set_header(name, int3_length(name), value, int3_length(value));
}

static inline int32_t int3_add_header(const char *name, const char *value) {
    return host_add_header(name, int3_length(name), value, int3_length(value));
}

static inline int32_t int3_remove_header(const char *name) {
    return host_remove_header(name, int3_length(name));
}

static inline int32_t int3_set_field(int32_t id, const char *text) {
    return host_set_field(id, text, int3_length(text));
}

static inline int int3_field_begins(int32_t id, char first) {
    char text[8];
    return host_get_field(id, text, sizeof text) > 0 && text[0] == first;
}

/* Whether the piece in on_request_chunk and on_response_chunk is the last. */
static inline int int3_is_last_piece(void) { return int3_field_begins(INT3_BODY_END, '1'); }

/* Whether the message in on_websocket_message comes from the client. */
static inline int int3_is_from_client(void) {
    return int3_field_begins(INT3_WEBSOCKET_DIRECTION, 'c');
}

/* Whether the message in on_websocket_message is text, which is UTF-8; else it is binary. */
static inline int int3_is_text(void) { return int3_field_begins(INT3_WEBSOCKET_OPCODE, '1'); }

static inline int32_t int3_set_body(const char *text) {
    return host_set_body(text, int3_length(text));
}

/* `key` is "comment", "tag" or "colour". */
static inline int32_t int3_annotate(const char *key, const char *value) {
    return host_annotate(key, int3_length(key), value, int3_length(value));
}

/* Returns the value's full length, or a negative code. */
static inline int32_t int3_get(const char *key, void *into, size_t room) {
    return host_kv_get(key, int3_length(key), into, room);
}

static inline int32_t int3_set(const char *key, const char *value) {
    return host_kv_set(key, int3_length(key), value, int3_length(value));
}

static inline int64_t int3_add(const char *key, int64_t delta) {
    return host_kv_add(key, int3_length(key), delta);
}

static inline int32_t int3_read_file(const char *path, uint32_t offset, void *into, size_t room) {
    return host_read_file(path, int3_length(path), offset, into, room);
}

static inline int32_t int3_http_request(const char *request, void *into, size_t room) {
    return host_http_request(request, int3_length(request), into, room);
}

/* Counts something that the console shows. */
static inline int32_t int3_count(const char *metric, int64_t delta) {
    return host_metric_add(metric, int3_length(metric), delta);
}

/* Answers with a body of text and no headers of its own; return INT3_RESPOND after it. */
static inline int32_t int3_respond(int32_t status, const char *body) {
    return host_respond(status, 0, 0, body, int3_length(body));
}

#endif
