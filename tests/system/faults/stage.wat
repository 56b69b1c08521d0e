;; A stage that leaks, reports and returns as the first byte of the payload says. Any other byte is answered with the number of calls that
;; this instance has seen. The result lies at 0, its elements from 64 on; what the host hands over lies from 65536 on.
(module
  (import "hotshoe:pipeline/samples@0.1.0" "[method]sample.read" (func $read (param i32 i32)))
  (import "hotshoe:pipeline/samples@0.1.0" "[resource-drop]sample" (func $drop (param i32)))
  (import "hotshoe:pipeline/tensors@0.1.0" "[static]tensor.from-u8" (func $from_u8 (param i32 i32 i32 i32 i32)))

  ;; With memory-mib = 4 it may have 64 pages.
  (memory (export "memory") 2)
  (data (i32.const 1024) "calls")
  (data (i32.const 1032) "no room")
  (data (i32.const 1040) "InternalError: out of memory (component.js:5)")
  (data (i32.const 1100) "src/lib.rs:7: a\0abound was passed")
  ;; The shape that no tensor has.
  (data (i32.const 1200) "\ff\ff\ff\ff\ff\ff\ff\ff")

  (global $heap (mut i32) (i32.const 65536))
  (global $calls (mut i32) (i32.const 0))

  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (global.set $heap (i32.add (local.get $at) (local.get 3)))
    (local.get $at))

  (func $give_up unreachable)

  ;; The result `error`, with this code and text.
  (func $error (param $code i32) (param $at i32) (param $bytes i32)
    (i32.store8 (i32.const 0) (i32.const 1))
    (i32.store8 (i32.const 4) (local.get $code))
    (i32.store (i32.const 8) (local.get $at))
    (i32.store (i32.const 12) (local.get $bytes)))

  (func $process (export "hotshoe:pipeline/process@0.1.0#process") (param $sample i32) (result i32)
    (local $what i32)
    (global.set $heap (i32.const 65536))
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (memory.fill (i32.const 0) (i32.const 0) (i32.const 128))
    (call $read (local.get $sample) (i32.const 32))
    (local.set $what (i32.load8_u (i32.load (i32.const 32))))
    (memory.fill (i32.const 32) (i32.const 0) (i32.const 16))
    (call $drop (local.get $sample))

    ;; L: 16 pages, which it keeps.
    (if (i32.eq (local.get $what) (i32.const 76)) (then (drop (memory.grow (i32.const 16)))))
    ;; W: 50 pages, with which it works.
    (if (i32.eq (local.get $what) (i32.const 87)) (then (drop (memory.grow (i32.const 50)))))
    ;; A: as much as there never is, without a word.
    (if (i32.eq (local.get $what) (i32.const 65)) (then (drop (memory.grow (i32.const 100)))))
    ;; M: the same, and it returns an error as for any defect.
    (if (i32.eq (local.get $what) (i32.const 77))
      (then
        (drop (memory.grow (i32.const 100)))
        (call $error (i32.const 5) (i32.const 1032) (i32.const 7))
        (return (i32.const 0))))
    ;; E: the same, and it says which limit it is.
    (if (i32.eq (local.get $what) (i32.const 69))
      (then
        (drop (memory.grow (i32.const 100)))
        (call $error (i32.const 4) (i32.const 1032) (i32.const 7))
        (return (i32.const 0))))
    ;; Q: a runtime that has a limit of its own.
    (if (i32.eq (local.get $what) (i32.const 81))
      (then
        (call $error (i32.const 5) (i32.const 1040) (i32.const 45))
        (return (i32.const 0))))
    ;; D: a defect like any other.
    (if (i32.eq (local.get $what) (i32.const 68))
      (then
        (call $error (i32.const 5) (i32.const 1032) (i32.const 7))
        (return (i32.const 0))))
    ;; P: it says why, and traps.
    (if (i32.eq (local.get $what) (i32.const 80))
      (then
        (call $from_u8 (i32.const 1200) (i32.const 2) (i32.const 1100) (i32.const 32) (i32.const 32))
        (call $give_up)))
    ;; U: it traps without a word.
    (if (i32.eq (local.get $what) (i32.const 85)) (then (call $give_up)))

    (i32.store (i32.const 64) (i32.const 1024))
    (i32.store (i32.const 68) (i32.const 5))
    (f64.store (i32.const 72) (f64.convert_i32_u (global.get $calls)))
    ;; S: a class with a score that none has.
    (if (i32.eq (local.get $what) (i32.const 83))
      (then
        (f32.store (i32.const 76) (f32.const 17.5))
        (i32.store (i32.const 8) (i32.const 64))
        (i32.store (i32.const 12) (i32.const 1))
        (return (i32.const 0))))
    (i32.store8 (i32.const 4) (i32.const 4))
    (i32.store (i32.const 8) (i32.const 64))
    (i32.store (i32.const 12) (i32.const 1))
    (i32.const 0)))
