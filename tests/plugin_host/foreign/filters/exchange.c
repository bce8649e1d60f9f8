/* Does one thing for each path: what a test asks for is in the URL. */
#include "proxy_wasm.h"

static uint32_t queue, hits, size_seen, open_flows;
static uint32_t waiting; /* the context whose call is under way */
static uint32_t ticks;
static char greeting[64];
static size_t greeting_length;

uint32_t EXPORT(proxy_on_vm_start)(uint32_t root, size_t length) {
  say(INFO, buffer(VM_CONFIGURATION));
  proxy_register_shared_queue("work", 4, &queue);
  proxy_define_metric(COUNTER, "hits", 4, &hits);
  proxy_define_metric(HISTOGRAM, "sizes", 5, &size_seen);
  proxy_define_metric(GAUGE, "open", 4, &open_flows);
  return 1;
}

uint32_t EXPORT(proxy_on_configure)(uint32_t root, size_t length) {
  text config = buffer(PLUGIN_CONFIGURATION);
  if (same(config, T("refuse"))) {
    say(ERROR, T("I do not want this configuration"));
    return 0;
  }
  if (same(config, T("tick"))) proxy_set_tick_period_milliseconds(20);
  greeting_length = config.length < sizeof greeting ? config.length : sizeof greeting;
  memcpy(greeting, config.at, greeting_length);
  return 1;
}

void EXPORT(proxy_on_tick)(uint32_t root) {
  text line = number(++ticks);
  if (ticks <= 3) proxy_set_shared_data("ticks", 5, line.at, line.length, 0);
  if (ticks == 3) {
    proxy_set_tick_period_milliseconds(0);
    say(INFO, T("ticked three times"));
  }
}

void EXPORT(proxy_on_queue_ready)(uint32_t root, uint32_t which) {
  text item;
  if (proxy_dequeue_shared_queue(which, &item.at, &item.length) == OK) say(INFO, item);
}

static uint32_t answer(uint32_t status, text body) {
  char fields[256];
  text pairs[] = {T("x-by"), T("the filter")};
  size_t length = serialise(fields, pairs, 1);
  proxy_send_local_response(status, "", 0, body.at, body.length, fields, length, (uint32_t)-1);
  return PAUSE;
}

static void count_up(void) {
  for (;;) {
    text old;
    uint32_t cas = 0;
    uint64_t value = 0;
    if (proxy_get_shared_data("count", 5, &old.at, &old.length, &cas) == OK)
      for (size_t i = 0; i < old.length; i++) value = value * 10 + (uint64_t)(old.at[i] - '0');
    text next = number(value + 1);
    if (proxy_set_shared_data("count", 5, next.at, next.length, cas) == CAS_MISMATCH) continue;
    add(REQUEST_HEADERS, T("x-count"), next);
    break;
  }
  uint32_t stale = proxy_set_shared_data("count", 5, "0", 1, 0x7fffffff);
  add(REQUEST_HEADERS, T("x-stale"), number(stale));
}

static uint32_t call(uint32_t context) {
  char fields[512];
  text pairs[] = {T(":method"), T("GET"),  T(":path"),  T("/token"), T(":authority"),
                  T("auth"),    T("x-for"), T("filter")};
  size_t length = serialise(fields, pairs, 4);
  uint32_t id, status = proxy_http_call("auth", 4, fields, length, "", 0, "", 0, 3000, &id);
  if (status != OK) {
    add(REQUEST_HEADERS, T("x-call"), number(status));
    return CONTINUE;
  }
  waiting = context;
  return PAUSE;
}

void EXPORT(proxy_on_http_call_response)(uint32_t root, uint32_t id, size_t fields, size_t length,
                                         size_t trailers) {
  proxy_set_effective_context(waiting);
  if (fields == 0) {
    answer(503, T("no token"));
    return;
  }
  add(REQUEST_HEADERS, T("x-status"), header(CALL_HEADERS, T(":status")));
  add(REQUEST_HEADERS, T("x-token"), buffer(CALL_BODY));
  proxy_continue_stream(REQUEST);
}

