//! Logs something in every hook and at every level: the plugin to look at, and to start from.
#![no_std]

#[path = "../../sdk/int3.rs"]
mod int3;

use int3::*;

/// Hooks of one instance never run at once, so one line serves them all.
static mut LINE: Line = Line::new();

fn line() -> &'static mut Line {
    unsafe { &mut *core::ptr::addr_of_mut!(LINE) }
}

#[no_mangle]
extern "C" fn int3_abi_version() -> i32 {
    1
}

#[no_mangle]
extern "C" fn plugin_init() -> i32 {
    log(DEBUG, b"this is how debug looks");
    log(INFO, b"this is how info looks");
    log(WARN, b"this is how a warning looks");
    log(ERROR, b"this is how an error looks");
    CONTINUE
}

#[no_mangle]
extern "C" fn on_connect() -> i32 {
    let line = line().text(b"connection from ").field(CLIENT_ADDRESS);
    if field(HOST, &mut [0]) > 0 {
        line.text(b" to ").field(HOST);
    }
    line.log(DEBUG);
    CONTINUE
}

#[no_mangle]
extern "C" fn on_request() -> i32 {
    line().text(b"-> ").field(METHOD).text(b" ").field(URL).log(INFO);
    CONTINUE
}

#[no_mangle]
extern "C" fn on_response() -> i32 {
    let mut status = [b'0'; 3];
    field(STATUS, &mut status);
    let level = match status[0] {
        b'5' => ERROR,
        b'4' => WARN,
        _ => INFO,
    };
    line().text(b"<- ").text(&status).text(b" ").field(URL).log(level);
    CONTINUE
}

#[no_mangle]
extern "C" fn on_capture() -> i32 {
    line().text(b"done ").field(URL).log(DEBUG);
    CONTINUE
}

#[no_mangle]
extern "C" fn on_rule_match() -> i32 {
    line().text(b"rule ").field(RULE_ID).text(b" matched ").field(URL).log(WARN);
    CONTINUE
}

#[no_mangle]
extern "C" fn plugin_shutdown() {
    log(INFO, b"shutting down");
}
