//! A filter of the first version of the ABI: marks messages, and rewrites bodies as they pass.
#![no_std]

use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    core::arch::wasm32::unreachable()
}

#[link(wasm_import_module = "env")]
extern "C" {
    fn proxy_log(level: u32, text: *const u8, length: usize) -> u32;
    fn proxy_get_configuration(at: *mut *mut u8, length: *mut usize) -> u32;
    fn proxy_get_header_map_value(
        map: u32,
        name: *const u8,
        name_length: usize,
        at: *mut *mut u8,
        length: *mut usize,
    ) -> u32;
    fn proxy_add_header_map_value(
        map: u32,
        name: *const u8,
        name_length: usize,
        value: *const u8,
        value_length: usize,
    ) -> u32;
    fn proxy_get_buffer_bytes(
        buffer: u32,
        start: usize,
        most: usize,
        at: *mut *mut u8,
        length: *mut usize,
    ) -> u32;
    fn proxy_set_buffer_bytes(
        buffer: u32,
        start: usize,
        size: usize,
        at: *const u8,
        length: usize,
    ) -> u32;
}

const REQUEST_HEADERS: u32 = 0;
const RESPONSE_HEADERS: u32 = 2;
const RESPONSE_BODY: u32 = 1;
const INFO: u32 = 2;

static mut HEAP: [u8; 65536] = [0; 65536];
static USED: AtomicUsize = AtomicUsize::new(0);

/// Memory is given out round and round: nothing is kept over a callback.
#[no_mangle]
pub extern "C" fn malloc(size: usize) -> *mut u8 {
    let heap = unsafe { &mut *core::ptr::addr_of_mut!(HEAP) };
    if size > heap.len() {
        return core::ptr::null_mut();
    }
    let mut at = USED.load(Relaxed);
    if at + size > heap.len() {
        at = 0;
    }
    USED.store(at + size, Relaxed);
    unsafe { heap.as_mut_ptr().add(at) }
}

/// What a host function gave, which is OK also where it is empty.
fn given(call: impl Fn(*mut *mut u8, *mut usize) -> u32) -> &'static mut [u8] {
    let (mut at, mut length) = (core::ptr::null_mut(), 0);
    if call(&mut at, &mut length) != 0 || at.is_null() {
        return &mut [];
    }
    unsafe { core::slice::from_raw_parts_mut(at, length) }
}

fn header(map: u32, name: &[u8]) -> &'static [u8] {
    given(|at, length| unsafe {
        proxy_get_header_map_value(map, name.as_ptr(), name.len(), at, length)
    })
}

fn add(map: u32, name: &[u8], value: &[u8]) {
    unsafe {
        proxy_add_header_map_value(map, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    };
}

#[no_mangle]
pub extern "C" fn proxy_abi_version_0_1_0() {}

#[no_mangle]
pub extern "C" fn proxy_on_vm_start(_root: u32, _length: usize) -> u32 {
    1
}

#[no_mangle]
pub extern "C" fn proxy_on_configure(_root: u32, _length: usize) -> u32 {
    let text = given(|at, length| unsafe { proxy_get_configuration(at, length) });
    unsafe { proxy_log(INFO, text.as_ptr(), text.len()) };
    1
}

#[no_mangle]
pub extern "C" fn proxy_on_request_headers(_context: u32, _count: usize) -> u32 {
    add(REQUEST_HEADERS, b"x-agent", header(REQUEST_HEADERS, b"user-agent"));
    add(REQUEST_HEADERS, b"x-absent", header(REQUEST_HEADERS, b"x-no-such-header"));
    0
}

#[no_mangle]
pub extern "C" fn proxy_on_response_headers(_context: u32, _count: usize) -> u32 {
    add(RESPONSE_HEADERS, b"x-was", header(RESPONSE_HEADERS, b":status"));
    0
}

/// Each piece of a response goes on at once, its letters in the case that they are not.
#[no_mangle]
pub extern "C" fn proxy_on_response_body(_context: u32, _length: usize, _ended: u32) -> u32 {
    let body = given(|at, length| unsafe {
        proxy_get_buffer_bytes(RESPONSE_BODY, 0, usize::MAX, at, length)
    });
    for byte in body.iter_mut().filter(|byte| byte.is_ascii_alphabetic()) {
        *byte ^= 0x20;
    }
    unsafe { proxy_set_buffer_bytes(RESPONSE_BODY, 0, usize::MAX, body.as_ptr(), body.len()) };
    0
}
