//! INT3RCEPTOR's plugin ABI as Zig would want it: freestanding, no allocator, no dependencies.
//!
//! zig build-exe plugin.zig -target wasm32-freestanding -fno-entry -rdynamic -O ReleaseSmall
//!
//! Only the functions that a plugin calls become imports of its module. A plugin that calls
//! anything but `log` and `abort` speaks ABI v1 and exports `int3_abi_version`. See
//! docs/plugin-abi.md.
//!
//! Hooks are exported functions `export fn on_request() i32`:
//!
//!     plugin_init           while it is loaded; anything but 0 and it is not
//!     on_connect            a client has connected, or sent CONNECT
//!     on_request            a request is there, and the origin knows nothing yet
//!     on_request_chunk      a piece of its body, of any length
//!     on_response           a response is there, and the client knows nothing yet
//!     on_response_chunk     a piece of its body
//!     on_websocket_message  a whole message, in either direction
//!     on_rule_match         a rule fired on a flow
//!     on_capture            the flow is over; what was kept of it can be rewritten
//!     on_tick               every `tick_ms` of the manifest, without a flow
//!
//! and `plugin_shutdown() void`.

const host = struct {
    extern "env" fn host_log(level: i32, text: [*]const u8, length: usize) i32;
    extern "env" fn host_abort(text: [*]const u8, length: usize) i32;
    extern "env" fn host_get_memory_size() i32;
    extern "env" fn host_get_header(np: [*]const u8, nn: usize, into: [*]u8, room: usize) i32;
    extern "env" fn host_get_headers(into: [*]u8, room: usize) i32;
    extern "env" fn host_set_header(np: [*]const u8, nn: usize, vp: [*]const u8, vn: usize) i32;
    extern "env" fn host_add_header(np: [*]const u8, nn: usize, vp: [*]const u8, vn: usize) i32;
    extern "env" fn host_remove_header(np: [*]const u8, nn: usize) i32;
    extern "env" fn host_get_field(id: i32, into: [*]u8, room: usize) i32;
    extern "env" fn host_set_field(id: i32, text: [*]const u8, length: usize) i32;
    extern "env" fn host_respond(status: i32, hp: [*]const u8, hn: usize, bp: [*]const u8, bn: usize) i32;
    extern "env" fn host_annotate(kp: [*]const u8, kn: usize, vp: [*]const u8, vn: usize) i32;
    extern "env" fn host_now_ns() i64;
    extern "env" fn host_random(into: [*]u8, length: usize) i32;
    extern "env" fn host_kv_get(kp: [*]const u8, kn: usize, into: [*]u8, room: usize) i32;
    extern "env" fn host_kv_set(kp: [*]const u8, kn: usize, vp: [*]const u8, vn: usize) i32;
    extern "env" fn host_kv_add(kp: [*]const u8, kn: usize, delta: i64) i64;
    extern "env" fn host_read_file(pp: [*]const u8, pn: usize, offset: u32, into: [*]u8, room: usize) i32;
    extern "env" fn host_metric_add(np: [*]const u8, nn: usize, delta: i64) i32;
    extern "env" fn host_http_request(text: [*]const u8, length: usize, into: [*]u8, room: usize) i32;
    extern "env" fn host_get_body(offset: usize, into: [*]u8, room: usize) i32;
    extern "env" fn host_set_body(bytes: [*]const u8, length: usize) i32;
    extern "env" fn host_delay(ms: u32) i32;
};

pub const Level = enum(i32) { debug, info, warn, err };

/// What a hook returns.
pub const proceed: i32 = 0;
pub const block: i32 = 1;
pub const hold: i32 = 2;
pub const answer: i32 = 3;
pub const skip_rest: i32 = 4;

/// What the host answers; zero and more is success, or a length.
pub const absent: i32 = -1;
pub const not_permitted: i32 = -2;
pub const bad_pointer: i32 = -3;
pub const over_limit: i32 = -4;
pub const not_in_hook: i32 = -5;

/// What `field` and `setField` name.
pub const Field = enum(i32) {
    method = 0,
    url = 1,
    status = 2,
    host = 3,
    port = 4,
    scheme = 5,
    http_version = 6,
    flow_id = 7,
    client_address = 8,
    server_address = 9,
    rule_id = 10,
    configuration = 11,
    websocket_direction = 12,
    websocket_opcode = 13,
    reason = 14,
    host_version = 15,
    /// Which one headers and bodies are of: set "request", "response" and the like.
    message = 16,
    body_end = 17,
};

pub fn log(level: Level, text: []const u8) void {
    _ = host.host_log(@intFromEnum(level), text.ptr, text.len);
}

/// Log `text` and end this call; the host gives up the instance.
pub fn abort(text: []const u8) void {
    _ = host.host_abort(text.ptr, text.len);
}

/// The plugin's memory, in pages of 64 KiB.
pub fn memorySize() i32 {
    return host.host_get_memory_size();
}

/// Copy a header's value into `into`; null where there is none or it does not fit.
pub fn header(name: []const u8, into: []u8) ?[]u8 {
    return filled(into, host.host_get_header(name.ptr, name.len, into.ptr, into.len));
}

