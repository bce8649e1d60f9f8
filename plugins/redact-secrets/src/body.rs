//! A captured body or WebSocket message, by what it says that it is and by what it looks like.

use crate::int3;
use crate::json;
use crate::names::fields;
use crate::out::Out;
use crate::read;
use crate::text;

/// Bytes, decoded, up to which a body is looked through; of a longer one nothing is kept.
const MOST: usize = 4 * 1024 * 1024;
/// The same for all bodies and messages of a flow: what the manifest's fuel is enough for.
pub const MOST_OF_A_FLOW: usize = 8 * 1024 * 1024;

/// Bytes at the beginning that tell whether it is text.
const BEGINNING: usize = 512;

/// Mask the body of the message at hand, of which `left` bytes more may be looked through; return
/// how much there was to mask.
pub fn mask(left: &mut usize) -> u32 {
    let mut beginning = [0; BEGINNING];
    let length = int3::body(0, &mut beginning);
    if length <= 0 {
        return 0;
    }
    let size = length as usize;
    let opcode = opcode();
    let code = if opcode == Some(b'8') { 2 } else { 0 }; // bytes before a close frame's reason
    if beginning.iter().take(size).skip(code).any(|byte| *byte == 0) {
        return 0; // binary
    }
    let mut room = [0; 256];
    let said = int3::header(b"content-type", &mut room) as usize; // a negative code is huge
    let kind = room.get_mut(..said).unwrap_or_default();
    kind.make_ascii_lowercase();
    let says = |word: &[u8]| kind.windows(word.len()).any(|part| part == word);
    let is_media = [&b"image/"[..], b"audio/", b"video/", b"font/"].iter().any(|k| says(k));
    if is_media && !says(b"xml") {
        return 0;
    }
    if size > MOST || size > *left {
        return take_out();
    }
    *left -= size;
    let (from, room) = match read(length, |into| int3::body(0, into)) {
        Some(halves) => halves,
        None => return take_out(),
    };
    let mut out = Out::new(room);
    out.all(from.get(..code).unwrap_or_default());
    let from = from.get(code..).unwrap_or_default();
    if says(b"multipart/form-data") && from.starts_with(b"--") {
        parts(from, &mut out);
    } else if says(b"x-www-form-urlencoded") || (kind.is_empty() && is_form(from)) {
        text::copy(from, true, &mut out);
    } else if says(b"json") || says(b"script") || says(b"event-stream") {
        json::copy(from, &mut out);
    } else if is_json(from) || (opcode.is_some() && is_json(behind_prefix(from))) {
        json::copy(from, &mut out);
    } else {
        text::copy(from, false, &mut out);
    }
    if out.overflowed || (out.masked > 0 && int3::set_body(out.text()) < 0) {
        return take_out();
    }
    out.masked
}

fn take_out() -> u32 {
    int3::set_body(b"[redact-secrets has taken out what is too large to look through]");
    1
}

/// The first digit of a WebSocket message's opcode; None where this is a body.
fn opcode() -> Option<u8> {
    let mut room = [0; 8];
    let length = int3::field(int3::WEBSOCKET_OPCODE, &mut room);
    room.first().copied().filter(|_| length > 0)
}

/// What follows what protocols put in front of JSON: `42["event"]`, `42/room,["event"]`, `a["{}"]`.
fn behind_prefix(from: &[u8]) -> &[u8] {
    let is_of_prefix = |byte: &u8| byte.is_ascii_alphanumeric() || b"/,-_".contains(byte);
    let length = from.iter().take(64).take_while(|byte| is_of_prefix(byte)).count();
    from.get(length..).unwrap_or_default()
}

fn is_json(from: &[u8]) -> bool {
    let first = from.iter().find(|byte| !byte.is_ascii_whitespace());
    matches!(first, Some(b'{' | b'[' | b'"'))
}

/// Whether what has no content type looks like a form: a name and `=` first, and no blanks.
fn is_form(from: &[u8]) -> bool {
    let name = from.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_');
    name.and_then(|at| from.get(at)) == Some(&b'=') && from.iter().all(|byte| *byte > b' ')
}

/// Copy a form in parts (RFC 7578) without the values of those that have a secret's name.
fn parts(from: &[u8], out: &mut Out) {
    let line = from.iter().position(|byte| *byte == b'\r').unwrap_or(from.len());
    let boundary = from.get(..line).unwrap_or_default();
    let mut at = 0;
    while at < from.len() {
        let rest = from.get(at..).unwrap_or_default();
        let begin = at + find(rest, b"\r\n\r\n").map_or(rest.len(), |head| head + 4);
        let head = from.get(at..begin).unwrap_or_default();
        text::copy(head, false, out);
        let rest = from.get(begin..).unwrap_or_default();
        let end = begin + find(rest, boundary).map_or(rest.len(), |end| end.saturating_sub(2));
        let value = from.get(begin..end).unwrap_or_default();
        if fields().hold(name_of(head)) {
            out.mask(value);
        } else if value.iter().take(512).any(|byte| *byte == 0) {
            out.all(value);
        } else {
            text::copy(value, false, out);
        }
        at = end;
    }
}

/// The name in a part's head, or nothing.
fn name_of(head: &[u8]) -> &[u8] {
    let begin = find(head, b" name=\"").map_or(head.len(), |at| at + 7);
    let rest = head.get(begin..).unwrap_or_default();
    let end = rest.iter().position(|byte| *byte == b'"').unwrap_or(rest.len());
    rest.get(..end).unwrap_or_default()
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len().max(1)).position(|part| part == wanted)
}
