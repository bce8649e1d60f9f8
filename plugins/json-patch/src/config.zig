//! The configuration: patches, read where they lie each time they are wanted.

const int3 = @import("int3.zig");
const json = @import("json.zig");

pub const longest_pointer = 4096;
/// How deep values may be nested: comparing them takes as much of the stack.
const deepest = 32;

var room: [65536]u8 = undefined;
var decoded: [65536]u8 = undefined;
var message: [160]u8 = undefined;
var text: []const u8 = "";

pub const Op = enum { add, remove, replace, move, copy, @"test" };
const ops = [_]Op{ .add, .remove, .replace, .move, .copy, .@"test" };

pub const Operation = struct {
    op: Op,
    /// JSON Pointers, as they are inside a JSON text.
    path: []const u8,
    from: []const u8 = "",
    value: []const u8 = "",
    /// Whether `value` is the inside of a text that holds the value.
    is_text: bool = false,

    /// The value; it holds until the next one is asked for.
    pub fn jsonValue(self: Operation) []const u8 {
        if (!self.is_text) return self.value;
        const given = json.decode(self.value, &decoded) orelse return "null"; // checked before
        const begin = json.skipBlanks(given, 0);
        return given[begin..json.valueEnd(given, begin)];
    }
};

pub const Patch = struct {
    /// The array's place in the configuration.
    operations: usize,
    url: ?[]const u8 = null,
    in_requests: bool = true,
    in_responses: bool = true,

    /// Whether it is for a message of this URL.
    pub fn fits(self: Patch, url: []const u8, is_response: bool) bool {
        if (!(if (is_response) self.in_responses else self.in_requests)) return false;
        const raw = self.url orelse return true;
        return matches(json.decode(raw, &decoded) orelse return false, url);
    }
};

/// One after another.
pub const Patches = struct {
    items: ?json.Items,

    pub fn all() Patches {
        const list = member(0, "patches") orelse return .{ .items = null };
        return .{ .items = json.Items.of(text, list.begin) };
    }

    pub fn next(self: *Patches) ?Patch {
        if (self.items) |*items| {
            const item = items.next() orelse return null;
            return readPatch(item.value.begin) catch null;
        }
        return null;
    }
};

pub const Operations = struct {
    items: json.Items,

    pub fn of(patch: Patch) Operations {
        return .{ .items = json.Items.of(text, patch.operations) };
    }

    pub fn next(self: *Operations) ?Operation {
        const item = self.items.next() orelse return null;
        return readOperation(item.value.begin) catch null;
    }
};

const Wrong = error{
    Patch,
    Operations,
    In,
    Url,
    Operation,
    Op,
    Path,
    From,
    Inside,
    Value,
    Json,
};

/// Read and check it; null where it is fine, else what is wrong with it.
pub fn load() ?[]const u8 {
    const all = int3.field(.configuration, &room) orelse return "config has more than 64 KiB";
    const begin = json.skipBlanks(all, 0);
    text = all[begin..];
    if (text.len == 0) return null;
    if (!json.isValid(text, deepest + 4) or text[0] != '{') return "config is no JSON object";
    var keys = json.Items.of(text, 0);
    while (keys.next()) |key| {
        if (!json.means(key.name, "patches")) return "config takes patches, and nothing else";
        if (text[key.value.begin] != '[') return "patches is no array";
        var patches = json.Items.of(text, key.value.begin);
        var number: usize = 1;
        while (patches.next()) |item| : (number += 1) {
            const patch = readPatch(item.value.begin) catch |wrong| return say(number, null, wrong);
            var operations = json.Items.of(text, patch.operations);
            var place: usize = 1;
            while (operations.next()) |one| : (place += 1) {
                _ = readOperation(one.value.begin) catch |wrong| return say(number, place, wrong);
            }
        }
    }
    return null;
}

fn say(patch: usize, operation: ?usize, wrong: Wrong) []const u8 {
    var line = Line{ .room = &message };
    line.put("patch ");
    line.number(patch);
    if (operation) |number| {
        line.put(", operation ");
        line.number(number);
    }
    line.put(": ");
    line.put(switch (wrong) {
        error.Patch => "it takes in, url and operations",
        error.Operations => "operations is no array",
        error.In => "in is neither \"request\" nor \"response\"",
        error.Url => "url is no text",
        error.Operation => "it is no table",
        error.Op => "op is none of add, remove, replace, move, copy and test",
        error.Path => "path is no JSON Pointer: it is empty or begins with /, and ~ is ~0",
        error.From => "from is no JSON Pointer: it is empty or begins with /, and ~ is ~0",
        error.Inside => "what is moved would be inside of itself",
        error.Value => "it needs one of value and json",
        error.Json => "json is no JSON text, or nested too deep",
    });
    return line.text();
}

