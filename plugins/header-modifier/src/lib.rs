//! Adds and removes headers of requests and responses, as its configuration says.
//!
//! The configuration arrives as compact JSON (field 11), made by the host and therefore well
//! formed. `plugin_init` undoes its escapes in place; the hooks walk it and act as they go.
#![no_std]

#[path = "../../sdk/int3.rs"]
mod int3;

use int3::*;

/// Stands for an unescaped quotation mark; JSON has no such byte.
const QUOTE: u8 = 0;

const NOBODY: u8 = 0;
const REQUEST: u8 = 1;
const RESPONSE: u8 = 2;

static mut CONFIG: [u8; 8192] = [0; 8192];
static mut LENGTH: usize = 0;

fn config() -> &'static [u8] {
    unsafe { (*core::ptr::addr_of!(CONFIG)).get(..LENGTH).unwrap_or_default() }
}

/// Fetch the configuration, turn quotation marks into QUOTE and take escapes for what they mean.
fn fetch() -> Option<()> {
    let bytes = unsafe { &mut *core::ptr::addr_of_mut!(CONFIG) };
    let length = field(CONFIGURATION, bytes) as usize;
    let (mut from, mut to) = (0, 0);
    while from < length {
        let mut byte = *bytes.get(from)?;
        if byte == b'"' {
            byte = QUOTE;
        } else if byte == b'\\' {
            from += 1;
            byte = *bytes.get(from)?;
            if byte.is_ascii_alphabetic() {
                return None; // a control character has no place in a header
            }
        }
        *bytes.get_mut(to)? = byte;
        from += 1;
        to += 1;
    }
    unsafe { LENGTH = to };
    Some(())
}

/// What the next string is: a key, or a name to add or remove.
const KEY: u8 = 0;
const ADD: u8 = 1;
const REMOVE: u8 = 2;

/// Walk the configuration and do what it says for `side`; None where it says what is unknown.
fn act(side: u8) -> Option<()> {
    let mut sides = REQUEST | RESPONSE;
    let mut next = KEY;
    let mut name: &[u8] = b"";
    let mut rest = config();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match *byte {
            b'}' | b']' if next != KEY => next = KEY,
            b'}' => sides = REQUEST | RESPONSE,
            b'{' | b'[' | b':' | b',' => (),
            QUOTE => {
                let mut length = 0;
                while *rest.get(length)? != QUOTE {
                    length += 1;
                }
                let text = rest.get(..length)?;
                rest = rest.get(length + 1..)?;
                if next == KEY {
                    if same(text, b"add") {
                        next = ADD;
                    } else if same(text, b"remove") {
                        next = REMOVE;
                    } else if same(text, b"request") {
                        sides = REQUEST;
                    } else if same(text, b"response") {
                        sides = RESPONSE;
                    } else {
                        return None;
                    }
                } else if next == ADD && name.is_empty() {
                    name = text;
                } else {
                    if sides & side != 0 {
                        change(name, text);
                    }
                    name = b"";
                }
            }
            _ => return None,
        }
    }
    Some(())
}

#[inline(never)] // four copies of a comparison would be a third of the module
fn same(one: &[u8], other: &[u8]) -> bool {
    one == other
}

/// Add `name` with the value `text`, or, without a name, remove `text`.
#[inline(never)]
fn change(name: &[u8], text: &[u8]) {
    let answer = if name.is_empty() { remove_header(text) } else { add_header(name, text) };
    if answer < 0 {
        log(WARN, b"the host refused a change");
    }
}

#[no_mangle]
extern "C" fn int3_abi_version() -> i32 {
    1
}

#[no_mangle]
extern "C" fn plugin_init() -> i32 {
    if fetch().and_then(|()| act(NOBODY)).is_none() {
        log(ERROR, b"config takes add (name = value) and remove (names)");
        return 1;
    }
    CONTINUE
}

#[no_mangle]
extern "C" fn on_request() -> i32 {
    act(REQUEST);
    CONTINUE
}

#[no_mangle]
extern "C" fn on_response() -> i32 {
    act(RESPONSE);
    CONTINUE
}
