//! JSON (RFC 8259) as text: checked once, then walked. Nothing is parsed into anything, so that what
//! is not edited keeps its bytes.

/// How deep what is checked may be nested.
pub const deepest = 1000;

/// Where a value lies in a text.
pub const Span = struct { begin: usize, end: usize };

/// Whether all of `text` is one JSON value, nested at most `most` deep.
///
/// Texts may hold bytes that are no UTF-8: they are never looked into.
pub fn isValid(text: []const u8, most: usize) bool {
    var reader = Reader{ .text = text };
    var kinds: [deepest]u8 = undefined;
    var depth: usize = 0;
    while (true) {
        const first = reader.peek();
        if (first == '{' or first == '[') {
            if (depth == most) return false;
            reader.at += 1;
            if (reader.peek() != first + 2) { // the closing one, in ASCII, of both kinds
                kinds[depth] = first;
                depth += 1;
                if (first == '{' and !reader.key()) return false;
                continue;
            }
            reader.at += 1;
        } else if (!reader.scalar(first)) return false;
        while (depth > 0) {
            const kind = kinds[depth - 1];
            const next = reader.peek();
            reader.at += 1;
            if (next == ',') {
                if (kind == '{' and !reader.key()) return false;
                break;
            }
            if (next != kind + 2) return false;
            depth -= 1;
        } else return reader.peek() == 0 and reader.at == text.len;
    }
}

const Reader = struct {
    text: []const u8,
    at: usize = 0,

    /// The next byte that is no blank; 0, which begins nothing, at the end.
    fn peek(self: *Reader) u8 {
        self.at = skipBlanks(self.text, self.at);
        return if (self.at < self.text.len) self.text[self.at] else 0;
    }

    fn key(self: *Reader) bool {
        if (self.peek() != '"' or !self.string()) return false;
        if (self.peek() != ':') return false;
        self.at += 1;
        return true;
    }

    fn scalar(self: *Reader, first: u8) bool {
        return switch (first) {
            '"' => self.string(),
            't' => self.word("true"),
            'f' => self.word("false"),
            'n' => self.word("null"),
            else => self.number(),
        };
    }

    fn string(self: *Reader) bool {
        self.at += 1;
        while (self.at < self.text.len) {
            const byte = self.text[self.at];
            self.at += 1;
            switch (byte) {
                '"' => return true,
                0...0x1f => return false,
                '\\' => if (!self.escape()) return false,
                else => {},
            }
        }
        return false;
    }

    fn escape(self: *Reader) bool {
        if (self.at >= self.text.len) return false;
        const byte = self.text[self.at];
        self.at += 1;
        switch (byte) {
            '"', '\\', '/', 'b', 'f', 'n', 'r', 't' => return true,
            'u' => {},
            else => return false,
        }
        if (self.text.len - self.at < 4 or hex(self.text[self.at..][0..4]) == null) return false;
        self.at += 4;
        return true;
    }

    fn word(self: *Reader, wanted: []const u8) bool {
        const rest = self.text[self.at..];
        if (rest.len < wanted.len or !same(rest[0..wanted.len], wanted)) return false;
        self.at += wanted.len;
        return self.at == self.text.len or !isOfWord(self.text[self.at]);
    }

    fn number(self: *Reader) bool {
        if (self.next('-') and self.at == self.text.len) return false;
        if (!self.next('0') and !self.digits()) return false;
        if (self.next('.') and !self.digits()) return false;
        if (self.next('e') or self.next('E')) {
            if (!self.next('+')) _ = self.next('-');
            if (!self.digits()) return false;
        }
        return self.at == self.text.len or !isOfWord(self.text[self.at]);
    }

    fn next(self: *Reader, wanted: u8) bool {
        if (self.at == self.text.len or self.text[self.at] != wanted) return false;
        self.at += 1;
        return true;
    }

    fn digits(self: *Reader) bool {
        const begin = self.at;
        while (self.at < self.text.len and isDigit(self.text[self.at])) self.at += 1;
        return self.at > begin;
    }
};

/// Where the value that begins at `at` ends. From here on, texts are known to be valid.
pub fn valueEnd(text: []const u8, begin: usize) usize {
    var at = begin;
    var depth: usize = 0;
    while (at < text.len) {
        switch (text[at]) {
            '"' => at = stringEnd(text, at),
            '{', '[' => {
                depth += 1;
                at += 1;
                continue;
            },
            '}', ']' => {
                depth -= 1;
                at += 1;
            },
            ',', ':', ' ', '\t', '\r', '\n' => {
                at += 1;
                continue;
            },
            else => while (at < text.len and isOfWord(text[at])) : (at += 1) {},
        }
        if (depth == 0) break;
    }
    return at;
}

fn stringEnd(text: []const u8, begin: usize) usize {
    var at = begin + 1;
    while (text[at] != '"') at += if (text[at] == '\\') 2 else 1;
    return at + 1;
}

