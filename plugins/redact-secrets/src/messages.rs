//! The messages of a WebSocket that is over.

use crate::body;
use crate::int3::*;
use crate::out::Out;

/// Mask what was kept of each message, control frames included; return how much there was.
pub fn mask(left: &mut usize) -> u32 {
    let mut masked = 0;
    let mut room = [0; 24];
    let mut number = 0;
    loop {
        let mut name = Out::new(&mut room);
        name.all(b"message ");
        name.number(number);
        if set_field(MESSAGE, name.text()) != 0 {
            return masked;
        }
        masked += body::mask(left);
        number += 1;
    }
}
