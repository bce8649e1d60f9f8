// INT3RCEPTOR's plugin ABI as AssemblyScript would want it: strings in, strings out.
//
// asc plugin.ts --outFile plugin.wasm -Oz --use abort=
//
// `--use abort=` turns AssemblyScript's own abort, which the host does not offer, into a trap. Only
// the functions that a plugin calls become imports of its module. A plugin that calls anything but
// `log` and `abort` speaks ABI v1 and exports `int3_abi_version`. See docs/plugin-abi.md.
//
// Hooks are exported functions `export function on_request(): i32`:
//
//     plugin_init           while it is loaded; anything but 0 and it is not
//     on_connect            a client has connected, or sent CONNECT
//     on_request            a request is there, and the origin knows nothing yet
//     on_request_chunk      a piece of its body, of any length
//     on_response           a response is there, and the client knows nothing yet
//     on_response_chunk     a piece of its body
//     on_websocket_message  a whole message, in either direction
//     on_rule_match         a rule fired on a flow
//     on_capture            the flow is over; what was kept of it can be rewritten
//     on_tick               every `tick_ms` of the manifest, without a flow
//
// and `plugin_shutdown(): void`.

// @ts-ignore: decorator
@external("env", "host_log")
declare function host_log(level: i32, text: usize, length: i32): i32;
// @ts-ignore: decorator
@external("env", "host_abort")
declare function host_abort(text: usize, length: i32): i32;
// @ts-ignore: decorator
@external("env", "host_get_memory_size")
declare function host_get_memory_size(): i32;
// @ts-ignore: decorator
@external("env", "host_get_header")
declare function host_get_header(np: usize, nn: i32, into: usize, room: i32): i32;
// @ts-ignore: decorator
@external("env", "host_get_headers")
declare function host_get_headers(into: usize, room: i32): i32;
// @ts-ignore: decorator
@external("env", "host_set_header")
declare function host_set_header(np: usize, nn: i32, vp: usize, vn: i32): i32;
// @ts-ignore: decorator
@external("env", "host_add_header")
declare function host_add_header(np: usize, nn: i32, vp: usize, vn: i32): i32;
// @ts-ignore: decorator
@external("env", "host_remove_header")
declare function host_remove_header(np: usize, nn: i32): i32;
// @ts-ignore: decorator
@external("env", "host_get_field")
declare function host_get_field(id: i32, into: usize, room: i32): i32;
// @ts-ignore: decorator
@external("env", "host_set_field")
declare function host_set_field(id: i32, text: usize, length: i32): i32;
// @ts-ignore: decorator
@external("env", "host_respond")
declare function host_respond(status: i32, hp: usize, hn: i32, bp: usize, bn: i32): i32;
// @ts-ignore: decorator
@external("env", "host_annotate")
declare function host_annotate(kp: usize, kn: i32, vp: usize, vn: i32): i32;
// @ts-ignore: decorator
@external("env", "host_now_ns")
declare function host_now_ns(): i64;
// @ts-ignore: decorator
@external("env", "host_random")
declare function host_random(into: usize, length: i32): i32;
// @ts-ignore: decorator
@external("env", "host_kv_get")
declare function host_kv_get(kp: usize, kn: i32, into: usize, room: i32): i32;
// @ts-ignore: decorator
@external("env", "host_kv_set")
declare function host_kv_set(kp: usize, kn: i32, vp: usize, vn: i32): i32;
// @ts-ignore: decorator
@external("env", "host_kv_add")
declare function host_kv_add(kp: usize, kn: i32, delta: i64): i64;
// @ts-ignore: decorator
@external("env", "host_read_file")
declare function host_read_file(pp: usize, pn: i32, offset: u32, into: usize, room: i32): i32;
// @ts-ignore: decorator
@external("env", "host_metric_add")
declare function host_metric_add(np: usize, nn: i32, delta: i64): i32;
// @ts-ignore: decorator
@external("env", "host_http_request")
declare function host_http_request(text: usize, length: i32, into: usize, room: i32): i32;
// @ts-ignore: decorator
@external("env", "host_get_body")
declare function host_get_body(offset: u32, into: usize, room: i32): i32;
// @ts-ignore: decorator
@external("env", "host_set_body")
declare function host_set_body(bytes: usize, length: i32): i32;
// @ts-ignore: decorator
@external("env", "host_delay")
declare function host_delay(ms: u32): i32;

