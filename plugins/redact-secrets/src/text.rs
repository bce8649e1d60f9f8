//! Any text: card numbers wherever they are, the values of `name=value` in queries and forms, and
//! those of `"name": "value"` in JSON that is part of something else, or is a text in other JSON.

use crate::names::{cards, fields, hex_at};
use crate::out::Out;

/// Digits of a card number (ISO/IEC 7812).
const FEWEST: u32 = 13;
const MOST: u32 = 19;
/// Digits that stand together in one: it may be written in groups, but not in every way.
const GROUP: usize = 3;

/// Copy `from` without its secrets. In a form a name may begin it, and a value ends at `&` alone.
pub fn copy(from: &[u8], form: bool, out: &mut Out) {
    let mut at = if form { pair(from, 0, form, out) } else { 0 };
    let mut escaped = 0; // where the last escape ended: its letters are none of the text
    let mut cut = 0; // before it, digits are masked
    loop {
        let rest = from.get(at..).unwrap_or_default();
        let dull = rest.iter().position(|byte| is_special(*byte)).unwrap_or(rest.len());
        out.all(rest.get(..dull).unwrap_or_default());
        at += dull;
        let begin = at;
        match from.get(at) {
            None => return,
            Some(b'0'..=b'9') => {
                while digit_at(from, at) {
                    at += 1;
                }
                if cards() && (begin == escaped || !is_amid(from, begin)) {
                    let end = card_at(from, begin);
                    if end > cut {
                        cut = end;
                        out.masked += 1;
                    }
                }
                let split = cut.max(begin).min(at);
                for _ in begin..split {
                    out.put(b'*');
                }
                out.all(from.get(split..at).unwrap_or_default());
                continue;
            }
            Some(b'%') => at += if hex_at(from, at + 1).is_some() { 3 } else { 1 },
            Some(b'"' | b'\\') if is_quote(from, at) => {
                at = quoted_pair(from, at, out);
                escaped = at;
                continue;
            }
            Some(b'\\') => at += if from.get(at + 1) == Some(&b'u') { 6 } else { 2 },
            Some(byte) => {
                out.put(*byte);
                at = pair(from, at + 1, form, out);
                continue;
            }
        }
        at = at.min(from.len());
        escaped = at;
        out.all(from.get(begin..at).unwrap_or_default());
    }
}

fn is_special(byte: u8) -> bool {
    SPECIAL[byte as usize]
}

/// A table, as most of what is looked through is looked at by nothing else.
static SPECIAL: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = matches!(byte as u8, b'0'..=b'9' | b'%' | b'\\' | b'?' | b'&' | b'#' | b'"');
        byte += 1;
    }
    table
};

/// Whether the digits at `at` are part of a word, a fraction, or what was masked.
fn is_amid(from: &[u8], at: usize) -> bool {
    match from.get(at.wrapping_sub(1)) {
        Some(b'.') => digit_at(from, at.wrapping_sub(2)),
        Some(byte) => byte.is_ascii_alphanumeric() || *byte == b'*',
        None => false,
    }
}

/// Copy `name=value` without its value where the name is one of a secret; return where to go on.
fn pair(from: &[u8], at: usize, form: bool, out: &mut Out) -> usize {
    let mut end = at;
    while end < at + 200 && from.get(end).copied().map_or(false, is_of_name) {
        end += 1;
    }
    let name = from.get(at..end).unwrap_or_default();
    if from.get(end) != Some(&b'=') || !fields().hold(name) {
        return at;
    }
    let begin = end + 1;
    end = begin;
    while from.get(end).copied().map_or(false, |byte| !ends_value(byte, form)) {
        end += 1;
    }
    out.all(name);
    out.put(b'=');
    out.mask(from.get(begin..end).unwrap_or_default());
    end
}

/// Whether a quotation mark is there: alone, or escaped where a text is part of another.
fn is_quote(from: &[u8], at: usize) -> bool {
    match from.get(at) {
        Some(b'\\') => from.get(at + 1) == Some(&b'"'),
        byte => byte == Some(&b'"'),
    }
}

