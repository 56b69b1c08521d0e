//! Pictures of cameras and phones, through a component of `hotshoe:pipeline@0.2.0`.

use std::fs;

use hotshoe_devkit::interface;

use crate::support::{Workspace, environment, json_lines};

/// CRC-32 of ISO 3309, as PNG's section 5.5 has it.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 * (crc & 1))
        })
    })
}

fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let named = [kind, data].concat();
    let length = (data.len() as u32).to_be_bytes();
    [&length[..], &named, &crc32(&named).to_be_bytes()].concat()
}

/// A PNG file with an EXIF orientation, of fewer than 256 bytes of rows, which are not compressed.
fn png(header: [u8; 13], orientation: u8, rows: &[u8]) -> Vec<u8> {
    let (mut a, mut b) = (1_u32, 0_u32);
    for &byte in rows {
        a = (a + u32::from(byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    let length = rows.len() as u8;
    let zlib = [
        &[0x78, 0x01, 1, length, 0, !length, 0xFF],
        rows,
        &(b << 16 | a).to_be_bytes(),
    ];
    let exif = [
        &b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0"[..],
        &[orientation, 0, 0, 0, 0, 0, 0, 0],
    ];
    [
        b"\x89PNG\r\n\x1a\n".to_vec(),
        chunk(b"IHDR", &header),
        chunk(b"eXIf", &exif.concat()),
        chunk(b"IDAT", &zlib.concat()),
        chunk(b"IEND", b""),
    ]
    .concat()
}

/// A release of the one stage.
pub(crate) fn recipe() -> String {
    let component = environment().component("pictures");
    format!(
        "name = \"pictures\"\ngeneration = 1\nexpires-in = \"90d\"\n[components.pictures]\nfile = \"{}\"\nworld = \"stage\"\ngrants = [\"vision\"]\n[[pipeline]]\nstage = \"pictures\"\n",
        component.display()
    )
}

#[test]
fn a_component_of_0_2_0_decodes_as_its_options_say() {
    let workspace = Workspace::new();
    let release = workspace.release(&recipe());
    // 2 x 1 pixels, to be turned by 270 degrees clockwise: black and opaque, then green and transparent.
    let rgba = [0, 0, 0, 0, 255, 0, 255, 0, 0];
    let phone = png([0, 0, 0, 2, 0, 0, 0, 1, 8, 6, 0, 0, 0], 8, &rgba);
    // Millimetres.
    let [near, far] = [800_u16, 1500].map(u16::to_be_bytes);
    let depth = [&[0][..], &near, &far].concat();
    let depth = png([0, 0, 0, 2, 0, 0, 0, 1, 16, 0, 0, 0, 0], 1, &depth);
    let inputs = [("phone.png", phone), ("depth.png", depth)].map(|(name, bytes)| {
        let path = workspace.path(name);
        fs::write(&path, bytes).unwrap();
        path
    });
    let output = workspace.exec(&release, &inputs);
    let results = json_lines(&String::from_utf8(output.stdout).unwrap());
    let lines = |at: usize| -> Vec<String> {
        let classes = results[at]["insight"]["classes"].as_array();
        let classes = classes.unwrap_or_else(|| panic!("{}", results[at]));
        let labels = classes.iter().map(|class| class["label"].as_str().unwrap());
        labels.map(str::to_owned).collect()
    };
    assert_eq!(
        lines(0),
        [
            "default: 1x2 [255, 255, 255]",
            "stored: 2x1 [0, 0, 0]",
            "on red: 1x2 [255, 0, 0]",
            "bytes: 1x2 [255, 255, 255]",
            "u16: unsupported",
            "letterbox: 8x8 [7, 7, 7] at 2,0 4x8",
            "grey: 1x2 [255, 255, 255]",
        ]
    );
    let depth = lines(1);
    assert_eq!(depth[0], "default: 2x1 [3, 3, 3]");
    assert_eq!(depth[4], "u16: [1, 2, 1] [800.0, 1500.0]");
}

#[test]
fn its_imports_and_export_are_those_of_0_2_0() {
    let component = fs::read(environment().component("pictures")).unwrap();
    let names = interface(&component).unwrap();
    assert_eq!(names.exports, ["hotshoe:pipeline/process@0.2.0"]);
    for import in names.imports {
        assert!(import.ends_with("@0.2.0"), "{import}");
    }
}
