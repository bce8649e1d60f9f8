//! As much JSON (RFC 8259) as finding a member of an object takes, with its nesting bounded.

const deepest = 32;

pub const Malformed = error{Malformed};

const Reader = struct {
    text: []const u8,
    at: usize = 0,

    fn peek(self: *Reader) u8 {
        while (self.at < self.text.len) : (self.at += 1) {
            switch (self.text[self.at]) {
                ' ', '\t', '\r', '\n' => {},
                else => |byte| return byte,
            }
        }
        return 0; // no token begins so
    }

    fn take(self: *Reader, wanted: u8) bool {
        if (self.peek() != wanted) return false;
        self.at += 1;
        return true;
    }

    fn expect(self: *Reader, wanted: u8) Malformed!void {
        if (!self.take(wanted)) return error.Malformed;
    }

    /// Read a value; return it as it was written.
    fn value(self: *Reader, depth: u32) Malformed![]const u8 {
        const first = self.peek();
        const begin = self.at;
        switch (first) {
            '"' => try self.string(),
            '{', '[' => try self.nested(first, depth),
            '-', '0'...'9', 't', 'f', 'n' => self.word(),
            else => return error.Malformed,
        }
        return self.text[begin..self.at];
    }

    fn string(self: *Reader) Malformed!void {
        self.at += 1;
        while (self.at < self.text.len) : (self.at += 1) {
            switch (self.text[self.at]) {
                '"' => {
                    self.at += 1;
                    return;
                },
                '\\' => self.at += 1,
                0...0x1f => return error.Malformed,
                else => {},
            }
        }
        return error.Malformed;
    }

    /// Numbers, true, false, null; which of them, and whether it is one, is for whoever asks.
    fn word(self: *Reader) void {
        while (self.at < self.text.len) : (self.at += 1) {
            switch (self.text[self.at]) {
                '-', '+', '.', '0'...'9', 'a'...'z', 'E' => {},
                else => return,
            }
        }
    }

    fn nested(self: *Reader, open: u8, depth: u32) Malformed!void {
        if (depth == deepest) return error.Malformed;
        const close = open + 2; // in ASCII, of both kinds
        self.at += 1;
        if (self.take(close)) return;
        while (true) {
            if (open == '{') {
                if (self.peek() != '"') return error.Malformed;
                try self.string();
                try self.expect(':');
            }
            _ = try self.value(depth + 1);
            if (!self.take(',')) return self.expect(close);
        }
    }
};

/// The value of an object's member as it was written, or null where there is none. The last of
/// several counts. All of `text` has to be one object.
pub fn member(text: []const u8, name: []const u8) Malformed!?[]const u8 {
    var reader = Reader{ .text = text };
    var found: ?[]const u8 = null;
    try reader.expect('{');
    if (!reader.take('}')) {
        while (true) {
            if (reader.peek() != '"') return error.Malformed;
            const begin = reader.at + 1;
            try reader.string();
            const key = text[begin .. reader.at - 1];
            try reader.expect(':');
            const value = try reader.value(1);
            if (same(key, name)) found = value;
            if (!reader.take(',')) break;
        }
        try reader.expect('}');
    }
    if (reader.peek() != 0 or reader.at != text.len) return error.Malformed;
    return found;
}

/// The whole seconds of a NumericDate (RFC 7519, section 2), or null where it is none of a size
/// that makes sense.
pub fn seconds(number: []const u8) ?i64 {
    var total: i64 = 0;
    for (number, 0..) |byte, index| {
        switch (byte) {
            '0'...'9' => total = total * 10 + (byte - '0'),
            '.' => return if (index > 0) total else null,
            else => return null,
        }
        if (index > 15) return null;
    }
    return total;
}

pub fn same(one: []const u8, other: []const u8) bool {
    if (one.len != other.len) return false;
    for (one, other) |a, b| if (a != b) return false;
    return true;
}
