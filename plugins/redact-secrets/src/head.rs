//! The fields of a head.

use crate::int3::*;
use crate::names;
use crate::out::Out;
use crate::read;
use crate::text;

/// What may stand before credentials and tells nothing of them; another word may be one of them.
const SCHEMES: [&[u8]; 15] = [
    b"Basic", b"Bearer", b"Digest", b"DPoP", b"GNAP", b"HOBA", b"Mutual", b"Negotiate", b"NTLM",
    b"OAuth", b"vapid", b"Token", b"ApiKey", b"Hawk", b"AWS4-HMAC-SHA256",
];

enum Kind {
    Credentials,
    Cookies,
    SetCookie,
    Secret,
    Text,
}

/// The fields at hand, as docs/plugin-abi.md lays them out.
struct Block<'a> {
    bytes: &'a [u8],
    count: usize,
}

impl<'a> Block<'a> {
    fn number(&self, at: usize) -> usize {
        let bytes = self.bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
        u32::from_le_bytes(bytes.unwrap_or_default()) as usize
    }

    /// Call `f` with the number, name and value of each line, until it answers false.
    fn each(&self, mut f: impl FnMut(usize, &'a [u8], &'a [u8]) -> bool) {
        let mut at = 4 + 8 * self.count;
        for index in 0..self.count {
            let name = self.number(4 + 8 * index);
            let value = self.number(8 + 8 * index);
            let middle = at + name + 1;
            let texts = (self.bytes.get(at..at + name), self.bytes.get(middle..middle + value));
            if let (Some(name), Some(value)) = texts {
                if !f(index, name, value) {
                    return;
                }
            }
            at = middle + value + 1;
        }
    }
}

/// Mask the fields of the message at hand; return how much there was to mask.
pub fn mask() -> u32 {
    let (bytes, room) = match read(headers(&mut []), headers) {
        Some(halves) => halves,
        None => return 0,
    };
    let mut block = Block { bytes, count: 0 };
    block.count = block.number(0);
    let mut out = Out::new(room);
    let mut masked = 0;
    block.each(|index, name, value| {
        let kind = kind_of(name);
        if !holds_secret(&kind, value, &mut out) {
            return true;
        }
        let mut is_first = true; // of the name's lines that hold one
        block.each(|other, same, value| {
            if other < index && same.eq_ignore_ascii_case(name) {
                is_first = !holds_secret(&kind, value, &mut out);
            }
            is_first && other < index
        });
        if is_first {
            masked += mask_lines(&block, &kind, name, &mut out);
        }
        true
    });
    masked
}

fn holds_secret(kind: &Kind, value: &[u8], out: &mut Out) -> bool {
    out.clear();
    copy(kind, value, out);
    out.masked > 0
}

/// Mask all lines of a name; return how much there was to mask.
fn mask_lines(block: &Block, kind: &Kind, name: &[u8], out: &mut Out) -> u32 {
    let mut masked = 0;
    let mut is_first = true;
    block.each(|_, other, value| {
        if !other.eq_ignore_ascii_case(name) {
            return true;
        }
        out.clear();
        copy(kind, value, out);
        masked += out.masked;
        let write = if is_first { set_header } else { add_header };
        is_first = false;
        let written = write(name, out.text()) >= 0;
        if !written && remove_header(name) < 0 {
            log(WARN, b"a header could not be masked");
        }
        written
    });
    masked
}

fn kind_of(name: &[u8]) -> Kind {
    let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
    if is(b"authorization") || is(b"proxy-authorization") {
        Kind::Credentials
    } else if is(b"cookie") {
        Kind::Cookies
    } else if is(b"set-cookie") {
        Kind::SetCookie
    } else if names::headers().hold(name) {
        Kind::Secret
    } else {
        Kind::Text
    }
}

fn copy(kind: &Kind, value: &[u8], out: &mut Out) {
    match kind {
        Kind::Credentials => credentials(value, out),
        Kind::Cookies => {
            for (index, cookie) in value.split(|byte| *byte == b';').enumerate() {
                if index > 0 {
                    out.put(b';');
                }
                mask_cookie(cookie, out);
            }
        }
        Kind::SetCookie => {
            let end = value.iter().position(|byte| *byte == b';').unwrap_or(value.len());
            mask_cookie(value.get(..end).unwrap_or_default(), out);
            out.all(value.get(end..).unwrap_or_default());
        }
        Kind::Secret => out.mask(value),
        Kind::Text => text::copy(value, false, out),
    }
}

fn credentials(value: &[u8], out: &mut Out) {
    for scheme in SCHEMES {
        let end = scheme.len();
        let is = value.get(..end).map_or(false, |word| word.eq_ignore_ascii_case(scheme));
        if is && value.get(end) == Some(&b' ') {
            out.all(value.get(..end + 1).unwrap_or_default());
            return out.mask(value.get(end + 1..).unwrap_or_default());
        }
    }
    out.mask(value);
}

/// Mask what follows the name of a cookie; all of one that has none.
fn mask_cookie(cookie: &[u8], out: &mut Out) {
    let blanks = cookie.iter().take_while(|byte| **byte == b' ').count();
    let equals = cookie.iter().position(|byte| *byte == b'=');
    let begin = equals.map_or(blanks, |at| at + 1);
    out.all(cookie.get(..begin).unwrap_or_default());
    out.mask(cookie.get(begin..).unwrap_or_default());
}
