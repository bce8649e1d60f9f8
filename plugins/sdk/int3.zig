//! INT3RCEPTOR's plugin ABI as Zig would want it: freestanding, no allocator, no dependencies.
//!
//! zig build-exe plugin.zig -target wasm32-freestanding -fno-entry -rdynamic -O ReleaseSmall
//!
//! Only the functions that a plugin calls become imports of its module. A plugin that calls
//! anything but `log` and `abort` speaks ABI v1 and exports `int3_abi_version`. See
//! docs/plugin-abi.md.

const host = struct {
    extern "env" fn host_log(level: i32, text: [*]const u8, length: usize) i32;
    extern "env" fn host_abort(text: [*]const u8, length: usize) i32;
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
};

pub const Level = enum(i32) { debug, info, warn, err };

/// What a hook returns.
pub const proceed: i32 = 0;
pub const block: i32 = 1;
pub const hold: i32 = 2;
pub const answer: i32 = 3;
pub const skip_rest: i32 = 4;

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
    reason = 14,
    host_version = 15,
};

pub fn log(level: Level, text: []const u8) void {
    _ = host.host_log(@intFromEnum(level), text.ptr, text.len);
}

/// Log `text` and end this call; the host gives up the instance.
pub fn abort(text: []const u8) void {
    _ = host.host_abort(text.ptr, text.len);
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

/// Prepare a response without headers of its own; return `answer` after it.
pub fn respond(status: i32, body: []const u8) i32 {
    return host.host_respond(status, body.ptr, 0, body.ptr, body.len);
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

/// Count something that the console shows.
pub fn count(metric: []const u8, delta: i64) i32 {
    return host.host_metric_add(metric.ptr, metric.len, delta);
}

fn filled(into: []u8, length: i32) ?[]u8 {
    if (length < 0 or length > into.len) return null;
    return into[0..@intCast(length)];
}
