//! A JSON document that is edited where it lies: the text around an edit is moved, and not changed.

const json = @import("json.zig");

pub const Failed = error{ NotThere, NoContainer, NoIndex, Ambiguous, Root, TooLarge };

pub fn why(failed: Failed) []const u8 {
    return switch (failed) {
        error.NotThere => "there is nothing at its path",
        error.NoContainer => "what is on the way is neither an object nor an array",
        error.NoIndex => "an array has no such index",
        error.Ambiguous => "a name on its path occurs twice",
        error.Root => "the whole document cannot be removed",
        error.TooLarge => "the document would become more than twice as large",
    };
}

var name_room: [8192]u8 = undefined;

/// A place that a JSON Pointer (RFC 6901) leads to, in a container that is there.
const Place = struct {
    /// Where the container begins; null for the whole document.
    container: ?usize,
    /// The last token, still escaped.
    token: []const u8 = "",
    /// The value, where there is one.
    value: ?json.Span,
    /// Where its name begins, or where the value does.
    lead: usize = 0,
};

pub const Document = struct {
    room: []u8,
    length: usize,

    pub fn text(self: *const Document) []const u8 {
        return self.room[0..self.length];
    }

    /// What is at `pointer`.
    pub fn get(self: *const Document, pointer: []const u8) Failed![]const u8 {
        const place = try self.find(pointer);
        const value = place.value orelse return error.NotThere;
        return self.room[value.begin..value.end];
    }

    /// Put `value`, which lies elsewhere, in the place of what is there.
    pub fn replace(self: *Document, pointer: []const u8, value: []const u8) Failed!void {
        const place = try self.find(pointer);
        const old = place.value orelse return error.NotThere;
        try self.splice(old.begin, old.end, &.{value});
    }

    /// Put `value` there: into an array before what is there, in the place of anything else.
    pub fn add(self: *Document, pointer: []const u8, value: []const u8) Failed!void {
        const place = try self.find(pointer);
        const container = place.container orelse return self.splice(
            place.value.?.begin,
            place.value.?.end,
            &.{value},
        );
        const is_array = self.room[container] == '[';
        if (place.value) |old| {
            if (is_array) return self.splice(old.begin, old.begin, &.{ value, "," });
            return self.splice(old.begin, old.end, &.{value});
        }
        var end = container + 1;
        var count: usize = 0;
        var items = json.Items.of(self.text(), container);
        while (items.next()) |item| : (count += 1) end = item.value.end;
        const comma = if (count > 0) "," else "";
        if (!is_array) {
            const name = try nameOf(place.token, &name_room);
            return self.splice(end, end, &.{ comma, name, ":", value });
        }
        const at_end = json.same(place.token, "-") or indexOf(place.token) == count;
        if (!at_end) return error.NoIndex;
        return self.splice(end, end, &.{ comma, value });
    }

    /// Take out what is there, and the comma that parted it from another.
    pub fn remove(self: *Document, pointer: []const u8) Failed!void {
        const place = try self.find(pointer);
        const container = place.container orelse return error.Root;
        const value = place.value orelse return error.NotThere;
        var before = container + 1; // the end of the item before it
        var items = json.Items.of(self.text(), container);
        while (items.next()) |item| {
            if (item.lead == place.lead) break;
            before = item.value.end;
        }
        if (before > container + 1) return self.splice(before, value.end, &.{});
        const following = items.next();
        try self.splice(place.lead, if (following) |item| item.lead else value.end, &.{});
    }

    fn find(self: *const Document, pointer: []const u8) Failed!Place {
        const whole = self.text();
        const begin = json.skipBlanks(whole, 0);
        // Where the whole ends, which takes long to find, matters to whom it is about alone.
        const end = if (pointer.len == 0) json.valueEnd(whole, begin) else begin;
        var place = Place{ .container = null, .value = .{ .begin = begin, .end = end } };
        var at: usize = 0;
        while (at < pointer.len) {
            const start = at + 1;
            at = start;
            while (at < pointer.len and pointer[at] != '/') at += 1;
            const value = place.value orelse return error.NotThere;
            place = try child(whole, value.begin, pointer[start..at]);
        }
        return place;
    }

    /// Put `parts` in the place of what is from `begin` to `end`.
    fn splice(self: *Document, begin: usize, end: usize, parts: []const []const u8) Failed!void {
        var length: usize = 0;
        for (parts) |one| length += one.len;
        const total = self.length - (end - begin) + length;
        if (total > self.room.len) return error.TooLarge;
        @memmove(self.room[begin + length .. total], self.room[end..self.length]);
        self.length = total;
        var at = begin;
        for (parts) |one| {
            @memcpy(self.room[at..][0..one.len], one);
            at += one.len;
        }
    }
};

fn child(text: []const u8, container: usize, token: []const u8) Failed!Place {
    if (text[container] != '{' and text[container] != '[') return error.NoContainer;
    var place = Place{ .container = container, .token = token, .value = null };
    var items = json.Items.of(text, container);
    if (items.is_object) {
        while (items.next()) |item| {
            if (!isNamed(item.name, token)) continue;
            if (place.value != null) return error.Ambiguous;
            place.value = item.value;
            place.lead = item.lead;
        }
        return place;
    }
    if (json.same(token, "-")) return place;
    var index = indexOf(token) orelse return error.NoIndex;
    while (items.next()) |item| : (index -= 1) {
        if (index > 0) continue;
        place.value = item.value;
        place.lead = item.lead;
        break;
    }
    return place;
}

/// An array's index (RFC 6901, section 4), or null.
fn indexOf(token: []const u8) ?usize {
    if (token.len == 0 or token.len > 9 or (token[0] == '0' and token.len > 1)) return null;
    var index: usize = 0;
    for (token) |digit| {
        if (!json.isDigit(digit)) return null;
        index = index * 10 + (digit - '0');
    }
    return index;
}

/// Whether a member's name is what a token stands for.
fn isNamed(name: []const u8, token: []const u8) bool {
    var chars = json.Chars{ .text = name };
    var at: usize = 0;
    while (unescaped(token, &at)) |byte| if (chars.next() != byte) return false;
    return chars.next() == null;
}

/// The next byte of a token: `~1` is a slash, `~0` a tilde.
fn unescaped(token: []const u8, at: *usize) ?u8 {
    if (at.* == token.len) return null;
    const byte = token[at.*];
    at.* += 1;
    if (byte != '~') return byte;
    at.* += 1;
    return if (token[at.* - 1] == '1') '/' else '~';
}

/// Write a token as a member's name, quotation marks and all.
fn nameOf(token: []const u8, into: []u8) Failed![]u8 {
    var length: usize = 1;
    into[0] = '"';
    var at: usize = 0;
    while (unescaped(token, &at)) |byte| {
        if (into.len - length < 8) return error.TooLarge;
        const digits = "0123456789abcdef";
        const written: []const u8 = switch (byte) {
            '"', '\\' => &.{ '\\', byte },
            0...0x1f => &.{ '\\', 'u', '0', '0', digits[byte >> 4], digits[byte & 15] },
            else => &.{byte},
        };
        @memcpy(into[length..][0..written.len], written);
        length += written.len;
    }
    into[length] = '"';
    return into[0 .. length + 1];
}
