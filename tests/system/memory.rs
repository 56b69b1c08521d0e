//! Little address space and little memory: the same results and the same limits, in the mode of memories that fits.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use hotshoe_tests::{Need, skip};
use serde_json::Value;

use crate::hostile::made::{self, STAGE};
use crate::hostile::{LIMITS, MISDEEDS, each_costs_one_sample_of, fault};
use crate::support::{Device, Workspace, environment, json_lines, limited, success};

/// 512 GiB: what boards have whose addresses have 39 bits.
const BITS_39: &str = "ulimit -v 536870912";
const GIB_48: &str = "ulimit -v 50331648";
/// Too little for any pool.
const GIB_8: &str = "ulimit -v 8388608";
/// 256 MiB that are written to.
const DATA: &str = "ulimit -d 262144";

/// Runs `hotshoe` under these limits; it must succeed.
fn under(limit: &str, arguments: &[&str]) -> Output {
    let output = limited(limit)
        .args(arguments)
        .env_remove("RUST_LOG")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{limit}: {said}");
    output
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// A small release: a stage that asks a model by `wasi:nn` which way up a line of text is.
fn classic(workspace: &Workspace) -> PathBuf {
    let here = environment().root.join("examples/wasi-nn-classic");
    let root = environment().root.display();
    let recipe = fs::read_to_string(here.join("release.toml"))
        .unwrap()
        // The first run of a model makes its plan, which a busy machine takes long for.
        .replace("models = [", "limits = { deadline-ms = 60000 }\nmodels = [")
        .replace("\"../../target", &format!("\"{root}/target"))
        .replace(
            "\"upright.ppm",
            &format!("\"{}/upright.ppm", here.display()),
        )
        .replace("\"turned.ppm", &format!("\"{}/turned.ppm", here.display()))
        .replace("\"expected/", &format!("\"{}/expected/", here.display()));
    workspace.release(&recipe)
}

/// Two pictures, and what ONNX Runtime finds in them.
fn pictures() -> [(PathBuf, &'static str); 2] {
    let here = environment().root.join("examples/wasi-nn-classic");
    ["upright", "turned"].map(|name| {
        let found = if name == "upright" { "0" } else { "180" };
        (here.join(name).with_extension("ppm"), found)
    })
}

/// A device of one worker, so that the pool's size does not depend on the machine. Nothing is installed.
fn device(workspace: &Workspace, name: &str) -> Device {
    let endpoint = crate::support::free_endpoint();
    let config = workspace.path(&format!("{name}.toml"));
    let text = format!(
        "site = \"lab\"\ndevice = \"{name}\"\ndata = \"{name}-data\"\ntrust = \"trust.toml\"\n[zenoh]\nlisten = [\"{endpoint}\"]\n[workers]\nthreads = 1\n[inference]\nbackend = \"tract\"\n[governor]\nenabled = false\n"
    );
    fs::write(&config, text).unwrap();
    Device {
        name: name.to_owned(),
        config,
    }
}

fn best(insight: &Value) -> &str {
    insight["classes"][0]["label"].as_str().expect("a label")
}

/// `doctor`, `install`, `exec` and `run` under these limits, with right answers, in this mode.
fn serves(limit: &str, mode: &str) {
    let workspace = Workspace::new();
    let release = classic(&workspace);
    let device = device(&workspace, "a");
    let config = text(&device.config);
    let doctor = under(limit, &["doctor", "--json", "--config", &config]);
    let doctor: Value = serde_json::from_slice(&doctor.stdout).unwrap();
    assert_eq!(doctor["can_serve"], true, "{doctor:#}");
    assert_eq!(doctor["memory"]["mode"], mode, "{doctor:#}");

    let release = text(&release);
    under(limit, &["install", &release, "--config", &config]);
    for (picture, expected) in pictures() {
        let output = under(
            limit,
            &["exec", &release, &text(&picture), "--config", &config],
        );
        let answer = json_lines(&String::from_utf8(output.stdout).unwrap()).remove(0);
        assert_eq!(best(&answer["insight"]), expected, "{limit}: {answer:#}");
    }

    let daemon = device.run_after(limit);
    for (picture, expected) in pictures() {
        let fed = daemon.feed(&[("picture", fs::read(picture).unwrap())]);
        let answer = fed[0].result.as_ref().unwrap();
        assert_eq!(best(&answer["insight"]), expected, "{limit}: {answer:#}");
    }
    let memory = daemon.status().memory.unwrap();
    assert_eq!(memory.mode, mode, "{memory:?}");
    assert_eq!(
        memory.reason, doctor["memory"]["reason"],
        "the doctor says the same"
    );
    assert!(!daemon.log().contains("compiled code is not used"));
    assert!(daemon.stop().success());
}

#[test]
fn it_serves_with_addresses_of_39_bits() {
    serves(BITS_39, "compact");
}

#[test]
fn it_serves_with_48_gib_of_addresses() {
    serves(GIB_48, "compact");
}

#[test]
fn it_serves_with_256_mib_of_data() {
    serves(DATA, "on-demand");
}

/// A control group below that of this process; it goes when it is dropped.
struct Group(PathBuf);

impl Group {
    /// Of 256 MiB. None where this process may make none with a memory limit: root may, of version 1.
    fn new() -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let (_, path) = own.lines().find_map(|it| it.split_once(":memory:"))?;
        let name = format!("hotshoe-{}", std::process::id());
        let parent = Path::new("/sys/fs/cgroup/memory").join(path.trim_start_matches('/'));
        let group = Self(parent.join(name));
        fs::create_dir(&group.0).ok()?;
        fs::write(group.0.join("memory.limit_in_bytes"), "268435456").ok()?;
        Some(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn it_serves_in_a_control_group_of_256_mib() {
    let Some(group) = Group::new() else {
        let reason = "this process may make no control group with a memory limit";
        return skip(Need::ControlGroup, reason);
    };
    let enter = format!("echo $$ > {}/cgroup.procs", group.0.display());
    serves(&enter, "guard");
}

#[test]
fn it_says_what_it_holds_at_rest_and_why_its_memories_are_as_they_are() {
    let workspace = Workspace::new();
    let release = text(&classic(&workspace));
    let device = device(&workspace, "a");
    let config = text(&device.config);
    success(["install", &release, "--config", &config]);
    let daemon = device.run();
    let (picture, _) = &pictures()[0];
    assert!(
        daemon.feed(&[("1", fs::read(picture).unwrap())])[0]
            .result
            .is_ok()
    );
    let memory = daemon.status().memory.unwrap();
    // How large the program is depends on how it is built; what it holds besides does not.
    let own = memory.resident_mib.unwrap() - memory.resident_file_mib.unwrap();
    assert!((1..=OWN_MIB).contains(&own), "{own} MiB");
    assert!(memory.peak_resident_mib >= memory.resident_mib);
    let said = success(["status", "--config", &config]);
    assert!(
        said.contains(&format!("components: {}", memory.mode)),
        "{said}"
    );
    assert!(said.contains(&memory.reason), "{said}");
}

/// The most that a daemon with a small release may hold at rest, besides the program.
const OWN_MIB: u64 = 20;

#[test]
fn what_a_guest_may_not_do_is_the_same_in_each_mode() {
    let workspace = Workspace::new();
    let recipe = made::recipe(&workspace, &made::component(STAGE), LIMITS);
    let release = text(&workspace.release(&recipe));
    for (limit, mode) in [(GIB_48, "compact"), (GIB_8, "on-demand")] {
        let device = device(&workspace, mode);
        under(
            limit,
            &["install", &release, "--config", &text(&device.config)],
        );
        let daemon = device.run_after(limit);
        assert_eq!(daemon.status().memory.unwrap().mode, mode);
        each_costs_one_sample_of(daemon, &MISDEEDS);
    }
}

/// The stage that grows its memory to 200 MiB, in steps, on a sample that begins with `z`. What was written before must be there still, and
/// the new end must be.
fn growing() -> Vec<u8> {
    const STEP: &str = "
    (if (i32.eq (local.get $what) (i32.const 122))
      (then
        (i32.store (i32.const 131064) (i32.const 12345))
        (loop $more
          (if (i32.eq (memory.grow (i32.const 128)) (i32.const -1)) (then unreachable))
          (i32.store8 (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 1)) (i32.const 1))
          (br_if $more (i32.lt_u (memory.size) (i32.const 3200))))
        (if (i32.ne (i32.load (i32.const 131064)) (i32.const 12345)) (then unreachable))))
    ;; L: a loop without end.";
    made::component(&STAGE.replacen("\n    ;; L: a loop without end.", STEP, 1))
}

#[test]
fn a_component_may_have_more_memory_than_a_mode_reserves_for_it() {
    let workspace = Workspace::new();
    let stage = growing();
    let release = |mib: u32| {
        let limits = format!("limits = {{ memory-mib = {mib}, deadline-ms = 60000 }}");
        let recipe = made::recipe(&workspace, &stage, &limits);
        let from = workspace.release(&recipe);
        let to = workspace.path(&format!("release-{mib}"));
        fs::rename(from, &to).unwrap();
        text(&to)
    };
    let (enough, too_little) = (release(256), release(150));
    for (limit, mode) in [("", "guard"), (GIB_48, "compact"), (GIB_8, "on-demand")] {
        for (release, expected) in [(&enough, "none"), (&too_little, "memory")] {
            let device = device(&workspace, &format!("{mode}-{expected}"));
            under(
                limit,
                &["install", release, "--config", &text(&device.config)],
            );
            let daemon = device.run_after(limit);
            assert_eq!(daemon.status().memory.unwrap().mode, mode);
            let (found, message) = fault(&daemon, "z: it grows");
            assert_eq!(found, expected, "{mode}: {message}");
            if expected == "memory" {
                assert!(message.contains("memory-mib of 150 MiB"), "{message}");
            }
        }
    }
    // Within its limit, but not within the machine's.
    let device = device(&workspace, "data");
    under(
        DATA,
        &["install", &enough, "--config", &text(&device.config)],
    );
    let daemon = device.run_after(DATA);
    let (found, message) = fault(&daemon, "z: it grows");
    assert_eq!(found, "memory", "{message}");
    assert!(
        message.contains("this machine is out of memory"),
        "{message}"
    );
    assert_eq!(fault(&daemon, "good").0, "none");
}

#[test]
fn code_that_was_compiled_in_one_mode_is_not_loaded_in_another() {
    let workspace = Workspace::new();
    let release = text(&classic(&workspace));
    let device = device(&workspace, "a");
    let config = text(&device.config);
    let code = || -> Vec<PathBuf> {
        let entries = fs::read_dir(workspace.path("a-data/aot")).unwrap();
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    };
    success(["install", &release, "--config", &config]);
    let of_guard = code();
    assert_eq!(of_guard.len(), 1);
    for limit in [GIB_48, GIB_8, ""] {
        let daemon = device.run_after(limit);
        let (picture, expected) = &pictures()[0];
        let fed = daemon.feed(&[("1", fs::read(picture).unwrap())]);
        assert_eq!(best(&fed[0].result.as_ref().unwrap()["insight"]), *expected);
        assert!(!daemon.log().contains("compiled code is not used"));
        assert!(daemon.stop().success());
    }
    let of_all = code();
    assert_eq!(of_all.len(), 3, "{of_all:?}");
    assert!(of_guard.iter().all(|file| of_all.contains(file)));
}

#[test]
fn where_nothing_fits_the_cause_and_the_way_out_are_named() {
    let workspace = Workspace::new();
    let release = text(&classic(&workspace));
    let device = device(&workspace, "a");
    let config = text(&device.config);
    let (picture, _) = &pictures()[0];
    let picture = text(picture);
    for (limit, cause, way_out) in [
        (NO_DATA, "RLIMIT_DATA is", "ulimit -d"),
        (NO_ADDRESSES, "RLIMIT_AS is", "ulimit -v"),
    ] {
        let arguments: [&[&str]; 4] = [
            &["doctor", "--json", "--config", &config],
            &["run", "--json", "--config", &config],
            &["install", &release, "--json", "--config", &config],
            &["exec", &release, &picture, "--json", "--config", &config],
        ];
        for arguments in arguments {
            let output = limited(limit).args(arguments).output().unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            let command = arguments[0];
            assert_eq!(output.status.code(), Some(1), "{command}: {said}");
            assert!(
                said.contains("too little address space or memory for components")
                    && said.contains(cause),
                "{command}: {said}"
            );
            assert!(said.contains(way_out), "{command}: {said}");
            assert!(!said.contains("fewer workers"), "{command}: {said}");
        }
    }
}

/// Less than a daemon needs with one instance, though the process itself starts.
const NO_DATA: &str = "ulimit -d 49152";
const NO_ADDRESSES: &str = "ulimit -v 524288";
