;; Nothing but calls: what counting their depth costs at most. No program is like this; interpreters come nearest.
(module
  (memory (export "memory") 1)
  (func $fib (param i32) (result i32)
    (if (result i32) (i32.lt_s (local.get 0) (i32.const 2))
      (then (local.get 0))
      (else (i32.add
        (call $fib (i32.sub (local.get 0) (i32.const 1)))
        (call $fib (i32.sub (local.get 0) (i32.const 2)))))))
  (func $tak (param i32 i32 i32) (result i32)
    (if (result i32) (i32.ge_s (local.get 1) (local.get 0))
      (then (local.get 2))
      (else (call $tak
        (call $tak (i32.sub (local.get 0) (i32.const 1)) (local.get 1) (local.get 2))
        (call $tak (i32.sub (local.get 1) (i32.const 1)) (local.get 2) (local.get 0))
        (call $tak (i32.sub (local.get 2) (i32.const 1)) (local.get 0) (local.get 1))))))
  (func (export "_start")
    (if (i32.ne (call $fib (i32.const 34)) (i32.const 5702887)) (then unreachable))
    (if (i32.ne (call $tak (i32.const 18) (i32.const 12) (i32.const 6)) (i32.const 7)) (then unreachable))))
