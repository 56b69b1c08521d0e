//! The books of the month: what was accepted, and how each day went.

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use hotshoe_base::disk::Faults;

use super::{CHILD, Told, run};

/// What is known of the month.
#[derive(Default)]
pub(super) struct Books {
    /// The numbers of accepted records, by source and sequence.
    pub(super) accepted: BTreeMap<(usize, u64), u64>,
    pub(super) starts: u64,
    pub(super) cuts: u64,
    pub(super) kills: u64,
    /// Of each day the bytes that were written, those of accepted payloads, and the starts.
    pub(super) days: Vec<(u64, u64, u64)>,
}

impl Books {
    pub(super) fn day(&mut self) -> &mut (u64, u64, u64) {
        self.days.last_mut().unwrap()
    }

    /// Runs in this process; returns the hour at which it ended.
    pub(super) fn run(
        &mut self,
        folder: &Path,
        faults: &Faults,
        (hour, end): (u64, u64),
        may_refuse: bool,
    ) -> u64 {
        self.starts += 1;
        let (mut written, mut accepted) = ((0, 0), Vec::new());
        let place = (hour, end, self.starts);
        let ended = run(folder, faults, place, may_refuse, &mut |told| match told {
            Told::Accepted(source, sequence, number) => accepted.push(((source, sequence), number)),
            Told::Hour(bytes, payload) => written = (bytes, payload),
        });
        self.accepted.extend(accepted);
        self.add(written);
        ended
    }

    fn add(&mut self, (bytes, payload): (u64, u64)) {
        let day = self.day();
        day.0 += bytes;
        day.1 += payload;
        day.2 += 1;
    }

    /// Cuts the power once in each start of a day, each time one step of the disk later.
    pub(super) fn day_of_cuts(&mut self, folder: &Path, mut hour: u64, end: u64) {
        while hour < end {
            let cut = Faults::after(self.cuts);
            hour = self.run(folder, &cut, (hour, end), false);
            self.cuts += u64::from(hour < end);
        }
    }

    /// Kills a process in a day, again and again.
    pub(super) fn day_of_kills(&mut self, folder: &Path, mut hour: u64, end: u64) {
        while hour < end {
            self.starts += 1;
            let values = [
                folder.display().to_string(),
                hour.to_string(),
                end.to_string(),
                self.starts.to_string(),
            ];
            let mut child = Command::new(env::current_exe().unwrap())
                .envs(CHILD.into_iter().zip(values))
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            // From none to those of five hours. What comes after the kill was said before it.
            let before_the_kill = usize::try_from(self.starts * 37 % 110).unwrap();
            let mut said: Vec<String> = Vec::new();
            while said.len() < before_the_kill
                && let Some(line) = lines.next()
            {
                said.push(line.unwrap());
            }
            child.kill().unwrap();
            let ended = child.wait().unwrap();
            said.extend(lines.map_while(Result::ok));
            // It may have reached the end of the day before.
            self.kills += u64::from(ended.code().is_none());
            let mut written = (0, 0);
            for line in &said {
                let words: Vec<u64> = line
                    .split(' ')
                    .filter_map(|word| word.parse().ok())
                    .collect();
                match words[..] {
                    [source, sequence, number] => {
                        let source = usize::try_from(source).unwrap();
                        self.accepted.insert((source, sequence), number);
                    }
                    [bytes, payload] => {
                        written = (bytes, payload);
                        hour += 1;
                    }
                    // The line was not finished.
                    _ => {}
                }
            }
            self.add(written);
            // The rest of the hour in which it was killed.
            hour += 1;
        }
    }

    /// Fills the disk for some hours of a day.
    pub(super) fn day_of_a_full_disk(&mut self, folder: &Path, hour: u64, end: u64) {
        let faults = Faults::full_after(8);
        let later = hour + (end - hour) / 4;
        self.run(folder, &faults, (hour, later), true);
        self.run(folder, &Faults::never(), (later, end), false);
    }
}
