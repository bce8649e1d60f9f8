//! Reads JSON Web Tokens (RFC 7519) in Authorization into a comment and tags.
//!
//! Signatures are not verified. Whatever a client sends, it is annotated and never trapped on.

const int3 = @import("int3.zig");
const json = @import("json.zig");

const scheme = "bearer ";

var header_line: [16 * 1024]u8 = undefined;
var decoded: [12 * 1024]u8 = undefined;
var comment: [1024]u8 = undefined;
var written: usize = 0;

export fn int3_abi_version() i32 {
    return 1;
}

export fn on_request() i32 {
    const value = int3.header("authorization", &header_line) orelse return int3.proceed;
    if (value.len <= scheme.len or !startsWithScheme(value)) return int3.proceed;
    const token = trim(value[scheme.len..]);
    // A bearer token without a dot is no JWT, and nothing is wrong with it.
    const dot = indexOf(token, '.') orelse return int3.proceed;
    const rest = token[dot + 1 ..];
    const second = indexOf(rest, '.') orelse return malformed("it has two parts, not three");
    if (indexOf(rest[second + 1 ..], '.') != null) {
        return malformed("it does not have three parts; encrypted ones (JWE) are not read");
    }
    written = 0;
    put("JWT");

    const header = decode(token[0..dot]) orelse return malformed("its header is not base64url");
    const alg = json.member(header, "alg") catch return malformed("its header is no JSON object");
    const text = alg orelse return malformed("its header has no alg");
    const unsigned = json.same(text, "\"none\"");
    claim("alg", text);

    const claims = decode(rest[0..second]) orelse return malformed("its claims are not base64url");
    const iss = json.member(claims, "iss") catch return malformed("its claims are no JSON object");
    if (iss) |is| claim("iss", is);
    if (json.member(claims, "sub") catch null) |sub| claim("sub", sub);
    var expired = false;
    if (json.member(claims, "exp") catch null) |exp| {
        claim("exp", exp);
        if (json.seconds(exp)) |at| {
            expired = at <= @divFloor(int3.now(), 1_000_000_000);
            if (expired) put(" (expired)");
        } else {
            put(" (no date)");
        }
    }
    _ = int3.annotate("comment", comment[0..written]);
    // A flow has one text of tags; annotating again would replace it.
    written = 0;
    put("jwt");
    if (expired) put(" jwt-expired");
    if (unsigned) put(" jwt-none");
    _ = int3.annotate("tag", comment[0..written]);
    return int3.proceed;
}

fn malformed(why: []const u8) i32 {
    written = 0;
    put("malformed JWT: ");
    put(why);
    _ = int3.annotate("comment", comment[0..written]);
    _ = int3.annotate("tag", "jwt-malformed");
    return int3.proceed;
}

/// Append " name=value"; of a long value the beginning. Texts go without quotation marks, and
/// with their escapes as they are.
fn claim(name: []const u8, value: []const u8) void {
    put(" ");
    put(name);
    put("=");
    const bare = if (value[0] == '"') value[1 .. value.len - 1] else value;
    const longest = 200;
    if (bare.len <= longest) return put(bare);
    var end: usize = longest;
    while (end > 0 and bare[end] & 0xc0 == 0x80) end -= 1; // not amid a character
    put(bare[0..end]);
    put("...");
}

fn put(text: []const u8) void {
    for (text) |byte| {
        if (written == comment.len) return;
        comment[written] = byte;
        written += 1;
    }
}

/// Undo base64url without padding (RFC 7515, section 2); null where it is something else.
fn decode(text: []const u8) ?[]const u8 {
    if (text.len % 4 == 1 or text.len / 4 * 3 + 2 > decoded.len) return null;
    var bits: u32 = 0;
    var have: u5 = 0;
    var length: usize = 0;
    for (text) |byte| {
        const six: u32 = switch (byte) {
            'A'...'Z' => byte - 'A',
            'a'...'z' => byte - 'a' + 26,
            '0'...'9' => byte - '0' + 52,
            '-' => 62,
            '_' => 63,
            else => return null,
        };
        bits = (bits << 6 | six) & 0xffff;
        have += 6;
        if (have >= 8) {
            have -= 8;
            decoded[length] = @truncate(bits >> have);
            length += 1;
        }
    }
    return decoded[0..length];
}

fn startsWithScheme(value: []const u8) bool {
    for (scheme, value[0..scheme.len]) |wanted, byte| {
        const lower = if (byte >= 'A' and byte <= 'Z') byte | 0x20 else byte;
        if (lower != wanted) return false;
    }
    return true;
}

fn trim(text: []const u8) []const u8 {
    var rest = text;
    while (rest.len > 0 and rest[0] == ' ') rest = rest[1..];
    while (rest.len > 0 and rest[rest.len - 1] == ' ') rest = rest[0 .. rest.len - 1];
    return rest;
}

fn indexOf(text: []const u8, wanted: u8) ?usize {
    for (text, 0..) |byte, index| if (byte == wanted) return index;
    return null;
}
