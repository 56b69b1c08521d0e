#![allow(clippy::all, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]
use hotshoe_infer::*; use hotshoe_trust::Digest; use std::time::Instant;
use tract_onnx::prelude::*;
fn ms(t: Instant) -> f64 { t.elapsed().as_secs_f64() * 1e3 }
fn rss() -> u64 { std::fs::read_to_string("/proc/self/statm").unwrap().split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096 / (1 << 20) }
fn main() {
    let models = Models::default();
    for (name, shapes) in [("classify-angle", vec![[1usize, 3, 48, 192],[6,3,48,192]]), ("recognise", vec![[1, 3, 48, 320], [6, 3, 48, 320],[1,3,48,480]]), ("detect", vec![[1, 3, 736, 736]])] {
        let bytes = std::fs::read(format!("target/fixtures/models/{name}.onnx")).unwrap();
        let t = Instant::now(); let d = Digest::of(&bytes); let hash = ms(t);
        let t = Instant::now(); let m = models.load(d, &bytes).unwrap(); println!("{name}: hash {hash:.1} load {:.1} ms", ms(t));
        for shape in &shapes {
            let t = Instant::now(); m.prepare(&[("x", &shape[..])]).unwrap(); let plan = ms(t);
            let n: usize = shape.iter().product();
            let x = hotshoe_infer::Tensor::from_f32(shape, (0..n).map(|i| (i % 101) as f32 / 50.0 - 1.0).collect()).unwrap();
            let mut times: Vec<f64> = (0..if name=="detect" {5} else {15}).map(|_| { let t = Instant::now(); m.run(&[("x", &x)]).unwrap(); ms(t) }).collect();
            times.sort_by(f64::total_cmp);
            println!("{name} {shape:?} plan {plan:.1} ms, run median {:.2} min {:.2} rss {} MiB", times[times.len() / 2], times[0], rss());
        }
        // variant: symbolic typed once, then concretise
        let t = Instant::now();
        let mut im = tract_onnx::onnx().with_ignore_value_info(true).model_for_read(&mut &bytes[..]).unwrap();
        let (b, h, w) = (im.symbols.sym("B"), im.symbols.sym("H"), im.symbols.sym("W"));
        let hd: TDim = if name == "detect" { h.clone().into() } else { 48.to_dim() };
        im.set_input_fact(0, InferenceFact::dt_shape(f32::datum_type(), tvec![b.clone().into(), 3.to_dim(), hd, w.clone().into()])).unwrap();
        match im.into_typed().and_then(|m| m.into_decluttered()) {
            Err(e) => println!("  symbolic: typed failed: {:.300}", format!("{e:?}")),
            Ok(typed) => {
                println!("  symbolic: typed+declutter {:.1} ms", ms(t));
                for shape in &shapes {
                    let t = Instant::now();
                    let subs = std::collections::HashMap::from([(b.clone(), shape[0].to_dim()), (h.clone(), shape[2].to_dim()), (w.clone(), shape[3].to_dim())]);
                    let p = typed.set_symbols(&subs).and_then(|m| m.into_optimized()).and_then(|m| m.into_runnable());
                    let p = match p { Ok(p) => p, Err(e) => { println!("  concretise failed {:.300}", format!("{e:?}")); continue } };
                    let plan = ms(t);
                    let n: usize = shape.iter().product();
                    let x: TValue = tract_onnx::prelude::Tensor::from_shape(shape, &(0..n).map(|i| (i % 101) as f32 / 50.0 - 1.0).collect::<Vec<f32>>()).unwrap().into();
                    let mut times: Vec<f64> = (0..if name=="detect" {5} else {15}).map(|_| { let t = Instant::now(); p.run(tvec![x.clone()]).unwrap(); ms(t) }).collect();
                    times.sort_by(f64::total_cmp);
                    println!("  concretised {shape:?} plan {plan:.1} run {:.2} min {:.2}", times[times.len() / 2], times[0]);
                }
                let t = Instant::now();
                match typed.into_optimized().and_then(|m| m.into_runnable()) {
                    Err(e) => println!("  symbolic optimise failed {:.300}", format!("{e:?}")),
                    Ok(p) => { println!("  symbolic plan {:.1}", ms(t));
                        for shape in &shapes {
                            let n: usize = shape.iter().product();
                            let x: TValue = tract_onnx::prelude::Tensor::from_shape(shape, &(0..n).map(|i| (i % 101) as f32 / 50.0 - 1.0).collect::<Vec<f32>>()).unwrap().into();
                            let mut times: Vec<f64> = vec![];
                            for _ in 0..(if name=="detect" {5} else {15}) { let t = Instant::now(); match p.run(tvec![x.clone()]) { Ok(_) => times.push(ms(t)), Err(e) => { println!("  sym run failed {:.300}", format!("{e:?}")); break } } }
                            times.sort_by(f64::total_cmp);
                            if !times.is_empty() { println!("  symbolic {shape:?} run {:.2} min {:.2}", times[times.len() / 2], times[0]); }
                        } }
                }
            }
        }
    }
}