/// Copy a quotation mark; and, where it begins the name of a secret, name and colon, and a text
/// without what is in it. Return where to go on.
fn quoted_pair(from: &[u8], begin: usize, out: &mut Out) -> usize {
    let mark = if from.get(begin) == Some(&b'"') { 1 } else { 2 };
    let quote = from.get(begin..begin + mark).unwrap_or_default();
    let is_there = |at: usize| from.get(at..at + mark) == Some(quote);
    let name = begin + mark;
    let mut at = name;
    while at < name + 200 && from.get(at).copied().map_or(false, is_of_name) {
        at += 1;
    }
    let is_secret = is_there(at) && fields().hold(from.get(name..at).unwrap_or_default());
    at = past_blanks(from, at + mark);
    let colon = from.get(at) == Some(&b':');
    at = past_blanks(from, at + 1);
    if !is_secret || !colon || !is_there(at) {
        out.all(quote);
        return name;
    }
    let value = at + mark;
    at = value;
    while at < from.len() && !is_there(at) {
        // An escape is a backslash, as often as the quotation mark has it, and what follows.
        at += if from.get(at) == Some(&b'\\') { 2 * mark } else { 1 };
    }
    at = at.min(from.len());
    out.all(from.get(begin..value).unwrap_or_default());
    out.mask(from.get(value..at).unwrap_or_default());
    let rest = from.get(at..).unwrap_or_default();
    let mark = rest.get(..mark).unwrap_or_default();
    out.all(mark);
    at + mark.len()
}

fn past_blanks(from: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\r' | b'\n') = from.get(at) {
        at += 1;
    }
    at
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.[]%$~".contains(&byte)
}

fn ends_value(byte: u8, form: bool) -> bool {
    byte == b'&' || (!form && (byte <= b' ' || b"#\"'<>\\`".contains(&byte)))
}

/// Where the card number that begins at `at` is masked up to: its last four digits stay. Zero where
/// there is none.
///
/// One that is part of another is found too, so that the digits that stay never make up a further
/// one.
pub fn card_at(from: &[u8], begin: usize) -> usize {
    let mut prefix = 0;
    let (mut sum, mut other) = (0, 0); // the digits' (Luhn), with the last as it is, or doubled
    let mut count = 0;
    let mut found = 0;
    let mut at = begin;
    loop {
        let group = at;
        while let Some(digit) = from.get(at).map(|byte| byte.wrapping_sub(b'0') as u32) {
            if digit > 9 {
                break;
            }
            let doubled = if digit > 4 { 2 * digit - 9 } else { 2 * digit };
            let before = sum;
            sum = other + digit;
            other = before + doubled;
            if count < 4 {
                prefix = 10 * prefix + digit;
            }
            count += 1;
            at += 1;
        }
        if at - group < GROUP || count > MOST || !is_of_cards(prefix, count) {
            return found;
        }
        let letter = from.get(at).map_or(false, u8::is_ascii_alphabetic);
        if count >= FEWEST && !letter && sum % 10 == 0 {
            found = before_last_four(from, at);
        }
        at += match from.get(at) {
            Some(b' ' | b'-' | b'+') => 1,
            Some(b'%') if matches!(hex_at(from, at + 1), Some(b' ' | b'-')) => 3,
            _ => return found,
        };
    }
}

/// Where the last four of the digits before `end` begin, whatever separates them.
fn before_last_four(from: &[u8], end: usize) -> usize {
    let mut at = end;
    let mut digits = 0;
    while digits < 4 && at > 0 {
        at -= 1;
        // Of `%20`, the separator, the digits are none of the number's.
        match at.checked_sub(2).and_then(|percent| from.get(percent)) {
            Some(b'%') => at -= 2,
            _ => digits += digit_at(from, at) as u32,
        }
    }
    at
}

fn digit_at(text: &[u8], at: usize) -> bool {
    text.get(at).map_or(false, u8::is_ascii_digit)
}

/// Whether cards are issued under the first four digits; the first three tell nothing yet.
fn is_of_cards(prefix: u32, count: u32) -> bool {
    count < 4 || (2200..=2720).contains(&prefix) || (3000..7000).contains(&prefix)
}
