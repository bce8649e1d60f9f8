"""WebAssembly plugins: found, sandboxed, called, swapped."""
