//! Masks credentials, cookies and card numbers in what was captured of a flow.
//!
//! Everything happens in `on_capture`: what went over the wire is long gone. What is masked already
//! is left as it is, and what cannot be masked is taken out. What heads and bodies were before others
//! changed them cannot be read, so that it is forgotten, whatever it was.
#![no_std]

#[path = "../../sdk/int3.rs"]
mod int3;
mod body;
mod head;
mod json;
mod messages;
mod names;
mod out;
mod text;

use int3::*;

use out::Out;

#[no_mangle]
extern "C" fn int3_abi_version() -> i32 {
    1
}

#[no_mangle]
extern "C" fn plugin_init() -> i32 {
    let mut config = [0; 8192];
    let length = field(CONFIGURATION, &mut config) as usize; // a negative code is huge
    if config.get(..length).and_then(names::configure).is_none() {
        log(
            ERROR,
            b"config takes headers and fields (up to 100 names each, without escapes), \
              and cards (true or false); 8 KiB in all",
        );
        return 1;
    }
    CONTINUE
}

#[no_mangle]
extern "C" fn on_capture() -> i32 {
    let mut masked = 0;
    let mut left = body::MOST_OF_A_FLOW;
    for message in [&b"request"[..], b"response"] {
        if set_field(MESSAGE, message) == 0 {
            remove_header(b"redact-secrets"); // a write, after which the host forgets
            masked += head::mask() + body::mask(&mut left);
        }
    }
    for trailers in [&b"request trailers"[..], b"response trailers"] {
        if set_field(MESSAGE, trailers) == 0 {
            masked += head::mask();
        }
    }
    masked += messages::mask(&mut left);
    if set_field(MESSAGE, b"request") == 0 {
        masked += mask_url();
    }
    if masked > 0 {
        count(b"masked", masked as i64);
    }
    CONTINUE
}

/// Mask the request's URL; return how much there was to mask.
fn mask_url() -> u32 {
    let (url, room) = match read(field(URL, &mut []), |into| field(URL, into)) {
        Some(halves) => halves,
        None => return 0,
    };
    let mut out = Out::new(room);
    text::copy(url, false, &mut out);
    let masked = out.masked;
    if masked > 0 && set_field(URL, out.text()) < 0 {
        // What is not valid as it came cannot be written either: keep what is before the query.
        out.clear();
        for byte in url.iter().take_while(|byte| **byte != b'?') {
            out.put(*byte);
        }
        out.all(b"?***");
        if set_field(URL, out.text()) < 0 {
            log(WARN, b"a URL could not be masked");
        }
    }
    masked
}

/// Have `reader` write `length` bytes; return them, and room for twice as many. None where it is
/// another length, or there is no such memory.
///
/// It lies behind the module's own memory, where nobody else takes any; the next call takes it too.
fn read(
    length: i32,
    reader: impl FnOnce(&mut [u8]) -> i32,
) -> Option<(&'static [u8], &'static mut [u8])> {
    static mut BEGIN: usize = 0;
    if length <= 0 {
        return None;
    }
    let size = length as usize;
    let room = 2 * size + 1024;
    let (text, room) = unsafe {
        let end = core::arch::wasm32::memory_size(0) << 16;
        if BEGIN == 0 {
            BEGIN = end;
        }
        let missing = (size + room).saturating_sub(end - BEGIN);
        let pages = (missing + 0xffff) >> 16;
        if pages > 0 && core::arch::wasm32::memory_grow(0, pages) == usize::MAX {
            return None;
        }
        (
            core::slice::from_raw_parts_mut(BEGIN as *mut u8, size),
            core::slice::from_raw_parts_mut((BEGIN + size) as *mut u8, room),
        )
    };
    if reader(text) == length {
        Some((text, room))
    } else {
        None
    }
}
