//! Clearing the processor's vector registers before guest code runs.

/// Clears the upper halves of the vector registers. The models' kernels leave them in use, and on such a thread each step
/// between the AVX and the SSE instructions that Cranelift mixes costs some hundred cycles (Intel, "Optimization Reference
/// Manual", "Mixing AVX code with SSE code"): a guest's loop over a model's output took 25 times as long. Call it before a
/// guest runs after a model.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
pub(crate) fn tidy() {
    #[target_feature(enable = "avx")]
    fn zero_upper() {
        std::arch::x86_64::_mm256_zeroupper();
    }
    if std::arch::is_x86_feature_detected!("avx") {
        // SAFETY: the processor has AVX, which is all that the function needs; no caller keeps values in vector registers
        // across a call (System V ABI), and on Windows those that it keeps are lower halves.
        unsafe { zero_upper() }
    }
}

/// Other processors do not have such halves.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) const fn tidy() {}
