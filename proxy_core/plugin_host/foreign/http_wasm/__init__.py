"""http-wasm HTTP handlers: their nineteen host functions, and how flows are driven through them.

After the HTTP Handler ABI of http-wasm.io. A handler is asked twice, with the request and with the
response; what it cannot be given traps, as that ABI has no other way to say no.
"""
