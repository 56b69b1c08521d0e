;; A stage that does what no compiler's output does, as the first byte of the payload says. Any other byte is answered with the number of
;; calls that this instance has seen. The result lies at 0, its elements from 64 on; what the host hands over lies from 65536 on.
(module
  (import "hotshoe:pipeline/samples@0.1.0" "[method]sample.read" (func $read (param i32 i32)))
  (import "hotshoe:pipeline/samples@0.1.0" "[method]sample.source" (func $source (param i32 i32)))
  (import "hotshoe:pipeline/samples@0.1.0" "[resource-drop]sample" (func $drop (param i32)))
  (import "hotshoe:pipeline/tensors@0.1.0" "[static]tensor.from-u8" (func $from_u8 (param i32 i32 i32 i32 i32)))
  (import "hotshoe:pipeline/log@0.1.0" "log" (func $log (param i32 i32 i32)))

  (memory (export "memory") 2)
  (table $table 1 funcref)
  (data (i32.const 1024) "calls")
  (data (i32.const 1032) "a line of many\nhotshoe: which is none")
  ;; The shape [1].
  (data (i32.const 1100) "\01\00\00\00")
  ;; No UTF-8.
  (data (i32.const 1104) "\ff\fe\fd")

  (global $heap (mut i32) (i32.const 65536))
  (global $calls (mut i32) (i32.const 0))
  (global $bad_realloc (mut i32) (i32.const 0))
  (global $trap_after (mut i32) (i32.const 0))

  (func $realloc (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (if (global.get $bad_realloc) (then (return (i32.const 0xfffffff0))))
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (global.set $heap (i32.add (local.get $at) (local.get 3)))
    (local.get $at))

  (func (export "cabi_post_hotshoe:pipeline/process@0.1.0#process") (param i32)
    (if (global.get $trap_after) (then unreachable)))

  (func $deep (param i32) (result i32)
    (i32.add (i32.const 1) (call $deep (i32.add (local.get 0) (i32.const 1)))))

  ;; Makes memory reach so many pages.
  (func $pages (param i32)
    (drop (memory.grow (i32.sub (local.get 0) (memory.size)))))

  ;; The result `ok`, with an insight of this case whose list lies there and has so many elements.
  (func $list (param $case i32) (param $at i32) (param $count i32)
    (i32.store8 (i32.const 4) (local.get $case))
    (i32.store (i32.const 8) (local.get $at))
    (i32.store (i32.const 12) (local.get $count)))

  ;; The result `ok(custom)` with a payload that lies there.
  (func $custom (param $at i32) (param $bytes i32)
    (i32.store8 (i32.const 4) (i32.const 6))
    (i32.store (i32.const 16) (local.get $at))
    (i32.store (i32.const 20) (local.get $bytes)))

  ;; One tensor more, which is never dropped; where that fails, the result is the error. Whether it did not.
  (func $leak (result i32)
    (call $from_u8 (i32.const 1100) (i32.const 1) (i32.const 1024) (i32.const 1) (i32.const 32))
    (if (i32.load8_u (i32.const 32))
      (then
        (memory.copy (i32.const 0) (i32.const 32) (i32.const 16))
        (return (i32.const 0))))
    (i32.const 1))

  (func (export "hotshoe:pipeline/process@0.1.0#process") (param $sample i32) (result i32)
    (local $what i32)
    (local $n i32)
    (global.set $heap (i32.const 65536))
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (memory.fill (i32.const 0) (i32.const 0) (i32.const 128))
    (call $read (local.get $sample) (i32.const 32))
    (local.set $what (i32.load8_u (i32.load (i32.const 32))))
    (memory.fill (i32.const 32) (i32.const 0) (i32.const 16))

    ;; L: a loop without end.
    (if (i32.eq (local.get $what) (i32.const 76)) (then (loop $again (br $again))))
    ;; R: a recursion without end.
    (if (i32.eq (local.get $what) (i32.const 82)) (then (drop (call $deep (i32.const 0)))))
    ;; M: memory without end.
    (if (i32.eq (local.get $what) (i32.const 77))
      (then
        (loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
        unreachable))
    ;; T: table elements without end.
    (if (i32.eq (local.get $what) (i32.const 84))
      (then
        (loop $more
          (br_if $more (i32.ne (table.grow $table (ref.null func) (i32.const 1000)) (i32.const -1))))
        unreachable))
    ;; C: it counts a thousand calls, and traps half-way.
    (if (i32.eq (local.get $what) (i32.const 67))
      (then
        (global.set $calls (i32.add (global.get $calls) (i32.const 1000)))
        unreachable))
    ;; K: the host gets bad addresses for what it hands over.
    (if (i32.eq (local.get $what) (i32.const 75))
      (then
        (global.set $bad_realloc (i32.const 1))
        (call $source (local.get $sample) (i32.const 32))))
    ;; F: a handle that it never got.
    (if (i32.eq (local.get $what) (i32.const 70)) (then (call $source (i32.const 1234) (i32.const 32))))
    ;; W: a tensor where a sample should be.
    (if (i32.eq (local.get $what) (i32.const 87))
      (then
        (drop (call $leak))
        (call $source (i32.load (i32.const 36)) (i32.const 32))))
    ;; H: tensors without end.
    (if (i32.eq (local.get $what) (i32.const 72))
      (then
        (loop $more (br_if $more (call $leak)))
        (call $drop (local.get $sample))
        (return (i32.const 0))))
    ;; B: the sample's handle is kept beyond the call.
    (if (i32.eq (local.get $what) (i32.const 66)) (then (return (i32.const 0))))

    (call $drop (local.get $sample))
    ;; U: it is used after that.
    (if (i32.eq (local.get $what) (i32.const 85)) (then (call $source (local.get $sample) (i32.const 32))))
    ;; D: it is dropped once more.
    (if (i32.eq (local.get $what) (i32.const 68)) (then (call $drop (local.get $sample))))
    ;; h: one tensor a call is never dropped.
    (if (i32.eq (local.get $what) (i32.const 104))
      (then (if (i32.eqz (call $leak)) (then (return (i32.const 0))))))
    ;; S: five thousand lines in the log.
    (if (i32.eq (local.get $what) (i32.const 83))
      (then
        (loop $more
          (call $log (i32.const 3) (i32.const 1032) (i32.const 37))
          (local.set $n (i32.add (local.get $n) (i32.const 1)))
          (br_if $more (i32.lt_u (local.get $n) (i32.const 5000))))))
    ;; P: it traps when the host has taken the result.
    (if (i32.eq (local.get $what) (i32.const 80)) (then (global.set $trap_after (i32.const 1))))

    ;; G: two GiB that it does not have.
    (if (i32.eq (local.get $what) (i32.const 71))
      (then
        (call $custom (i32.const 1024) (i32.const 0x7fffffff))
        (return (i32.const 0))))
    ;; O: sixteen MiB that it has.
    (if (i32.eq (local.get $what) (i32.const 79))
      (then
        (call $pages (i32.const 272))
        (call $custom (i32.const 65536) (i32.const 0x1000000))
        (return (i32.const 0))))
    ;; A: ten thousand classes, all with the same MiB as their label.
    (if (i32.eq (local.get $what) (i32.const 65))
      (then
        (call $pages (i32.const 24))
        (loop $more
          (i32.store offset=0x120000 (i32.mul (local.get $n) (i32.const 16)) (i32.const 65536))
          (i32.store offset=0x120004 (i32.mul (local.get $n) (i32.const 16)) (i32.const 0x100000))
          (local.set $n (i32.add (local.get $n) (i32.const 1)))
          (br_if $more (i32.lt_u (local.get $n) (i32.const 10000))))
        (call $list (i32.const 0) (i32.const 0x120000) (i32.const 10000))
        (return (i32.const 0))))
    ;; Y: a million classes without labels.
    (if (i32.eq (local.get $what) (i32.const 89))
      (then
        (call $pages (i32.const 272))
        (call $list (i32.const 0) (i32.const 65536) (i32.const 1000000))
        (return (i32.const 0))))
    ;; E: a label that is no text.
    (if (i32.eq (local.get $what) (i32.const 69))
      (then
        (i32.store (i32.const 64) (i32.const 1104))
        (i32.store (i32.const 68) (i32.const 3))
        (call $list (i32.const 0) (i32.const 64) (i32.const 1))
        (return (i32.const 0))))
    ;; V: a result that is neither.
    (if (i32.eq (local.get $what) (i32.const 86))
      (then
        (i32.store8 (i32.const 0) (i32.const 7))
        (return (i32.const 0))))
    ;; I: a result at an address that none can have.
    (if (i32.eq (local.get $what) (i32.const 73)) (then (return (i32.const 3))))
    ;; X: a result beyond the memory.
    (if (i32.eq (local.get $what) (i32.const 88)) (then (return (i32.const 0xfffffffc))))

    (i32.store (i32.const 64) (i32.const 1024))
    (i32.store (i32.const 68) (i32.const 5))
    (f64.store (i32.const 72) (f64.convert_i32_u (global.get $calls)))
    ;; N: it is no number.
    (if (i32.eq (local.get $what) (i32.const 78)) (then (f64.store (i32.const 72) (f64.const nan))))
    (call $list (i32.const 4) (i32.const 64) (i32.const 1))
    (i32.const 0)))
