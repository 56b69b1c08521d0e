//! A stage that runs the commands in the sample's payload on files, sockets and its outputs, and returns their results. For tests of the host.
//!
//! A line is a command: `read PATH`, `write PATH`, `list PATH`, `connect HOST:PORT`, `wait HOST:PORT`, `listen ADDRESS`, `datagram ADDRESS`,
//! `open PATH COUNT`, `print COUNT`, `part`, `environment`, `name TEXT`. The insight is one scalar a line, whose name is the outcome.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};

use hotshoe_sdk::prelude::*;

struct Capable;

impl Stage for Capable {
    fn process(sample: &Sample) -> Result<Insight> {
        let payload = sample.read();
        let text = String::from_utf8_lossy(&payload);
        let scalars = text.lines().map(|line| {
            let name = match carry_out(line) {
                Ok(outcome) => outcome,
                Err(error) => format!("failed: {error} ({:?})", error.kind()),
            };
            Scalar {
                name,
                value: 1.0,
                unit: String::new(),
            }
        });
        Ok(Insight::Scalars(scalars.collect()))
    }
}

fn carry_out(line: &str) -> io::Result<String> {
    let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
    match command {
        "read" => fs::read_to_string(rest).map(|text| format!("read {text}")),
        "write" => fs::write(rest, "written by a component").map(|()| "written".to_owned()),
        "list" => list(rest),
        "connect" => {
            let mut stream = TcpStream::connect(rest)?;
            stream.write_all(b"hello")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(format!("answered {answer}"))
        }
        "wait" => {
            let mut bytes = [0];
            TcpStream::connect(rest)?.read_exact(&mut bytes)?;
            Ok("there was something".to_owned())
        }
        "listen" => TcpListener::bind(rest).map(|_| "listening".to_owned()),
        "datagram" => UdpSocket::bind(rest).map(|_| "bound".to_owned()),
        "open" => open(rest),
        "print" => {
            for number in 0..rest.parse().unwrap_or(1) {
                println!("an output line {number}");
                eprintln!("an error line {number}");
            }
            Ok("printed".to_owned())
        }
        "part" => {
            print!("a line without an end");
            io::stdout().flush().map(|()| "printed".to_owned())
        }
        "environment" => Ok(format!(
            "{} variables, {} arguments",
            std::env::vars().count(),
            std::env::args().count()
        )),
        "name" => Ok(rest.to_owned()),
        _ => Ok(format!("no such command: {command}")),
    }
}

fn list(path: &str) -> io::Result<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(format!("holds {}", names.join(", ")))
}

/// Opens a file again and again, and keeps all of it open.
fn open(rest: &str) -> io::Result<String> {
    let (path, count) = rest.split_once(' ').unwrap_or((rest, "1"));
    let files: io::Result<Vec<File>> = (0..count.parse().unwrap_or(1))
        .map(|_| File::open(path))
        .collect();
    files.map(|files| format!("{} files are open", files.len()))
}

hotshoe_sdk::stage!(Capable);
