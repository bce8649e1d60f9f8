/* For tunnels: writes what the client sends in capitals, line by line, and marks what comes back. */
#include "proxy_wasm.h"

static uint64_t received;

uint32_t EXPORT(proxy_on_new_connection)(uint32_t context) {
  say(INFO, T("a connection"));
  proxy_set_buffer_bytes(DOWNSTREAM_DATA, 0, 0, "", 0);
  return CONTINUE;
}

uint32_t EXPORT(proxy_on_downstream_data)(uint32_t context, size_t length, uint32_t ended) {
  text data = buffer(DOWNSTREAM_DATA);
  if (data.length && data.at[data.length - 1] != '\n' && !ended) return PAUSE; /* whole lines */
  if (same(data, T("close\n"))) proxy_close_stream(DOWNSTREAM);
  for (size_t i = 0; i < data.length; i++)
    if (data.at[i] >= 'a' && data.at[i] <= 'z') data.at[i] -= 'a' - 'A';
  proxy_set_buffer_bytes(DOWNSTREAM_DATA, 0, (size_t)-1, data.at, data.length);
  return CONTINUE;
}

uint32_t EXPORT(proxy_on_upstream_data)(uint32_t context, size_t length, uint32_t ended) {
  received += length;
  if (length) proxy_set_buffer_bytes(UPSTREAM_DATA, (size_t)-1, 0, "<", 1);
  return CONTINUE;
}

void EXPORT(proxy_on_downstream_connection_close)(uint32_t context, uint32_t peer) {
  say(INFO, T("the client is gone"));
}

void EXPORT(proxy_on_upstream_connection_close)(uint32_t context, uint32_t peer) {
  say(INFO, number(received));
}

void EXPORT(proxy_on_log)(uint32_t context) { say(INFO, T("over")); }
