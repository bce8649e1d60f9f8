//! INT3RCEPTOR's plugin ABI as Rust would want it: `no_std`, no allocator, no dependencies.
//!
//! Use it with `#[path = "../../sdk/int3.rs"] mod int3;`, or copied, with `mod int3;`. Only the
//! functions that a plugin calls become imports of its module. A plugin that calls anything but
//! `log` and `abort` speaks ABI v1 and exports `int3_abi_version() -> i32` returning 1. See
//! docs/plugin-abi.md.
//!
//! Hooks are exported functions `#[no_mangle] extern "C" fn on_request() -> i32`:
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
//! and `plugin_shutdown()`, which returns nothing.
#![allow(dead_code)]

#[link(wasm_import_module = "env")]
extern "C" {
    fn host_log(level: i32, ptr: *const u8, len: usize);
    fn host_abort(ptr: *const u8, len: usize);
    fn host_get_memory_size() -> i32;
    fn host_get_header(np: *const u8, nn: usize, buf: *mut u8, cap: usize) -> i32;
    fn host_set_header(np: *const u8, nn: usize, vp: *const u8, vn: usize) -> i32;
    fn host_add_header(np: *const u8, nn: usize, vp: *const u8, vn: usize) -> i32;
    fn host_remove_header(np: *const u8, nn: usize) -> i32;
    fn host_get_field(id: i32, buf: *mut u8, cap: usize) -> i32;
    fn host_set_field(id: i32, ptr: *const u8, len: usize) -> i32;
    fn host_get_headers(buf: *mut u8, cap: usize) -> i32;
    fn host_respond(status: i32, hp: *const u8, hn: usize, bp: *const u8, bn: usize) -> i32;
    fn host_annotate(kp: *const u8, kn: usize, vp: *const u8, vn: usize) -> i32;
    fn host_now_ns() -> i64;
    fn host_random(buf: *mut u8, len: usize) -> i32;
    fn host_kv_get(kp: *const u8, kn: usize, buf: *mut u8, cap: usize) -> i32;
    fn host_kv_set(kp: *const u8, kn: usize, vp: *const u8, vn: usize) -> i32;
    fn host_kv_add(kp: *const u8, kn: usize, delta: i64) -> i64;
    fn host_read_file(pp: *const u8, pn: usize, offset: u32, buf: *mut u8, cap: usize) -> i32;
    fn host_metric_add(np: *const u8, nn: usize, delta: i64) -> i32;
    fn host_http_request(ptr: *const u8, len: usize, buf: *mut u8, cap: usize) -> i32;
    fn host_get_body(offset: usize, buf: *mut u8, cap: usize) -> i32;
    fn host_set_body(ptr: *const u8, len: usize) -> i32;
    fn host_delay(ms: u32) -> i32;
}

pub const DEBUG: i32 = 0;
pub const INFO: i32 = 1;
pub const WARN: i32 = 2;
pub const ERROR: i32 = 3;

/// What a hook returns.
pub const CONTINUE: i32 = 0;
pub const BLOCK: i32 = 1;
pub const HOLD: i32 = 2;
pub const RESPOND: i32 = 3;
pub const SKIP_REST: i32 = 4;

/// What the host answers; zero and more is success, or a length.
pub const ABSENT: i32 = -1;
pub const NOT_PERMITTED: i32 = -2;
pub const BAD_POINTER: i32 = -3;
pub const OVER_LIMIT: i32 = -4;
pub const NOT_IN_HOOK: i32 = -5;

/// What `field` and `set_field` name.
pub const METHOD: i32 = 0;
pub const URL: i32 = 1;
pub const STATUS: i32 = 2;
pub const HOST: i32 = 3;
pub const PORT: i32 = 4;
pub const SCHEME: i32 = 5;
pub const HTTP_VERSION: i32 = 6;
pub const FLOW_ID: i32 = 7;
pub const CLIENT_ADDRESS: i32 = 8;
pub const SERVER_ADDRESS: i32 = 9;
pub const RULE_ID: i32 = 10;
pub const CONFIGURATION: i32 = 11;
pub const WEBSOCKET_DIRECTION: i32 = 12;
pub const WEBSOCKET_OPCODE: i32 = 13;
pub const REASON: i32 = 14;
pub const HOST_VERSION: i32 = 15;
/// Which message headers and bodies are of: set it to "request", "response"; in `on_capture` more.
pub const MESSAGE: i32 = 16;
pub const BODY_END: i32 = 17;

