/* The part of the Proxy-Wasm ABI that the filters of these tests use, as C sees it. */
#include <stddef.h>
#include <stdint.h>

#define IMPORT(name) __attribute__((import_module("env"), import_name(#name))) uint32_t name
#define EXPORT(name) __attribute__((export_name(#name))) name

enum { OK, NOT_FOUND, BAD_ARGUMENT, CAS_MISMATCH = 8, UNIMPLEMENTED = 12 };
enum { CONTINUE, PAUSE };
enum { REQUEST, RESPONSE, DOWNSTREAM, UPSTREAM };
enum { REQUEST_HEADERS, REQUEST_TRAILERS, RESPONSE_HEADERS, RESPONSE_TRAILERS, CALL_HEADERS = 6 };
enum { REQUEST_BODY, RESPONSE_BODY, DOWNSTREAM_DATA, UPSTREAM_DATA, CALL_BODY };
enum { VM_CONFIGURATION = 6, PLUGIN_CONFIGURATION = 7 };
enum { COUNTER, GAUGE, HISTOGRAM };
enum { TRACE, DEBUG, INFO, WARN, ERROR, CRITICAL };

IMPORT(proxy_log)(uint32_t level, const char *text, size_t length);
IMPORT(proxy_get_buffer_bytes)(uint32_t, size_t start, size_t most, char **, size_t *);
IMPORT(proxy_set_buffer_bytes)(uint32_t, size_t start, size_t size, const char *, size_t);
IMPORT(proxy_get_header_map_value)(uint32_t, const char *, size_t, char **, size_t *);
IMPORT(proxy_add_header_map_value)(uint32_t, const char *, size_t, const char *, size_t);
IMPORT(proxy_replace_header_map_value)(uint32_t, const char *, size_t, const char *, size_t);
IMPORT(proxy_remove_header_map_value)(uint32_t, const char *, size_t);
IMPORT(proxy_get_header_map_pairs)(uint32_t, char **, size_t *);
IMPORT(proxy_set_header_map_pairs)(uint32_t, const char *, size_t);
IMPORT(proxy_get_property)(const char *, size_t, char **, size_t *);
IMPORT(proxy_set_property)(const char *, size_t, const char *, size_t);
IMPORT(proxy_get_shared_data)(const char *, size_t, char **, size_t *, uint32_t *cas);
IMPORT(proxy_set_shared_data)(const char *, size_t, const char *, size_t, uint32_t cas);
IMPORT(proxy_register_shared_queue)(const char *, size_t, uint32_t *);
IMPORT(proxy_enqueue_shared_queue)(uint32_t, const char *, size_t);
IMPORT(proxy_dequeue_shared_queue)(uint32_t, char **, size_t *);
IMPORT(proxy_define_metric)(uint32_t, const char *, size_t, uint32_t *);
IMPORT(proxy_increment_metric)(uint32_t, int64_t);
IMPORT(proxy_record_metric)(uint32_t, uint64_t);
IMPORT(proxy_get_metric)(uint32_t, uint64_t *);
IMPORT(proxy_set_tick_period_milliseconds)(uint32_t);
IMPORT(proxy_set_effective_context)(uint32_t);
IMPORT(proxy_continue_stream)(uint32_t);
IMPORT(proxy_close_stream)(uint32_t);
IMPORT(proxy_done)(void);
IMPORT(proxy_http_call)(const char *, size_t, const char *, size_t, const char *, size_t,
                        const char *, size_t, uint32_t milliseconds, uint32_t *);
IMPORT(proxy_send_local_response)(uint32_t status, const char *, size_t, const char *, size_t,
                                  const char *, size_t, uint32_t grpc);
IMPORT(proxy_call_foreign_function)(const char *, size_t, const char *, size_t, char **, size_t *);

/* Not every filter needs everything. */
#define MAYBE __attribute__((unused))

void EXPORT(proxy_abi_version_0_2_1)(void) {}

/* Memory is given out in one direction, round and round: what a filter keeps, it copies. */
static char heap[256 * 1024] __attribute__((aligned(16)));
static size_t used;

void *EXPORT(proxy_on_memory_allocate)(size_t size) {
  size = (size + 15) & ~(size_t)15;
  if (size > sizeof heap) return NULL;
  if (used + size > sizeof heap) used = 0;
  used += size;
  return heap + used - size;
}

void *memcpy(void *to, const void *from, size_t length) {
  for (size_t i = 0; i < length; i++) ((char *)to)[i] = ((const char *)from)[i];
  return to;
}

void *memset(void *to, int byte, size_t length) {
  for (size_t i = 0; i < length; i++) ((char *)to)[i] = (char)byte;
  return to;
}

/* Text with its length. */
typedef struct {
  char *at;
  size_t length;
} text;

#define T(literal) ((text){(literal), sizeof(literal) - 1})

static MAYBE int same(text a, text b) {
  if (a.length != b.length) return 0;
  for (size_t i = 0; i < a.length; i++)
    if (a.at[i] != b.at[i]) return 0;
  return 1;
}

static MAYBE text number(uint64_t value) {
  static char digits[24];
  size_t at = sizeof digits;
  do digits[--at] = (char)('0' + value % 10);
  while (value /= 10);
  return (text){digits + at, sizeof digits - at};
}

static MAYBE text header(uint32_t map, text name) {
  text value = {NULL, 0};
  proxy_get_header_map_value(map, name.at, name.length, &value.at, &value.length);
  return value;
}

static MAYBE text property(text path) {
  text value = {NULL, 0};
  proxy_get_property(path.at, path.length, &value.at, &value.length);
  return value;
}

static MAYBE text buffer(uint32_t which) {
  text value = {NULL, 0};
  proxy_get_buffer_bytes(which, 0, (size_t)-1, &value.at, &value.length);
  return value;
}

static MAYBE uint32_t add(uint32_t map, text name, text value) {
  return proxy_add_header_map_value(map, name.at, name.length, value.at, value.length);
}

static MAYBE void say(uint32_t level, text line) { proxy_log(level, line.at, line.length); }

/* Write `pairs` of names and values as a map; returns its length. */
static MAYBE size_t serialise(char *to, const text *pairs, uint32_t count) {
  char *at = to;
  memcpy(at, &count, 4), at += 4;
  for (uint32_t i = 0; i < 2 * count; i++) memcpy(at, &pairs[i].length, 4), at += 4;
  for (uint32_t i = 0; i < 2 * count; i++) {
    memcpy(at, pairs[i].at, pairs[i].length), at += pairs[i].length;
    *at++ = 0;
  }
  return (size_t)(at - to);
}