export namespace Level {
  export const DEBUG: i32 = 0;
  export const INFO: i32 = 1;
  export const WARN: i32 = 2;
  export const ERROR: i32 = 3;
}

/** What a hook returns. */
export const CONTINUE: i32 = 0;
export const BLOCK: i32 = 1;
export const HOLD: i32 = 2;
export const RESPOND: i32 = 3;
export const SKIP_REST: i32 = 4;

/** What the host answers; zero and more is success, or a length. */
export const ABSENT: i32 = -1;
export const NOT_PERMITTED: i32 = -2;
export const BAD_POINTER: i32 = -3;
export const OVER_LIMIT: i32 = -4;
export const NOT_IN_HOOK: i32 = -5;

/** What `field` and `setField` name. */
export namespace Field {
  export const METHOD: i32 = 0;
  export const URL: i32 = 1;
  export const STATUS: i32 = 2;
  export const HOST: i32 = 3;
  export const PORT: i32 = 4;
  export const SCHEME: i32 = 5;
  export const HTTP_VERSION: i32 = 6;
  export const FLOW_ID: i32 = 7;
  export const CLIENT_ADDRESS: i32 = 8;
  export const SERVER_ADDRESS: i32 = 9;
  export const RULE_ID: i32 = 10;
  export const CONFIGURATION: i32 = 11;
  export const WEBSOCKET_DIRECTION: i32 = 12;
  export const WEBSOCKET_OPCODE: i32 = 13;
  export const REASON: i32 = 14;
  export const HOST_VERSION: i32 = 15;
  /** Which message headers and bodies are of: set it to "request", "response" and the like. */
  export const MESSAGE: i32 = 16;
  export const BODY_END: i32 = 17;
}

/** What values are read into: one page, which no header and no field of ordinary size fills. */
const ROOM: i32 = 65536;
const BUFFER: usize = memory.data(65536);

export function log(level: i32, text: string): void {
  const bytes = String.UTF8.encode(text);
  host_log(level, changetype<usize>(bytes), bytes.byteLength);
}

/** Log `text` and end this call; the host gives up the instance. */
export function abort(text: string): void {
  const bytes = String.UTF8.encode(text);
  host_abort(changetype<usize>(bytes), bytes.byteLength);
}

/** The plugin's memory, in pages of 64 KiB. */
export function memorySize(): i32 {
  return host_get_memory_size();
}

/** A header's value; null where there is none. */
export function header(name: string): string | null {
  const bytes = String.UTF8.encode(name);
  const length = host_get_header(changetype<usize>(bytes), bytes.byteLength, BUFFER, ROOM);
  return read(length);
}

/** All headers in their order, as name and value; null where there is no message. */
export function headers(): Array<Array<string>> | null {
  const length = host_get_headers(BUFFER, ROOM);
  if (length < 0 || length > ROOM) return null;
  const fields = new Array<Array<string>>();
  const count = load<u32>(BUFFER);
  let at = BUFFER + 4 + 8 * count;
  for (let index: u32 = 0; index < count; index++) {
    const name = load<u32>(BUFFER + 8 * index, 4);
    const value = load<u32>(BUFFER + 8 * index, 8);
    const texts = new Array<string>();
    texts.push(String.UTF8.decodeUnsafe(at, name));
    texts.push(String.UTF8.decodeUnsafe(at + name + 1, value));
    fields.push(texts);
    at += name + value + 2;
  }
  return fields;
}