/// Copy all headers into `into`, as docs/plugin-abi.md lays them out.
pub fn headers(into: []u8) ?[]u8 {
    return filled(into, host.host_get_headers(into.ptr, into.len));
}

/// Zero, or a negative code.
pub fn setHeader(name: []const u8, value: []const u8) i32 {
    return host.host_set_header(name.ptr, name.len, value.ptr, value.len);
}

pub fn addHeader(name: []const u8, value: []const u8) i32 {
    return host.host_add_header(name.ptr, name.len, value.ptr, value.len);
}

/// How many there were, or a negative code.
pub fn removeHeader(name: []const u8) i32 {
    return host.host_remove_header(name.ptr, name.len);
}

/// Copy a field's text into `into`; null where there is none or it does not fit.
pub fn field(id: Field, into: []u8) ?[]u8 {
    return filled(into, host.host_get_field(@intFromEnum(id), into.ptr, into.len));
}

pub fn setField(id: Field, text: []const u8) i32 {
    return host.host_set_field(@intFromEnum(id), text.ptr, text.len);
}

/// The body's length, or a negative code. In `on_request` and `on_response` that is the whole
/// body, decoded; elsewhere the piece, the message or the captured copy that the hook is about.
pub fn bodyLength() i32 {
    var nothing: [1]u8 = undefined;
    return host.host_get_body(0, &nothing, 0);
}

/// Copy what there is of the body from `offset` into `into`, as much as fits; null without one.
pub fn body(offset: usize, into: []u8) ?[]u8 {
    const length = host.host_get_body(offset, into.ptr, into.len);
    if (length < 0) return null;
    const whole: usize = @intCast(length);
    return into[0..@min(whole -| offset, into.len)];
}

/// Put `bytes` in the body's place; zero, or a negative code.
pub fn setBody(bytes: []const u8) i32 {
    return host.host_set_body(bytes.ptr, bytes.len);
}

/// Whether the piece in `on_request_chunk` and `on_response_chunk` is the last.
pub fn isLastPiece() bool {
    return begins(.body_end, '1');
}

/// Whether the message in `on_websocket_message` comes from the client.
pub fn isFromClient() bool {
    return begins(.websocket_direction, 'c');
}

/// Whether the message in `on_websocket_message` is text, which is UTF-8; else it is binary.
pub fn isText() bool {
    return begins(.websocket_opcode, '1');
}

fn begins(id: Field, first: u8) bool {
    var room: [8]u8 = undefined;
    const text = field(id, &room) orelse return false;
    return text.len > 0 and text[0] == first;
}

/// Have what the hook is about go on `ms` later, 60 000 at most; the hook returns meanwhile.
pub fn delay(ms: u32) i32 {
    return host.host_delay(ms);
}

/// Prepare a response without headers of its own; return `answer` after it.
pub fn respond(status: i32, text: []const u8) i32 {
    return respondWith(status, "", text);
}

/// The same with headers, laid out as in docs/plugin-abi.md.
pub fn respondWith(status: i32, block_of_headers: []const u8, text: []const u8) i32 {
    return host.host_respond(status, block_of_headers.ptr, block_of_headers.len, text.ptr, text.len);
}

/// `key` is "comment", "tag" or "colour".
pub fn annotate(key: []const u8, value: []const u8) i32 {
    return host.host_annotate(key.ptr, key.len, value.ptr, value.len);
}

/// Nanoseconds since 1970.
pub fn now() i64 {
    return host.host_now_ns();
}

pub fn random(into: []u8) void {
    _ = host.host_random(into.ptr, into.len);
}

/// Copy a value of the plugin's state into `into`; null where there is none or it does not fit.
/// The state survives traps, reloads and restarts.
pub fn get(key: []const u8, into: []u8) ?[]u8 {
    return filled(into, host.host_kv_get(key.ptr, key.len, into.ptr, into.len));
}

/// Keep a value; an empty one deletes.
pub fn set(key: []const u8, value: []const u8) i32 {
    return host.host_kv_set(key.ptr, key.len, value.ptr, value.len);
}

/// Add to a number that is kept; the new one, or a negative code.
pub fn add(key: []const u8, delta: i64) i64 {
    return host.host_kv_add(key.ptr, key.len, delta);
}

/// Read from a file in a directory that the user has granted; null where that cannot be.
pub fn readFile(path: []const u8, offset: u32, into: []u8) ?[]u8 {
    return filled(into, host.host_read_file(path.ptr, path.len, offset, into.ptr, into.len));
}

/// Ask a host that the user has granted and wait for the answer; null without one, or where it
/// does not fit: then ask again with an empty `request` and more room.
///
/// `request` is `METHOD URL`, lines `name: value`, an empty line, the body; the answer is alike.
pub fn httpRequest(request: []const u8, into: []u8) ?[]u8 {
    return filled(into, host.host_http_request(request.ptr, request.len, into.ptr, into.len));
}

/// Count something that the console shows.
pub fn count(metric: []const u8, delta: i64) i32 {
    return host.host_metric_add(metric.ptr, metric.len, delta);
}

fn filled(into: []u8, length: i32) ?[]u8 {
    if (length < 0 or length > into.len) return null;
    return into[0..@intCast(length)];
}
