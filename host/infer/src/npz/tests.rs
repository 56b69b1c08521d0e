#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]
use proptest::prelude::*;

use super::*;

fn some() -> Vec<(String, Tensor)> {
    vec![
        (
            "x".to_owned(),
            Tensor::from_f32(&[2, 3], vec![0.5; 6]).unwrap(),
        ),
        (
            "line".to_owned(),
            Tensor::from_u8(&[3], vec![1, 2, 3]).unwrap(),
        ),
        (
            "sr".to_owned(),
            Tensor::from_i64(&[], vec![16_000]).unwrap(),
        ),
    ]
}

fn array(tensor: &Tensor) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_array(tensor, &mut bytes).unwrap();
    bytes
}

/// An archive of members that are what they are.
fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for (name, bytes) in members {
        archive.start_file(*name, options).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fn with_header(header: &str, elements: &[u8]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(elements);
    bytes
}

fn assert_same(read: &[(String, Tensor)], written: &[(String, Tensor)]) {
    assert_eq!(read.len(), written.len());
    for ((name, tensor), (read_name, read)) in written.iter().zip(read) {
        assert_eq!(name, read_name);
        assert_eq!(tensor.shape(), read.shape());
        assert_eq!(tensor.element_type(), read.element_type());
        assert_eq!(tensor.bytes(), read.bytes());
    }
}

#[test]
fn what_is_written_is_read_again_and_is_always_the_same() {
    let bytes = to_bytes(&some()).unwrap();
    assert_same(&read(&bytes, Limits::SAMPLE).unwrap(), &some());
    assert_eq!(bytes, to_bytes(&some()).unwrap());
}

#[test]
fn what_cannot_be_read_says_why() {
    let whole = array(&Tensor::from_f32(&[2], vec![1.0; 2]).unwrap());
    for cut in [0, 3, 8, 20, whole.len() - 1] {
        let refused = read_array(&whole[..cut]).unwrap_err();
        let is_cut = matches!(refused, NpzError::Array | NpzError::Tensor(_));
        assert!(is_cut, "{cut}: {refused}");
    }
    let with = |header: &str| read_array(&with_header(header, &[0; 16])).unwrap_err();
    let elements = |descr: &str| {
        let header = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': (4,), }}");
        match with(&header) {
            NpzError::Elements { found } => found,
            other => panic!("{other}"),
        }
    };
    assert_eq!(elements("'>f4'"), ">f4");
    // What Python would unpickle.
    assert_eq!(elements("'|O'"), "|O");
    assert_eq!(elements("[('a', '<f4')]"), "a structure");
    let turned = with("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2), }");
    assert!(matches!(turned, NpzError::Fortran), "{turned}");
    let row = "{'descr': '<f4', 'fortran_order': True, 'shape': (4,), }";
    assert_eq!(
        read_array(&with_header(row, &[0; 16])).unwrap().shape(),
        [4]
    );
    for wrong in [
        "{'descr': '<f4', 'fortran_order': 1, 'shape': (4,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-4,), }",
        "{'descr': '<f4', 'fortran_order': False, }",
        "{}",
    ] {
        assert!(matches!(with(wrong), NpzError::Array), "{wrong}");
    }
    // More elements than there can be bytes.
    let vast =
        "{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296, 4294967296), }";
    assert!(matches!(with(vast), NpzError::Tensor(_)));
}

#[test]
fn what_inflates_past_the_limit_is_refused() {
    let zeros = array(&Tensor::from_u8(&[1 << 20], vec![0; 1 << 20]).unwrap());
    let bomb = archive(&[("a.npy", &zeros), ("b.npy", &zeros)]);
    assert!(bomb.len() < 8_192, "{}", bomb.len());
    let limits = |bytes| Limits { arrays: 4, bytes };
    assert_eq!(read(&bomb, limits(3 << 20)).unwrap().len(), 2);
    for least in [0, 1 << 10, 1 << 20, 2 << 20] {
        let refused = read(&bomb, limits(least)).unwrap_err();
        assert!(matches!(refused, NpzError::Bytes { .. }), "{refused}");
    }
    // The same where the archive lies about it: each size that it states is made small.
    let size = u32::try_from(zeros.len()).unwrap().to_le_bytes();
    let mut liar = bomb;
    for at in 0..liar.len() - 4 {
        if liar[at..at + 4] == size {
            liar[at..at + 4].copy_from_slice(&100_u32.to_le_bytes());
        }
    }
    let refused = read(&liar, limits(1 << 20)).unwrap_err();
    assert!(matches!(refused, NpzError::Bytes { .. }), "{refused}");
}

#[test]
fn too_many_members_two_of_one_name_and_other_files() {
    let one = array(&Tensor::from_u8(&[1], vec![1]).unwrap());
    let names: Vec<String> = (0..1_025).map(|number| format!("{number}.npy")).collect();
    let many: Vec<(&str, &[u8])> = names
        .iter()
        .map(|it| (it.as_str(), one.as_slice()))
        .collect();
    let refused = read(&archive(&many), Limits::SAMPLE).unwrap_err();
    assert!(
        matches!(
            refused,
            NpzError::Arrays {
                count: 1_025,
                most: 1_024
            }
        ),
        "{refused}"
    );
    let other = archive(&[("readme.txt", b"hello"), ("../x.npy", &one)]);
    let read_names: Vec<String> = read(&other, Limits::SAMPLE)
        .unwrap()
        .into_iter()
        .map(|it| it.0)
        .collect();
    assert_eq!(read_names, ["../x"]);
    // No writer makes two members of one name, so one is renamed afterwards, in both of its places.
    let mut twice = archive(&[("a.npy", &one), ("b.npy", &one)]);
    for at in 0..twice.len() - 5 {
        if &twice[at..at + 5] == b"b.npy" {
            twice[at] = b'a';
        }
    }
    // The archive's own index knows one of them; which, is not said.
    assert!(read(&twice, Limits::SAMPLE).map_or(true, |it| it.len() == 1));
}

fn names(arrays: &[(String, Tensor)]) -> Vec<&str> {
    arrays.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn two_arrays_of_one_name_are_not_written() {
    let one = || ("y".to_owned(), Tensor::from_u8(&[1], vec![1]).unwrap());
    let refused = to_bytes(&[one(), one()]).unwrap_err();
    assert!(
        matches!(&refused, NpzError::Twice { name } if name == "y"),
        "{refused}"
    );
}

#[test]
fn a_tensor_called_sample_is_not_the_sample() {
    let tensor = |name: &str| {
        let tensor = Tensor::from_f32(&[1, 2], vec![1.0, 2.0]).unwrap();
        (name.to_owned(), tensor)
    };
    // Without a clash, the names are those of every earlier version.
    let plain = with_sample(vec![tensor("x")], b"page", "image/png").unwrap();
    assert_eq!(names(&plain), ["x", SAMPLE, SAMPLE_TYPE]);
    let parts = split(plain.clone(), |_, _| false);
    assert_eq!(names(&parts.tensors), ["x"]);
    assert_eq!(parts.payload.unwrap().bytes(), b"page");
    assert_eq!(parts.content_type.unwrap().bytes(), b"image/png");
    assert_eq!(names(&without_sample(plain)), ["x"]);

    let marked = with_sample(vec![tensor(SAMPLE), tensor("x")], b"page", "image/png").unwrap();
    assert_eq!(names(&marked), [SAMPLE, "x", "@sample", "@content-type"]);
    let read = read(&to_bytes(&marked).unwrap(), Limits::SAMPLE).unwrap();
    let parts = split(read.clone(), |_, _| false);
    assert_eq!(names(&parts.tensors), [SAMPLE, "x"]);
    assert_eq!(parts.payload.unwrap().bytes(), b"page");
    assert_eq!(names(&without_sample(read)), [SAMPLE, "x"]);

    // The caller knows that it is a tensor, or its type says so.
    let given = || vec![tensor(SAMPLE), tensor(SAMPLE_TYPE)];
    let parts = split(given(), |name, _| name == SAMPLE);
    assert_eq!(names(&parts.tensors), [SAMPLE]);
    assert!(parts.payload.is_none() && parts.content_type.is_some());
    assert_eq!(names(&without_sample(given())), [SAMPLE, SAMPLE_TYPE]);
}

#[test]
fn narrow_integers_become_wider_ones() {
    let array = |descr: &str, elements: &[u8]| {
        let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (2,), }}");
        read_array(&with_header(&header, elements))
    };
    let read = |descr: &str, elements: &[u8]| {
        let tensor = array(descr, elements).unwrap();
        (tensor.element_type(), tensor.numbers().collect::<Vec<_>>())
    };
    assert_eq!(
        read("<u2", &[0xff, 0xff, 1, 0]),
        (ElementType::I32, vec![65_535.0, 1.0])
    );
    assert_eq!(
        read("<i2", &[0xff, 0xff, 1, 0]),
        (ElementType::I32, vec![-1.0, 1.0])
    );
    assert_eq!(
        read("<u4", &[0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0]),
        (ElementType::I64, vec![4_294_967_295.0, 1.0])
    );
    assert!(matches!(array("<u2", &[1, 0, 2]), Err(NpzError::Array)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tensor_comes_back(shape in prop::collection::vec(0_usize..5, 0..5), seed in any::<u8>()) {
        let count = shape.iter().product::<usize>();
        let bytes: Vec<u8> = (0..count).map(|at| (at as u8).wrapping_mul(seed)).collect();
        let tensors = vec![("t".to_owned(), Tensor::from_u8(&shape, bytes).unwrap())];
        assert_same(&read(&to_bytes(&tensors).unwrap(), Limits::SAMPLE).unwrap(), &tensors);
    }

    #[test]
    fn nothing_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = read(&bytes, Limits::SAMPLE);
        let _ = read_array(&bytes);
    }

    #[test]
    fn damage_never_makes_it_panic(at in 0_usize..800, to in any::<u8>()) {
        let mut bytes = to_bytes(&some()).unwrap();
        let length = bytes.len();
        bytes[at % length] = to;
        let _ = read(&bytes, Limits::SAMPLE);
    }
}