pub fn log(level: i32, text: &[u8]) {
    unsafe { host_log(level, text.as_ptr(), text.len()) }
}

/// Log `text` and end this call; the host gives up the instance.
pub fn abort(text: &[u8]) {
    unsafe { host_abort(text.as_ptr(), text.len()) }
}

/// The plugin's memory, in pages of 64 KiB.
pub fn memory_size() -> i32 {
    unsafe { host_get_memory_size() }
}

/// Copy a header's value into `into`; return its full length, or a negative code.
pub fn header(name: &[u8], into: &mut [u8]) -> i32 {
    unsafe { host_get_header(name.as_ptr(), name.len(), into.as_mut_ptr(), into.len()) }
}

pub fn set_header(name: &[u8], value: &[u8]) -> i32 {
    unsafe { host_set_header(name.as_ptr(), name.len(), value.as_ptr(), value.len()) }
}

pub fn add_header(name: &[u8], value: &[u8]) -> i32 {
    unsafe { host_add_header(name.as_ptr(), name.len(), value.as_ptr(), value.len()) }
}

pub fn remove_header(name: &[u8]) -> i32 {
    unsafe { host_remove_header(name.as_ptr(), name.len()) }
}

/// Copy a field's text into `into`; return its full length, or a negative code.
pub fn field(id: i32, into: &mut [u8]) -> i32 {
    unsafe { host_get_field(id, into.as_mut_ptr(), into.len()) }
}

pub fn set_field(id: i32, text: &[u8]) -> i32 {
    unsafe { host_set_field(id, text.as_ptr(), text.len()) }
}

/// Copy all headers, laid out as in docs/plugin-abi.md; return their full length.
pub fn headers(into: &mut [u8]) -> i32 {
    unsafe { host_get_headers(into.as_mut_ptr(), into.len()) }
}

/// Copy what there is of the body from `offset` into `into`; return its full length, or a
/// negative code.
///
/// In `on_request` and `on_response` that is the whole body, decoded; elsewhere the piece, the
/// message or the captured copy that the hook is about.
pub fn body(offset: usize, into: &mut [u8]) -> i32 {
    unsafe { host_get_body(offset, into.as_mut_ptr(), into.len()) }
}

/// Put `bytes` in the body's place; zero, or a negative code.
pub fn set_body(bytes: &[u8]) -> i32 {
    unsafe { host_set_body(bytes.as_ptr(), bytes.len()) }
}

/// Whether the piece in `on_request_chunk` and `on_response_chunk` is the last.
pub fn is_last_piece() -> bool {
    is(BODY_END, b'1')
}

/// Whether the message in `on_websocket_message` comes from the client.
pub fn is_from_client() -> bool {
    is(WEBSOCKET_DIRECTION, b'c')
}

/// Whether the message in `on_websocket_message` is text, which is UTF-8; else it is binary.
pub fn is_text() -> bool {
    is(WEBSOCKET_OPCODE, b'1')
}

fn is(id: i32, first: u8) -> bool {
    let mut room = [0; 8];
    field(id, &mut room) > 0 && room[0] == first
}

/// Have what the hook is about go on `ms` later, 60 000 at most; the hook returns meanwhile.
pub fn delay(ms: u32) -> i32 {
    unsafe { host_delay(ms) }
}

/// Prepare a response without headers of its own; return RESPOND after it.
pub fn respond(status: i32, body: &[u8]) -> i32 {
    respond_with(status, b"", body)
}

/// The same with headers, laid out as in docs/plugin-abi.md.
pub fn respond_with(status: i32, headers: &[u8], body: &[u8]) -> i32 {
    unsafe {
        host_respond(status, headers.as_ptr(), headers.len(), body.as_ptr(), body.len())
    }
}

