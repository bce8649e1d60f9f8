//! JSON as it comes, cut off or broken: only what follows a secret's name, and card numbers, change.
//!
//! Nothing is kept of the nesting but its depth, so that no depth is too much.

use crate::names::{cards, fields};
use crate::out::Out;
use crate::text;

pub fn copy(from: &[u8], out: &mut Out) {
    let mut at = 0;
    let mut depth = 0u32;
    let mut hidden = u32::MAX; // at this depth, and below, all values are secret
    let mut secret = false; // the value that comes next is
    while let Some(&byte) = from.get(at) {
        let begin = at;
        match byte {
            b'"' => {
                let end = string_end(from, at + 1);
                let inside = from.get(at + 1..end).unwrap_or_default();
                at = end + 1;
                out.put(b'"');
                if is_key(from, at) {
                    secret = fields().hold(inside);
                    out.all(inside);
                } else if secret || depth >= hidden {
                    out.mask(inside);
                    secret = false;
                } else {
                    text::copy(inside, false, out);
                }
                if end < from.len() {
                    out.put(b'"'); // a text that was cut off stays so
                }
                continue;
            }
            b'-' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                while from.get(at).map_or(false, |byte| {
                    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.')
                }) {
                    at += 1;
                }
                scalar(from.get(begin..at).unwrap_or_default(), secret || depth >= hidden, out);
                secret = false;
                continue;
            }
            b'{' | b'[' => {
                depth = depth.saturating_add(1);
                if secret && hidden == u32::MAX {
                    hidden = depth;
                }
                secret = false;
            }
            b'}' | b']' => {
                if depth == hidden {
                    hidden = u32::MAX;
                }
                depth = depth.saturating_sub(1);
            }
            b',' => secret = false,
            _ => (),
        }
        out.put(byte);
        at += 1;
    }
}

/// Where the text that began before `at` ends: at its quotation mark, or with all there is.
fn string_end(from: &[u8], mut at: usize) -> usize {
    while let Some(&byte) = from.get(at) {
        match byte {
            b'"' => return at,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    from.len()
}

/// Whether a colon follows: then the text before it is a name.
fn is_key(from: &[u8], mut at: usize) -> bool {
    while let Some(b' ' | b'\t' | b'\r' | b'\n') = from.get(at) {
        at += 1;
    }
    from.get(at) == Some(&b':')
}

/// Copy a number or a word. In the place of a secret one there is a text, so that JSON stays JSON.
fn scalar(word: &[u8], secret: bool, out: &mut Out) {
    if secret && word != b"null" {
        out.put(b'"');
        out.mask(word);
        out.put(b'"');
        return;
    }
    let digits = word.first().map_or(false, u8::is_ascii_digit);
    if !digits || !cards() || !word.iter().all(u8::is_ascii_digit) {
        return out.all(word);
    }
    let masked = text::card_at(word, 0);
    if masked > 0 {
        out.masked += 1;
        out.put(b'"');
    }
    for (index, byte) in word.iter().enumerate() {
        out.put(if index < masked { b'*' } else { *byte });
    }
    if masked > 0 {
        out.put(b'"');
    }
}
