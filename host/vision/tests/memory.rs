#![allow(
    unsafe_code,
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests; an allocator is unsafe to implement, and this one passes everything on"
)]
//! What operations really allocate, against what their budgets counted. One test, since the allocator counts for all threads.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{OPERATIONS, exif, grey_png, noise, progressive_jpeg, slope, with_chunks};
use hotshoe_vision::{
    Budget, DecodeLimits, DecodeOptions, Fill, Format, Mask, decode, decode_u16, decode_with,
    redact,
};

/// Bytes that need not be counted: lists of a few items, errors, the resizer's own fields.
const SLACK: u64 = 64 << 10;

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn grown(bytes: usize) {
    let held = HELD.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK.fetch_max(held, Ordering::Relaxed);
}

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        grown(size);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes that were held at once beyond those held before, and those that the budget counted.
fn peaks(run: impl FnOnce(&Budget<'_>)) -> (u64, u64) {
    let budget = Budget::unlimited();
    let before = HELD.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    run(&budget);
    let peak = PEAK.load(Ordering::Relaxed) - before;
    (peak as u64, budget.peak_bytes())
}

#[test]
fn no_operation_allocates_more_than_its_budget_counts() {
    let shapes = [
        (1, 1),
        (640, 480),
        (60_000, 1),
        (1, 60_000),
        (60_000, 7),
        (7, 60_000),
        (1, 300_000),
        (300_000, 1),
    ];
    for (width, height) in shapes {
        for image in [slope(width, height), noise(width, height)] {
            for (name, operation) in OPERATIONS {
                let (real, counted) = peaks(|budget| drop(operation(&image, budget)));
                assert!(
                    real <= counted + SLACK,
                    "{name} of {width} x {height}: {real} bytes, {counted} counted"
                );
            }
            let limits = DecodeLimits::default();
            for format in [Format::Png, Format::Jpeg] {
                let Ok(file) = common::encode(&image, format, 80) else {
                    continue; // too long for a JPEG file
                };
                let (real, counted) = peaks(|budget| drop(decode(&file, &limits, budget)));
                assert!(
                    real <= counted + SLACK,
                    "decode {format:?} of {width} x {height}: {real} bytes, {counted} counted"
                );
            }
        }
    }
    let files = [
        ("row", grey_png(2_000_000, 1, 3)),
        ("column", grey_png(1, 100_000, 3)),
        ("rows", grey_png(300_000, 9, 3)),
        ("scans", progressive_jpeg(2000, 1000, 9)),
        ("long scans", progressive_jpeg(60_000, 8, 9)),
    ];
    for (name, file) in files {
        let limits = DecodeLimits::default();
        let (real, counted) = peaks(|budget| drop(decode(&file, &limits, budget)));
        assert!(
            real <= counted + SLACK,
            "decode {name}: {real} bytes, {counted} counted"
        );
    }
    let limits = DecodeLimits::default();
    let turned = common::chunk(b"eXIf", &exif(6, false));
    let depth = vec![1000; 300_000];
    let depth = common::png16(1000, 300, png::ColorType::Grayscale, &depth);
    let (rgb, rgba) = (vec![7; 900_000], vec![7; 1_200_000]);
    let files = [
        ("turned", with_chunks(&grey_png(3000, 200, 3), &turned)),
        ("turned depth", with_chunks(&depth, &turned)),
        (
            "bmp",
            common::bmp(3000, 100, image::ExtendedColorType::Rgb8, &rgb),
        ),
        (
            "bmp with alpha",
            common::bmp(3000, 100, image::ExtendedColorType::Rgba8, &rgba),
        ),
        ("tables", without_tables()),
    ];
    for (name, file) in files {
        let (real, counted) = peaks(|budget| {
            drop(decode_with(&file, &DecodeOptions::default(), &limits, budget).unwrap());
            drop(decode_u16(&file, true, &limits, budget));
        });
        assert!(
            real <= counted + SLACK,
            "decode {name}: {real} bytes, {counted} counted"
        );
        for fill in [Fill::Black, Fill::Blur] {
            let masks = [Mask {
                polygon: vec![[0.1, 0.1], [0.9, 0.2], [0.5, 0.9]],
                fill,
            }];
            let (real, counted) = peaks(|budget| {
                drop(redact(&file, "", &masks, &limits, budget).unwrap());
            });
            assert!(
                real <= counted + SLACK,
                "mask {name} by {fill:?}: {real} bytes, {counted} counted"
            );
        }
    }
}

/// A frame of Motion JPEG that leaves out its Huffman tables.
fn without_tables() -> Vec<u8> {
    let file = common::encode(&noise(640, 480), Format::Jpeg, 90).unwrap();
    common::without_segments(&file, 0xC4)
}