/// `key` is "comment", "tag" or "colour".
pub fn annotate(key: &[u8], value: &[u8]) -> i32 {
    unsafe { host_annotate(key.as_ptr(), key.len(), value.as_ptr(), value.len()) }
}

/// Nanoseconds since 1970.
pub fn now() -> i64 {
    unsafe { host_now_ns() }
}

pub fn random(into: &mut [u8]) {
    unsafe {
        host_random(into.as_mut_ptr(), into.len());
    }
}

/// Copy a value of the plugin's state into `into`; return its full length, or a negative code.
///
/// The state survives traps, reloads and restarts.
pub fn get(key: &[u8], into: &mut [u8]) -> i32 {
    unsafe { host_kv_get(key.as_ptr(), key.len(), into.as_mut_ptr(), into.len()) }
}

/// Keep a value; an empty one deletes.
pub fn set(key: &[u8], value: &[u8]) -> i32 {
    unsafe { host_kv_set(key.as_ptr(), key.len(), value.as_ptr(), value.len()) }
}

/// Add to a number that is kept; return the new one, or a negative code.
pub fn add(key: &[u8], delta: i64) -> i64 {
    unsafe { host_kv_add(key.as_ptr(), key.len(), delta) }
}

/// Read from a file in a directory that the user has granted; return how many bytes, 0 at its end.
pub fn read_file(path: &[u8], offset: u32, into: &mut [u8]) -> i32 {
    unsafe { host_read_file(path.as_ptr(), path.len(), offset, into.as_mut_ptr(), into.len()) }
}

/// Ask a host that the user has granted and wait for the answer; return its full length, or a
/// negative code. Where it did not fit, ask again with an empty `request` and more room.
///
/// `request` is `METHOD URL`, lines `name: value`, an empty line, the body; the answer is alike.
pub fn http_request(request: &[u8], into: &mut [u8]) -> i32 {
    unsafe {
        host_http_request(request.as_ptr(), request.len(), into.as_mut_ptr(), into.len())
    }
}

/// Count something that the console shows.
pub fn count(metric: &[u8], delta: i64) -> i32 {
    unsafe { host_metric_add(metric.as_ptr(), metric.len(), delta) }
}

/// A line of text that is put together piece by piece; what does not fit is left out.
pub struct Line {
    bytes: [u8; 2048],
    length: usize,
}

impl Line {
    pub const fn new() -> Self {
        Line { bytes: [0; 2048], length: 0 }
    }

    #[inline(never)]
    pub fn text(&mut self, text: &[u8]) -> &mut Self {
        for byte in text {
            if let Some(place) = self.bytes.get_mut(self.length) {
                *place = *byte;
                self.length += 1;
            }
        }
        self
    }

    #[inline(never)]
    pub fn number(&mut self, number: u32) -> &mut Self {
        if number >= 10 {
            self.number(number / 10);
        }
        self.text(&[b'0' + (number % 10) as u8])
    }

    /// Append a field of the flow; nothing where there is none or it does not fit.
    #[inline(never)]
    pub fn field(&mut self, id: i32) -> &mut Self {
        if let Some(room) = self.bytes.get_mut(self.length..) {
            let length = field(id, room) as usize; // a negative code is huge
            if length <= room.len() {
                self.length += length;
            }
        }
        self
    }

    /// Log the line and begin a new one.
    #[inline(never)]
    pub fn log(&mut self, level: i32) {
        if let Some(text) = self.bytes.get(..self.length) {
            log(level, text);
        }
        self.length = 0;
    }
}

/// Say where, and end this call as `abort` does.
#[cfg(target_arch = "wasm32")]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo) -> ! {
    if let Some(place) = info.location() {
        let mut line = Line::new();
        line.text(b"panicked at ").text(place.file().as_bytes()).text(b":").number(place.line());
        abort(line.bytes.get(..line.length).unwrap_or_default());
    }
    core::arch::wasm32::unreachable()
}
