//! INT3RCEPTOR's plugin ABI as Rust would want it: `no_std`, no allocator, no dependencies.
//!
//! Use it with `#[path = "../../sdk/int3.rs"] mod int3;`, or copied, with `mod int3;`. Only the
//! functions that a plugin calls become imports of its module. A plugin that calls anything but
//! `log` and `abort` speaks ABI v1 and exports `int3_abi_version() -> i32` returning 1. See
//! docs/plugin-abi.md.
#![allow(dead_code)]

#[link(wasm_import_module = "env")]
extern "C" {
    fn host_log(level: i32, ptr: *const u8, len: usize);
    fn host_abort(ptr: *const u8, len: usize);
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
pub const REASON: i32 = 14;
pub const HOST_VERSION: i32 = 15;

pub fn log(level: i32, text: &[u8]) {
    unsafe { host_log(level, text.as_ptr(), text.len()) }
}

/// Log `text` and end this call; the host gives up the instance.
pub fn abort(text: &[u8]) {
    unsafe { host_abort(text.as_ptr(), text.len()) }
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

/// Prepare a response without headers of its own; return RESPOND after it.
pub fn respond(status: i32, body: &[u8]) -> i32 {
    unsafe { host_respond(status, body.as_ptr(), 0, body.as_ptr(), body.len()) }
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

#[cfg(target_arch = "wasm32")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    core::arch::wasm32::unreachable()
}
