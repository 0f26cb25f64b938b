;; Direct, indirect and tail calls, several results, returns from inside of blocks.
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (type $unary (func (param i32) (result i32)))
  (table 2 funcref)
  (elem (i32.const 0) $fib $down)
  (func $fib (type $unary)
    (if (i32.lt_u (local.get 0) (i32.const 2)) (then (return (local.get 0))))
    (i32.add
      (call $fib (i32.sub (local.get 0) (i32.const 1)))
      (call $fib (i32.sub (local.get 0) (i32.const 2)))))
  (func $down (type $unary)
    (if (i32.eqz (local.get 0)) (then (return (i32.const 5))))
    (return_call_indirect (type $unary) (i32.sub (local.get 0) (i32.const 1)) (i32.const 1)))
  (func $split (param i32) (result i32 i64)
    (block (br_if 0 (call $fib (i32.const 0))) (return (call $fib (local.get 0)) (i64.const 7)))
    (i32.const 1) (i64.const 2))
  (func (export "_start") (local $sum i64)
    (call $split (i32.const 12))
    (local.set $sum)
    i64.extend_i32_u
    local.get $sum
    i64.add
    local.set $sum
    (call $exit
      (i32.add
        (i32.wrap_i64 (local.get $sum))
        (call_indirect (type $unary) (i32.const 500) (i32.const 1))))))
