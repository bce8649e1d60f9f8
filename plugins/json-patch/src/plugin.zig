//! Edits JSON bodies by JSON Patches (RFC 6902) from its configuration.
//!
//! A body is one text from beginning to end, and edits are made in that text: what none of them
//! touches goes on byte for byte. Bodies that are no JSON go on as they are.

const int3 = @import("int3.zig");
const json = @import("json.zig");
const config = @import("config.zig");
const documents = @import("document.zig");
const equal = @import("equal.zig").equal;

const longest_body = 2 * 1024 * 1024;
const byte_order_mark = "\xef\xbb\xbf";

var url_room: [32768]u8 = undefined;
var path_room: [config.longest_pointer]u8 = undefined;
var from_room: [config.longest_pointer]u8 = undefined;
var line_room: [200]u8 = undefined;
/// Where memory of its own ends, and what is asked for begins.
var heap: usize = 0;

export fn int3_abi_version() i32 {
    return 1;
}

export fn plugin_init() i32 {
    const wrong = config.load() orelse return 0;
    int3.log(.err, wrong);
    return 1;
}

export fn on_request() i32 {
    patchAll(false);
    return int3.proceed;
}

export fn on_response() i32 {
    patchAll(true);
    return int3.proceed;
}

fn patchAll(is_response: bool) void {
    const url = int3.field(.url, &url_room) orelse return;
    var patches = config.Patches.all();
    var body: ?Body = null;
    var edited = false;
    var number: usize = 1;
    while (patches.next()) |patch| : (number += 1) {
        if (!patch.fits(url, is_response)) continue;
        if (body == null) body = Body.read() orelse return;
        const now = &body.?;
        @memcpy(now.new.room[0..now.old.length], now.old.text());
        now.new.length = now.old.length;
        apply(patch, number, &now.new, now.spare) catch continue;
        const before = now.old;
        now.old = now.new;
        now.new = before;
        edited = true;
        _ = int3.count("patched", 1);
    }
    if (edited and int3.setBody(body.?.bytes()) < 0) {
        int3.log(.warn, "the host refused the edited body");
    }
}

/// Carry out a patch's operations. Where one fails, the document is to be thrown away.
fn apply(
    patch: config.Patch,
    number: usize,
    document: *documents.Document,
    spare: []u8,
) error{Failed}!void {
    var operations = config.Operations.of(patch);
    var place: usize = 1;
    while (operations.next()) |operation| : (place += 1) {
        const passed = carryOut(operation, document, spare) catch |failed| {
            tell(.warn, number, place, documents.why(failed));
            return error.Failed;
        };
        if (!passed) {
            tell(.debug, number, place, "the test failed");
            return error.Failed;
        }
    }
}

/// Whether it passed; only a test may not.
fn carryOut(
    operation: config.Operation,
    document: *documents.Document,
    spare: []u8,
) documents.Failed!bool {
    const path = json.decode(operation.path, &path_room) orelse return error.NotThere;
    switch (operation.op) {
        .add => try document.add(path, operation.jsonValue()),
        .replace => try document.replace(path, operation.jsonValue()),
        .remove => try document.remove(path),
        .@"test" => return equal(operation.jsonValue(), try document.get(path)),
        .move, .copy => {
            const from = json.decode(operation.from, &from_room) orelse return error.NotThere;
            const found = try document.get(from);
            const value = spare[0..found.len];
            @memcpy(value, found);
            if (operation.op == .move) {
                if (json.same(from, path)) return true;
                try document.remove(from);
            }
            try document.add(path, value);
        },
    }
    return true;
}

/// A body as it is, as it becomes, and memory for a part of it.
const Body = struct {
    old: documents.Document,
    new: documents.Document,
    spare: []u8,
    /// The length of the byte order mark before each of them.
    mark: usize,

    /// Null for one that cannot be edited, or is empty.
    fn read() ?Body {
        const answer = int3.bodyLength();
        if (answer == 0) return null;
        if (answer == int3.not_in_hook) {
            return pass("streams", "a body streams, or is larger than body_buffer");
        }
        if (answer < 0) return pass("not read", "a body could not be decoded");
        const length: usize = @intCast(answer);
        if (length > longest_body) return pass("too large", "a body has more than 2 MiB");
        const size = 2 * length + 64 * 1024;
        const memory = take(3 * size) orelse return pass("too large", "there is no memory left");
        const all = int3.body(0, memory[0..length]) orelse return null;
        const marked = all.len >= 3 and json.same(all[0..3], byte_order_mark);
        const mark: usize = if (marked) 3 else 0;
        if (!json.isValid(all[mark..], json.deepest)) {
            return pass("not JSON", "a body is no JSON, or nested more than 1000 deep");
        }
        if (marked) @memcpy(memory[size..][0..3], byte_order_mark);
        return .{
            .old = .{ .room = memory[mark..size], .length = length - mark },
            .new = .{ .room = memory[size + mark .. 2 * size], .length = 0 },
            .spare = memory[2 * size ..],
            .mark = mark,
        };
    }

    fn bytes(self: *const Body) []const u8 {
        return (self.old.room.ptr - self.mark)[0 .. self.mark + self.old.length];
    }
};

/// Memory for whichever body is at hand.
fn take(size: usize) ?[]u8 {
    const page = 64 * 1024;
    const end = @wasmMemorySize(0) * page;
    if (heap == 0) heap = end;
    if (heap + size > end) {
        const pages = (heap + size - end + page - 1) / page;
        if (@wasmMemoryGrow(0, pages) < 0) return null;
    }
    const memory: [*]u8 = @ptrFromInt(heap);
    return memory[0..size];
}

/// Let a body go on as it is: counted each time, and told the first time.
fn pass(comptime metric: []const u8, comptime what: []const u8) ?Body {
    const told = struct {
        var already = false;
    };
    _ = int3.count(metric, 1);
    if (!told.already) int3.log(.info, what ++ "; it goes on as it is, and so will others like it");
    told.already = true;
    return null;
}

fn tell(level: int3.Level, patch: usize, operation: usize, what: []const u8) void {
    _ = int3.count("not applied", 1);
    var line = config.Line{ .room = &line_room };
    line.put("patch ");
    line.number(patch);
    line.put(", operation ");
    line.number(operation);
    line.put(": ");
    line.put(what);
    line.put("; none of the patch is applied");
    int3.log(level, line.text());
}
