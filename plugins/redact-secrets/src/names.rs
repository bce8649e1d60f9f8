//! The configuration: names of headers and fields whose values are secret.
//!
//! Names are kept and compared in one form: lower case, without `-` and `_`, and of
//! `user[password]` or `user.password` the last part alone.

const LONGEST: usize = 64;
const MOST: usize = 100;

pub struct Names {
    names: [[u8; LONGEST]; MOST],
    lengths: [usize; MOST],
    count: usize,
    /// Which sums of length and first byte there are: most names are told apart by that alone.
    known: [bool; 512],
}

static mut HEADERS: Names = Names::new();
static mut FIELDS: Names = Names::new();
static mut CARDS: bool = false;

pub fn headers() -> &'static mut Names {
    unsafe { &mut *core::ptr::addr_of_mut!(HEADERS) }
}

pub fn fields() -> &'static mut Names {
    unsafe { &mut *core::ptr::addr_of_mut!(FIELDS) }
}

pub fn cards() -> bool {
    unsafe { CARDS }
}

impl Names {
    const fn new() -> Self {
        Names {
            names: [[0; LONGEST]; MOST],
            lengths: [0; MOST],
            count: 0,
            known: [false; 512],
        }
    }

    fn add(&mut self, text: &[u8]) -> Option<()> {
        let name = self.names.get_mut(self.count)?;
        let length = plain(text, name)?;
        *self.lengths.get_mut(self.count)? = length;
        *self.known.get_mut(length + *name.first()? as usize)? = true;
        self.count += 1;
        Some(())
    }

    /// Whether `text`, as it is written in JSON, a form or a header, is one of the names.
    #[inline(never)]
    pub fn hold(&self, text: &[u8]) -> bool {
        let mut room = [0; LONGEST];
        let length = match plain(text, &mut room) {
            Some(length) => length,
            None => return false,
        };
        if self.known.get(length + room[0] as usize) != Some(&true) {
            return false;
        }
        let (lengths, names) = (self.lengths.iter(), self.names.iter());
        lengths
            .zip(names)
            .take(self.count)
            .any(|(known, name)| *known == length && name.get(..length) == room.get(..length))
    }
}

/// Write a name's plain form; return its length, or None where it is too long or empty.
fn plain(text: &[u8], into: &mut [u8; LONGEST]) -> Option<usize> {
    let mut length = 0;
    let mut at = 0;
    let mut ended = false; // at a bracket or a dot: what follows is the last part so far
    while let Some(first) = text.get(at) {
        let (byte, width) = decoded(*first, text, at);
        at += width;
        match byte {
            b'-' | b'_' => (),
            b'[' | b']' | b'.' => ended = true,
            _ => {
                if ended {
                    ended = false;
                    length = 0;
                }
                if let Some(place) = into.get_mut(length) {
                    *place = byte.to_ascii_lowercase();
                }
                length += 1;
            }
        }
    }
    if length == 0 || length > LONGEST {
        None
    } else {
        Some(length)
    }
}

/// The byte at `at`, and how many it is written with: `%73` and `\u0073` are `s`.
fn decoded(first: u8, text: &[u8], at: usize) -> (u8, usize) {
    if first == b'%' {
        if let Some(byte) = hex_at(text, at + 1) {
            return (byte, 3);
        }
    } else if first == b'\\' && text.get(at + 1) == Some(&b'u') && hex_at(text, at + 2) == Some(0) {
        if let Some(byte) = hex_at(text, at + 4) {
            return (byte, 6);
        }
    }
    (first, 1)
}

/// The byte that two hexadecimal digits stand for.
pub fn hex_at(text: &[u8], at: usize) -> Option<u8> {
    let high = (*text.get(at)? as char).to_digit(16)?;
    let low = (*text.get(at + 1)? as char).to_digit(16)?;
    Some((high * 16 + low) as u8)
}

/// Read the configuration, compact JSON; None where it says what is unknown.
pub fn configure(config: &[u8]) -> Option<()> {
    let mut rest = config.strip_prefix(b"{")?;
    unsafe { CARDS = true };
    while rest != b"}" {
        let (key, after) = string(rest)?;
        rest = after.strip_prefix(b":")?;
        rest = match key {
            b"headers" => list(rest, headers())?,
            b"fields" => list(rest, fields())?,
            b"cards" => {
                unsafe { CARDS = rest.starts_with(b"true") };
                rest.strip_prefix(b"true").or_else(|| rest.strip_prefix(b"false"))?
            }
            _ => return None,
        };
        rest = rest.strip_prefix(b",").unwrap_or(rest);
    }
    Some(())
}

fn list<'a>(text: &'a [u8], names: &mut Names) -> Option<&'a [u8]> {
    let mut rest = text.strip_prefix(b"[")?;
    loop {
        if let Some(after) = rest.strip_prefix(b"]") {
            return Some(after);
        }
        let (name, after) = string(rest)?;
        names.add(name)?;
        rest = after.strip_prefix(b",").unwrap_or(after);
    }
}

/// The text at the beginning, and what follows it; None for one with escapes.
fn string(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let inside = text.strip_prefix(b"\"")?;
    let length = inside.iter().position(|byte| *byte == b'"' || *byte == b'\\')?;
    if *inside.get(length)? == b'\\' {
        return None;
    }
    Some((inside.get(..length)?, inside.get(length + 1..)?))
}
