/* Masks a configured word in bodies, both ways; refuses who brings no token; counts what it saw.
 *
 * Built in a test: clang --target=wasm32 -O2 -nostdlib -fno-builtin -Wl,--no-entry -o mask.wasm mask.c
 */

typedef unsigned int u32;
typedef unsigned long long u64;

#define HOST(name) __attribute__((import_module("http_handler"), import_name(#name)))
#define EXPORT(name) __attribute__((export_name(#name)))

enum { REQUEST, RESPONSE, REQUEST_TRAILERS, RESPONSE_TRAILERS };
enum { BUFFER_REQUEST = 1, BUFFER_RESPONSE = 2, TRAILERS = 4 };

HOST(get_config) u32 get_config(char *buf, u32 limit);
HOST(enable_features) u32 enable_features(u32 features);
HOST(log) void host_log(int level, const char *text, u32 length);
HOST(log_enabled) u32 log_enabled(int level);
HOST(get_header_names) u64 get_header_names(u32 kind, char *buf, u32 limit);
HOST(get_header_values)
u64 get_header_values(u32 kind, const char *name, u32 length, char *buf, u32 limit);
HOST(set_header_value)
void set_header_value(u32 kind, const char *name, u32 length, const char *value, u32 value_length);
HOST(add_header_value)
void add_header_value(u32 kind, const char *name, u32 length, const char *value, u32 value_length);
HOST(remove_header) void remove_header(u32 kind, const char *name, u32 length);
HOST(read_body) u64 read_body(u32 kind, char *buf, u32 limit);
HOST(write_body) void write_body(u32 kind, const char *buf, u32 length);
HOST(get_uri) u32 get_uri(char *buf, u32 limit);
HOST(set_uri) void set_uri(const char *uri, u32 length);
HOST(get_status_code) u32 get_status_code(void);
HOST(set_status_code) void set_status_code(u32 status);

#define TEXT(s) s, sizeof(s) - 1

static char word[64];
static u32 word_length;
static char body[1 << 16];
static u32 seen;

static u32 whole_body(u32 kind) {
    u32 length = 0;
    for (;;) {
        u64 got = read_body(kind, body + length, 100);
        length += (u32)got;
        if (got >> 32) return length;
        if (length + 100 > sizeof body) __builtin_trap();
    }
}

static int mask(u32 length) {
    int found = 0;
    for (u32 at = 0; word_length && at + word_length <= length; at++) {
        u32 same = 0;
        while (same < word_length && body[at + same] == word[same]) same++;
        if (same == word_length) {
            for (u32 i = 0; i < same; i++) body[at + i] = '*';
            found++;
        }
    }
    return found;
}

static void rewrite(u32 kind) {
    u32 length = whole_body(kind);
    if (!mask(length)) return;
    write_body(kind, body, length / 2);
    write_body(kind, body + length / 2, length - length / 2);
}

EXPORT(_initialize) void initialize(void) {
    word_length = get_config(word, sizeof word);
    if (word_length > sizeof word) __builtin_trap();
    u32 wanted = BUFFER_REQUEST | BUFFER_RESPONSE | TRAILERS;
    if ((enable_features(wanted) & wanted) != wanted) __builtin_trap();
    if (log_enabled(0)) host_log(0, TEXT("ready"));
}

EXPORT(handle_request) u64 handle_request(void) {
    static char uri[256], token[32];
    if (get_header_values(REQUEST, TEXT("x-token"), token, sizeof token) >> 32 == 0) {
        set_status_code(401);
        add_header_value(RESPONSE, TEXT("www-authenticate"), TEXT("Token"));
        write_body(RESPONSE, TEXT("no token\n"));
        return 0;
    }
    remove_header(REQUEST, TEXT("X-Token"));
    u32 length = get_uri(uri, sizeof uri);
    if (length > 4 && uri[1] == 'o' && uri[2] == 'l' && uri[3] == 'd') {
        uri[1] = 'n', uri[2] = 'e', uri[3] = 'w';
        set_uri(uri, length);
    }
    rewrite(REQUEST);
    return (u64)++seen << 32 | 1;
}

EXPORT(handle_response) void handle_response(u32 context, u32 is_error) {
    char digit = '0' + context % 10;
    if (is_error) {
        host_log(2, TEXT("there was no response"));
        return;
    }
    set_header_value(RESPONSE, TEXT("x-seen"), &digit, 1);
    if (get_status_code() == 500) set_status_code(503);
    rewrite(RESPONSE);
    add_header_value(RESPONSE_TRAILERS, TEXT("x-masked"), TEXT("yes"));
}