fn readPatch(begin: usize) Wrong!Patch {
    if (text[begin] != '{') return error.Patch;
    var operations: ?usize = null;
    var patch = Patch{ .operations = 0 };
    var items = json.Items.of(text, begin);
    while (items.next()) |item| {
        if (json.means(item.name, "operations")) {
            if (text[item.value.begin] != '[') return error.Operations;
            operations = item.value.begin;
        } else if (json.means(item.name, "url")) {
            patch.url = inside(item.value) orelse return error.Url;
        } else if (json.means(item.name, "in")) {
            const side = inside(item.value) orelse return error.In;
            patch.in_requests = json.means(side, "request");
            patch.in_responses = json.means(side, "response");
            if (!patch.in_requests and !patch.in_responses) return error.In;
        } else return error.Patch;
    }
    patch.operations = operations orelse return error.Patch;
    return patch;
}

/// Members that it does not know are ignored, as RFC 6902, section 4, has it.
fn readOperation(begin: usize) Wrong!Operation {
    if (text[begin] != '{') return error.Operation;
    const name = inside(member(begin, "op")) orelse return error.Op;
    const op = inline for (ops) |one| {
        if (json.means(name, @tagName(one))) break one;
    } else return error.Op;
    const path = inside(member(begin, "path")) orelse return error.Path;
    if (!isPointer(path)) return error.Path;
    var operation = Operation{ .op = op, .path = path };
    switch (op) {
        .remove => {},
        .move, .copy => {
            operation.from = inside(member(begin, "from")) orelse return error.From;
            if (!isPointer(operation.from)) return error.From;
            if (op == .move and holds(operation.from, path)) return error.Inside;
        },
        .add, .replace, .@"test" => {
            const value = member(begin, "value");
            const raw = member(begin, "json");
            if ((value == null) == (raw == null)) return error.Value;
            if (value) |span| operation.value = text[span.begin..span.end];
            if (raw) |_| {
                operation.value = inside(raw) orelse return error.Json;
                operation.is_text = true;
                const given = json.decode(operation.value, &decoded) orelse return error.Json;
                if (!json.isValid(given, deepest)) return error.Json;
            }
        },
    }
    return operation;
}

/// The value of a member of the object at `begin`, the last of several.
fn member(begin: usize, name: []const u8) ?json.Span {
    if (begin >= text.len or text[begin] != '{') return null;
    var found: ?json.Span = null;
    var items = json.Items.of(text, begin);
    while (items.next()) |item| {
        if (json.means(item.name, name)) found = item.value;
    }
    return found;
}

/// What is between a text's quotation marks; null where it is no text.
fn inside(value: ?json.Span) ?[]const u8 {
    const span = value orelse return null;
    if (text[span.begin] != '"') return null;
    return text[span.begin + 1 .. span.end - 1];
}

fn isPointer(raw: []const u8) bool {
    const pointer = json.decode(raw, decoded[0..longest_pointer]) orelse return false;
    if (pointer.len > 0 and pointer[0] != '/') return false;
    for (pointer, 1..) |byte, next| {
        if (byte != '~') continue;
        if (next == pointer.len or (pointer[next] != '0' and pointer[next] != '1')) return false;
    }
    return true;
}

/// Whether `from` leads to what holds `path`.
fn holds(from: []const u8, path: []const u8) bool {
    var a = json.Chars{ .text = from };
    var b = json.Chars{ .text = path };
    while (a.next()) |byte| if (b.next() != byte) return false;
    return b.next() == '/';
}

/// Whether `pattern`, with `*` for anything, is all of `name`.
fn matches(pattern: []const u8, name: []const u8) bool {
    var at: usize = 0;
    var of: usize = 0;
    var star: ?usize = null; // the last one, and how far what it stands for was tried
    var tried: usize = 0;
    while (of < name.len) {
        if (at < pattern.len and pattern[at] == '*') {
            star = at;
            tried = of;
            at += 1;
        } else if (at < pattern.len and pattern[at] == name[of]) {
            at += 1;
            of += 1;
        } else if (star) |place| {
            tried += 1;
            of = tried;
            at = place + 1;
        } else return false;
    }
    while (at < pattern.len and pattern[at] == '*') at += 1;
    return at == pattern.len;
}

/// A line that is put together; what does not fit is left out.
pub const Line = struct {
    room: []u8,
    length: usize = 0,

    pub fn put(self: *Line, more: []const u8) void {
        const fits_in = @min(more.len, self.room.len - self.length);
        @memcpy(self.room[self.length..][0..fits_in], more[0..fits_in]);
        self.length += fits_in;
    }

    pub fn number(self: *Line, value: usize) void {
        if (value >= 10) self.number(value / 10);
        self.put(&.{'0' + @as(u8, @intCast(value % 10))});
    }

    pub fn text(self: *const Line) []const u8 {
        return self.room[0..self.length];
    }
};
