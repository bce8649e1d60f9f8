//! NAME: adds a header to every response.
#![no_std]

mod int3;

use int3::*;

#[no_mangle]
extern "C" fn int3_abi_version() -> i32 {
    1
}

#[no_mangle]
extern "C" fn on_response() -> i32 {
    set_header(b"X-Plugin", b"NAME");
    CONTINUE
}
