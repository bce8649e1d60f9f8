//! NAME: adds a header to every response.

const int3 = @import("int3.zig");

export fn int3_abi_version() i32 {
    return 1;
}

export fn on_response() i32 {
    _ = int3.setHeader("X-Plugin", "NAME");
    return int3.proceed;
}
