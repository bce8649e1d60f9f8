//! Counts requests, responses and connections, and logs the totals with every response.
//!
//! Its counts are plain globals: they live as long as its instance. It speaks ABI v0, for which
//! there is nothing to declare.
#![no_std]

#[path = "../../sdk/int3.rs"]
mod int3;

use int3::*;

static mut CONNECTIONS: u32 = 0;
static mut REQUESTS: u32 = 0;
static mut RESPONSES: u32 = 0;
static mut LINE: Line = Line::new();

fn totals() {
    unsafe {
        (*core::ptr::addr_of_mut!(LINE))
            .number(REQUESTS)
            .text(b" requests, ")
            .number(RESPONSES)
            .text(b" responses, ")
            .number(CONNECTIONS)
            .text(b" connections")
            .log(INFO)
    }
}

#[no_mangle]
extern "C" fn on_connect() -> i32 {
    unsafe { CONNECTIONS += 1 }
    CONTINUE
}

#[no_mangle]
extern "C" fn on_request() -> i32 {
    unsafe { REQUESTS += 1 }
    CONTINUE
}

#[no_mangle]
extern "C" fn on_response() -> i32 {
    unsafe { RESPONSES += 1 }
    totals();
    CONTINUE
}

#[no_mangle]
extern "C" fn plugin_shutdown() {
    totals();
}