/** Zero, or a negative code. */
export function setHeader(name: string, value: string): i32 {
  const n = String.UTF8.encode(name);
  const v = String.UTF8.encode(value);
  const answer = host_set_header(
    changetype<usize>(n), n.byteLength, changetype<usize>(v), v.byteLength,
  );
  return answer;
}

export function addHeader(name: string, value: string): i32 {
  const n = String.UTF8.encode(name);
  const v = String.UTF8.encode(value);
  const answer = host_add_header(
    changetype<usize>(n), n.byteLength, changetype<usize>(v), v.byteLength,
  );
  return answer;
}

/** How many there were, or a negative code. */
export function removeHeader(name: string): i32 {
  const n = String.UTF8.encode(name);
  const answer = host_remove_header(changetype<usize>(n), n.byteLength);
  return answer;
}

/** A field's text; null where there is none. */
export function field(id: i32): string | null {
  return read(host_get_field(id, BUFFER, ROOM));
}

export function setField(id: i32, text: string): i32 {
  const bytes = String.UTF8.encode(text);
  const answer = host_set_field(id, changetype<usize>(bytes), bytes.byteLength);
  return answer;
}

/** Prepare a response without headers of its own; return RESPOND after it. */
export function respond(status: i32, body: string): i32 {
  const bytes = String.UTF8.encode(body);
  const answer = host_respond(status, 0, 0, changetype<usize>(bytes), bytes.byteLength);
  return answer;
}

/** The same with headers, each as name and value. */
export function respondWith(status: i32, fields: Array<Array<string>>, body: string): i32 {
  const head = new ArrayBuffer(4 + 8 * fields.length);
  store<u32>(changetype<usize>(head), fields.length);
  let texts = "";
  for (let index = 0; index < fields.length; index++) {
    const lengths = changetype<usize>(head) + 8 * index;
    for (let half = 0; half < 2; half++) {
      const text = fields[index][half];
      store<u32>(lengths + 4 * half, String.UTF8.byteLength(text), 4);
      texts += text + "\0";
    }
  }
  const tail = String.UTF8.encode(texts);
  const block = new ArrayBuffer(head.byteLength + tail.byteLength);
  memory.copy(changetype<usize>(block), changetype<usize>(head), head.byteLength);
  memory.copy(
    changetype<usize>(block) + head.byteLength, changetype<usize>(tail), tail.byteLength,
  );
  const bytes = String.UTF8.encode(body);
  const answer = host_respond(
    status, changetype<usize>(block), block.byteLength, changetype<usize>(bytes), bytes.byteLength,
  );
  return answer;
}

/**
 * The body; null where there is none, or it has more than `most` bytes. In `on_request` and
 * `on_response` that is the whole body, decoded; elsewhere the piece, the message or the captured
 * copy that the hook is about.
 */
export function body(most: i32 = 1048576): ArrayBuffer | null {
  const length = bodyLength();
  if (length < 0 || length > most) return null;
  const bytes = new ArrayBuffer(length);
  host_get_body(0, changetype<usize>(bytes), length);
  return bytes;
}

/** How many bytes the body has; a negative code without one. */
export function bodyLength(): i32 {
  return host_get_body(0, BUFFER, 0);
}

/** Up to `most` bytes of the body from `offset`; null without one. */
export function bodyPart(offset: i32, most: i32): ArrayBuffer | null {
  const left = bodyLength() - offset;
  if (offset < 0 || left < 0) return null;
  const bytes = new ArrayBuffer(left < most ? left : most);
  host_get_body(offset, changetype<usize>(bytes), bytes.byteLength);
  return bytes;
}

/** The same as `body`, as text. */
export function bodyText(most: i32 = 1048576): string | null {
  const bytes = body(most);
  return bytes === null ? null : String.UTF8.decode(bytes);
}