/// One after another, the members of the object, or the elements of the array, that begins at `at`.
pub const Items = struct {
    text: []const u8,
    at: usize,
    is_object: bool,

    /// `lead` is where it begins: its name, or its value. `name` is without quotation marks.
    pub const Item = struct { lead: usize, name: []const u8, value: Span };

    pub fn of(text: []const u8, at: usize) Items {
        return .{ .text = text, .at = at + 1, .is_object = text[at] == '{' };
    }

    pub fn next(self: *Items) ?Item {
        const text = self.text;
        var at = skipBlanks(text, self.at);
        if (text[at] == ',') at = skipBlanks(text, at + 1);
        if (text[at] == '}' or text[at] == ']') return null;
        var item = Item{ .lead = at, .name = "", .value = undefined };
        if (self.is_object) {
            const end = stringEnd(text, at);
            item.name = text[at + 1 .. end - 1];
            at = skipBlanks(text, skipBlanks(text, end) + 1);
        }
        item.value = .{ .begin = at, .end = valueEnd(text, at) };
        self.at = item.value.end;
        return item;
    }
};

/// The bytes, in UTF-8, that the inside of a text stands for.
pub const Chars = struct {
    text: []const u8,
    at: usize = 0,
    waiting: [4]u8 = undefined,
    taken: usize = 0,
    ready: usize = 0,

    pub fn next(self: *Chars) ?u8 {
        if (self.taken < self.ready) {
            self.taken += 1;
            return self.waiting[self.taken - 1];
        }
        if (self.at >= self.text.len) return null;
        const byte = self.text[self.at];
        self.at += 1;
        if (byte != '\\') return byte;
        const escape = self.text[self.at];
        self.at += 1;
        return switch (escape) {
            'b' => 8,
            'f' => 12,
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => self.unicode(),
            else => escape,
        };
    }

    fn unicode(self: *Chars) u8 {
        var code: u32 = hex(self.text[self.at..][0..4]).?;
        self.at += 4;
        const rest = self.text[self.at..];
        if (code & 0xfc00 == 0xd800 and rest.len >= 6 and rest[0] == '\\' and rest[1] == 'u') {
            const low = hex(rest[2..6]).?;
            if (low & 0xfc00 == 0xdc00) {
                code = 0x10000 + ((code & 0x3ff) << 10) + (low & 0x3ff);
                self.at += 6;
            }
        }
        if (code < 0x80) return @intCast(code);
        // Continuation bytes from the last one; half of a pair alone becomes what would be one.
        var last: usize = if (code < 0x800) 1 else if (code < 0x10000) 2 else 3;
        const first: u8 = switch (last) {
            1 => 0xc0,
            2 => 0xe0,
            else => 0xf0,
        };
        self.ready = last + 1;
        self.taken = 1;
        while (last > 0) : (last -= 1) {
            self.waiting[last] = @intCast(0x80 | (code & 0x3f));
            code >>= 6;
        }
        self.waiting[0] = first | @as(u8, @intCast(code));
        return self.waiting[0];
    }
};

/// Write what the inside of a text stands for; null where it does not fit.
pub fn decode(text: []const u8, into: []u8) ?[]u8 {
    var chars = Chars{ .text = text };
    var length: usize = 0;
    while (chars.next()) |byte| : (length += 1) {
        if (length == into.len) return null;
        into[length] = byte;
    }
    return into[0..length];
}

/// Whether the inside of a text stands for `wanted`.
pub fn means(text: []const u8, wanted: []const u8) bool {
    var chars = Chars{ .text = text };
    for (wanted) |byte| if (chars.next() != byte) return false;
    return chars.next() == null;
}

pub fn skipBlanks(text: []const u8, begin: usize) usize {
    var at = begin;
    while (at < text.len) : (at += 1) {
        switch (text[at]) {
            ' ', '\t', '\r', '\n' => {},
            else => break,
        }
    }
    return at;
}

pub fn isDigit(byte: u8) bool {
    return byte >= '0' and byte <= '9';
}

/// Whether it can be part of a number, or of true, false and null.
fn isOfWord(byte: u8) bool {
    return switch (byte) {
        '0'...'9', 'a'...'z', 'A'...'Z', '+', '-', '.' => true,
        else => false,
    };
}

fn hex(digits: *const [4]u8) ?u32 {
    var number: u32 = 0;
    for (digits) |digit| {
        number = number * 16 + switch (digit) {
            '0'...'9' => digit - '0',
            'a'...'f' => digit - 'a' + 10,
            'A'...'F' => digit - 'A' + 10,
            else => return null,
        };
    }
    return number;
}

pub fn same(one: []const u8, other: []const u8) bool {
    if (one.len != other.len) return false;
    for (one, other) |a, b| if (a != b) return false;
    return true;
}
