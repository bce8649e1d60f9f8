;; NAME: adds a header to every response.
(module
  (import "env" "host_set_header"
    (func $set_header (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "X-Plugin")
  (data (i32.const 16) "NAME")

  (func (export "int3_abi_version") (result i32)
    i32.const 1)

  (func (export "on_response") (result i32)
    (drop (call $set_header
      (i32.const 0) (i32.const 8)          ;; the name: offset, length
      (i32.const 16) (i32.const LENGTH)))  ;; the value
    i32.const 0))                          ;; continue
