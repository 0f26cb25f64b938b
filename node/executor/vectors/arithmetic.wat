;; Integer and float operators, branches and a loop.
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (local $i i32) (local $a i64) (local $x f64) (local $y f32)
    (local.set $x (f64.const 1.5))
    (local.set $y (f32.const 0.25))
    (loop $again
      (local.set $a
        (i64.xor
          (i64.mul (i64.add (local.get $a) (i64.extend_i32_u (local.get $i))) (i64.const 6364136223846793005))
          (i64.rotl (local.get $a) (i64.const 17))))
      (local.set $x (f64.add (f64.sqrt (f64.abs (local.get $x))) (f64.convert_i32_s (i32.clz (local.get $i)))))
      (local.set $y (f32.div (local.get $y) (f32.max (local.get $y) (f32.const 0.5))))
      (if (i32.eqz (i32.rem_u (local.get $i) (i32.const 3)))
        (then (local.set $a (i64.popcnt (local.get $a))))
        (else (local.set $a (i64.ctz (local.get $a)))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $i) (i32.const 1000))))
    (call $exit (i32.and
      (i32.add (i32.trunc_sat_f64_u (local.get $x)) (i32.wrap_i64 (local.get $a)))
      (i32.const 127)))))