uint32_t EXPORT(proxy_on_request_headers)(uint32_t context, size_t count, uint32_t ended) {
  text path = header(REQUEST_HEADERS, T(":path"));
  proxy_increment_metric(hits, 1);
  proxy_increment_metric(open_flows, 1);
  if (same(path, T("/edit"))) {
    add(REQUEST_HEADERS, T("x-added"), (text){greeting, greeting_length});
    proxy_replace_header_map_value(REQUEST_HEADERS, "x-replaced", 10, "new", 3);
    proxy_remove_header_map_value(REQUEST_HEADERS, "x-removed", 9);
    proxy_replace_header_map_value(REQUEST_HEADERS, ":path", 5, "/edited?yes", 11);
  } else if (same(path, T("/local"))) {
    return answer(418, T("made here\n"));
  } else if (same(path, T("/count"))) {
    count_up();
  } else if (same(path, T("/queue"))) {
    proxy_enqueue_shared_queue(queue, "one job", 7);
  } else if (same(path, T("/call"))) {
    return call(context);
  } else if (same(path, T("/stuck"))) {
    return PAUSE;
  } else if (same(path, T("/close"))) {
    proxy_close_stream(REQUEST);
    return PAUSE;
  } else if (same(path, T("/trap"))) {
    __builtin_trap();
  } else if (same(path, T("/properties"))) {
    add(REQUEST_HEADERS, T("x-method"), property(T("request\0method")));
    add(REQUEST_HEADERS, T("x-plugin"), property(T("plugin_name")));
    add(REQUEST_HEADERS, T("x-root"), property(T("plugin_root_id")));
    text port = property(T("source\0port"));
    uint64_t value = 0;
    memcpy(&value, port.at, port.length < 8 ? port.length : 8);
    add(REQUEST_HEADERS, T("x-port"), number(value));
    proxy_set_property("flow\0comment", 12, "seen by the filter", 18);
  } else if (same(path, T("/metrics"))) {
    uint64_t value = 0;
    proxy_get_metric(hits, &value);
    add(REQUEST_HEADERS, T("x-hits"), number(value));
  } else if (same(path, T("/ticks"))) {
    text value;
    uint32_t cas;
    proxy_get_shared_data("ticks", 5, &value.at, &value.length, &cas);
    add(REQUEST_HEADERS, T("x-ticks"), value);
  } else if (same(path, T("/foreign"))) {
    uint32_t status = proxy_call_foreign_function("f", 1, "", 0, 0, 0);
    add(REQUEST_HEADERS, T("x-foreign"), number(status));
  }
  return CONTINUE;
}

static void rewrite(uint32_t which, text before) {
  text body = buffer(which);
  proxy_record_metric(size_seen, body.length);
  for (size_t i = 0; i < body.length; i++)
    if (body.at[i] >= 'a' && body.at[i] <= 'z') body.at[i] -= 'a' - 'A';
  proxy_set_buffer_bytes(which, 0, (size_t)-1, body.at, body.length);
  proxy_set_buffer_bytes(which, 0, 0, before.at, before.length);
}

/* Bodies are written in capitals where the request asks for it, once they are there whole. */
static int in_capitals(void) { return header(REQUEST_HEADERS, T("x-capitals")).length > 0; }

uint32_t EXPORT(proxy_on_request_body)(uint32_t context, size_t length, uint32_t ended) {
  if (!in_capitals()) return CONTINUE;
  if (!ended) return PAUSE;
  rewrite(REQUEST_BODY, T("REQUEST: "));
  return CONTINUE;
}

uint32_t EXPORT(proxy_on_response_headers)(uint32_t context, size_t count, uint32_t ended) {
  proxy_remove_header_map_value(RESPONSE_HEADERS, "server", 6);
  add(RESPONSE_HEADERS, T("x-filter"), T("was here"));
  add(RESPONSE_HEADERS, T("x-ended"), number(ended));
  if (in_capitals()) proxy_remove_header_map_value(RESPONSE_HEADERS, "content-length", 14);
  return CONTINUE;
}

uint32_t EXPORT(proxy_on_response_body)(uint32_t context, size_t length, uint32_t ended) {
  if (!in_capitals()) return CONTINUE;
  if (!ended) return PAUSE;
  rewrite(RESPONSE_BODY, T("RESPONSE: "));
  return CONTINUE;
}

uint32_t EXPORT(proxy_on_done)(uint32_t context) { return 1; }

void EXPORT(proxy_on_log)(uint32_t context) {
  char line[128];
  text path = property(T("request\0path")), status = header(RESPONSE_HEADERS, T(":status"));
  size_t length = path.length < 100 ? path.length : 100;
  memcpy(line, path.at, length);
  line[length++] = ' ';
  memcpy(line + length, status.at, status.length);
  say(WARN, (text){line, length + status.length});
  proxy_increment_metric(open_flows, -1);
}
