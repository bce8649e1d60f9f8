//! What is kept in the place of a text, as it is put together.

pub const MASK: &[u8] = b"***";

pub struct Out<'a> {
    room: &'a mut [u8],
    length: usize,
    /// How many secrets were masked.
    pub masked: u32,
    /// Whether there was more than there is room for.
    pub overflowed: bool,
}

impl<'a> Out<'a> {
    pub fn new(room: &'a mut [u8]) -> Self {
        Out { room, length: 0, masked: 0, overflowed: false }
    }

    pub fn clear(&mut self) {
        self.length = 0;
        self.masked = 0;
    }

    pub fn text(&self) -> &[u8] {
        self.room.get(..self.length).unwrap_or_default()
    }

    pub fn put(&mut self, byte: u8) {
        match self.room.get_mut(self.length) {
            Some(place) => {
                *place = byte;
                self.length += 1;
            }
            None => self.overflowed = true,
        }
    }

    pub fn number(&mut self, number: u32) {
        if number > 9 {
            self.number(number / 10);
        }
        self.put(b'0' + (number % 10) as u8);
    }

    #[inline(never)]
    pub fn all(&mut self, text: &[u8]) {
        match self.room.get_mut(self.length..self.length + text.len()) {
            Some(place) => {
                place.copy_from_slice(text);
                self.length += text.len();
            }
            None => self.overflowed = true,
        }
    }

    /// Put MASK in the place of a secret; one that is empty, or masked already, stays as it is.
    #[inline(never)]
    pub fn mask(&mut self, secret: &[u8]) {
        if secret.is_empty() || secret == MASK {
            return self.all(secret);
        }
        self.masked += 1;
        self.all(MASK);
    }
}