/** Put another body in its place; zero, or a negative code. */
export function setBody(bytes: ArrayBuffer): i32 {
  const answer = host_set_body(changetype<usize>(bytes), bytes.byteLength);
  return answer;
}

export function setBodyText(text: string): i32 {
  return setBody(String.UTF8.encode(text));
}

/** Whether the piece in `on_request_chunk` and `on_response_chunk` is the last. */
export function isLastPiece(): bool {
  return begins(Field.BODY_END, 0x31);
}

/** Whether the message in `on_websocket_message` comes from the client. */
export function isFromClient(): bool {
  return begins(Field.WEBSOCKET_DIRECTION, 0x63);
}

/** Whether the message in `on_websocket_message` is text; else it is binary. */
export function isText(): bool {
  return begins(Field.WEBSOCKET_OPCODE, 0x31);
}

function begins(id: i32, first: u8): bool {
  return host_get_field(id, BUFFER, ROOM) > 0 && load<u8>(BUFFER) == first;
}

/** Have what the hook is about go on `ms` later, 60 000 at most; the hook returns meanwhile. */
export function delay(ms: u32): i32 {
  return host_delay(ms);
}

/** `key` is "comment", "tag" or "colour". */
export function annotate(key: string, value: string): i32 {
  const k = String.UTF8.encode(key);
  const v = String.UTF8.encode(value);
  const answer = host_annotate(
    changetype<usize>(k), k.byteLength, changetype<usize>(v), v.byteLength,
  );
  return answer;
}

/** Nanoseconds since 1970. */
export function now(): i64 {
  return host_now_ns();
}

export function random(into: usize, length: i32): void {
  host_random(into, length);
}

/** A value of the plugin's state, which survives traps, reloads and restarts; null without one. */
export function get(key: string): string | null {
  const bytes = String.UTF8.encode(key);
  return read(host_kv_get(changetype<usize>(bytes), bytes.byteLength, BUFFER, ROOM));
}

/** Keep a value; an empty one deletes. */
export function set(key: string, value: string): i32 {
  const k = String.UTF8.encode(key);
  const v = String.UTF8.encode(value);
  const answer = host_kv_set(
    changetype<usize>(k), k.byteLength, changetype<usize>(v), v.byteLength,
  );
  return answer;
}

/** Add to a number that is kept; the new one, or a negative code. */
export function add(key: string, delta: i64): i64 {
  const bytes = String.UTF8.encode(key);
  const answer = host_kv_add(changetype<usize>(bytes), bytes.byteLength, delta);
  return answer;
}

/** Up to 64 KiB of a file in a directory that the user has granted; null where that cannot be. */
export function readFile(path: string, offset: u32): string | null {
  const bytes = String.UTF8.encode(path);
  return read(host_read_file(changetype<usize>(bytes), bytes.byteLength, offset, BUFFER, ROOM));
}

/**
 * Ask a host that the user has granted; null without an answer, or where it has more than `most`
 * bytes. `request` is `METHOD URL`, lines `name: value`, an empty line, the body; the answer is
 * alike.
 */
export function httpRequest(request: string, most: i32 = 1048576): string | null {
  const bytes = String.UTF8.encode(request);
  const length = host_http_request(changetype<usize>(bytes), bytes.byteLength, BUFFER, ROOM);
  if (length <= ROOM) return read(length);
  if (length > most) return null;
  const whole = new ArrayBuffer(length);
  host_http_request(0, 0, changetype<usize>(whole), length); // the same answer again
  return String.UTF8.decode(whole);
}

/** Count something that the console shows. */
export function count(metric: string, delta: i64): i32 {
  const bytes = String.UTF8.encode(metric);
  const answer = host_metric_add(changetype<usize>(bytes), bytes.byteLength, delta);
  return answer;
}

function read(length: i32): string | null {
  if (length < 0 || length > ROOM) return null;
  return String.UTF8.decodeUnsafe(BUFFER, length);
}
