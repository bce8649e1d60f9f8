//! Whether two JSON values are equal as RFC 6902, section 4.6, has it: texts by what they stand for,
//! numbers by their value, objects in any order.

const json = @import("json.zig");

/// Both are one valid value without blanks around it. It recurses no deeper than `one` is nested.
pub fn equal(one: []const u8, other: []const u8) bool {
    return switch (one[0]) {
        '"' => other[0] == '"' and sameText(one[1 .. one.len - 1], other[1 .. other.len - 1]),
        '{' => other[0] == '{' and sameMembers(one, other),
        '[' => other[0] == '[' and sameElements(one, other),
        't', 'f', 'n' => json.same(one, other),
        else => (other[0] == '-' or json.isDigit(other[0])) and sameNumber(one, other),
    };
}

fn sameText(one: []const u8, other: []const u8) bool {
    var a = json.Chars{ .text = one };
    var b = json.Chars{ .text = other };
    while (a.next()) |byte| if (b.next() != byte) return false;
    return b.next() == null;
}

fn sameElements(one: []const u8, other: []const u8) bool {
    var a = json.Items.of(one, 0);
    var b = json.Items.of(other, 0);
    while (a.next()) |item| {
        const match = b.next() orelse return false;
        if (!equal(part(one, item.value), part(other, match.value))) return false;
    }
    return b.next() == null;
}

fn sameMembers(one: []const u8, other: []const u8) bool {
    var count: usize = 0;
    var b = json.Items.of(other, 0);
    while (b.next()) |_| count += 1;
    var a = json.Items.of(one, 0);
    while (a.next()) |item| {
        if (count == 0) return false;
        count -= 1;
        b = json.Items.of(other, 0);
        const match = while (b.next()) |match| {
            if (sameText(item.name, match.name)) break match;
        } else return false;
        if (!equal(part(one, item.value), part(other, match.value))) return false;
    }
    return count == 0;
}

fn part(text: []const u8, span: json.Span) []const u8 {
    return text[span.begin..span.end];
}

/// A number as 0.DIGITS times ten to the power of `exponent`, with the zeros around them left out.
const Number = struct {
    text: []const u8,
    negative: bool,
    whole: usize,
    first: usize = 0,
    count: usize = 0,
    exponent: i64 = 0,

    fn read(number: []const u8) Number {
        const negative = number[0] == '-';
        const text = number[@intFromBool(negative)..];
        var self = Number{ .text = text, .negative = negative, .whole = 0 };
        while (self.whole < text.len and json.isDigit(text[self.whole])) self.whole += 1;
        var digits = self.whole;
        var at = self.whole;
        if (at < text.len and text[at] == '.') {
            at += 1;
            while (at < text.len and json.isDigit(text[at])) : (at += 1) digits += 1;
        }
        while (self.first < digits and self.digit(self.first) == '0') self.first += 1;
        while (digits > self.first and self.digit(digits - 1) == '0') digits -= 1;
        self.count = digits - self.first;
        if (self.count == 0) return .{ .text = text, .negative = false, .whole = 0 };
        if (at < text.len) self.exponent = power(text[at + 1 ..]);
        self.exponent += @as(i64, @intCast(self.whole)) - @as(i64, @intCast(self.first));
        return self;
    }

    fn digit(self: Number, index: usize) u8 {
        return self.text[if (index < self.whole) index else index + 1];
    }

    fn power(text: []const u8) i64 {
        var total: i64 = 0;
        for (text) |byte| {
            if (json.isDigit(byte) and total < 1 << 52) total = total * 10 + (byte - '0');
        }
        return if (text[0] == '-') -total else total;
    }
};

fn sameNumber(one: []const u8, other: []const u8) bool {
    const a = Number.read(one);
    const b = Number.read(other);
    if (a.negative != b.negative or a.count != b.count or a.exponent != b.exponent) return false;
    for (0..a.count) |index| {
        if (a.digit(a.first + index) != b.digit(b.first + index)) return false;
    }
    return true;
}
