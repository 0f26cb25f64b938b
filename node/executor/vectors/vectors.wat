;; SIMD, also relaxed, and the bits of a NaN that was computed.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\20\00\00\00\40\00\00\00")
  (func (export "_start") (local $i i32) (local $v v128)
    (local.set $v (v128.const f32x4 1 -2 3.5 nan:0x123))
    (loop $again
      (local.set $v (f32x4.add (f32x4.mul (local.get $v) (f32x4.splat (f32.const 1.0001))) (f32x4.splat (f32.const -0.5))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $i) (i32.const 200))))
    (v128.store (i32.const 32) (local.get $v))
    (v128.store (i32.const 48)
      (f32x4.relaxed_madd (local.get $v) (local.get $v) (f32x4.div (local.get $v) (f32x4.splat (f32.const 0)))))
    (v128.store (i32.const 64)
      (i8x16.relaxed_swizzle (local.get $v) (v128.const i8x16 0 255 16 17 3 4 5 6 128 9 10 11 12 13 14 200)))
    (f64.store (i32.const 80) (f64.div (f64.const 0) (f64.const 0)))
    (i32.store (i32.const 88) (i32x4.extract_lane 2 (i32x4.relaxed_trunc_f32x4_s (local.get $v))))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
