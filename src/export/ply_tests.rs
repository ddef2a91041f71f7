//! PLY files, well and badly made.

use std::fs;
use std::path::PathBuf;

use nalgebra::Point3;
use proptest::prelude::*;

use super::{read_ply, write_ply};
use crate::cloud::PointCloud;

const XYZ: &str = "property float x\nproperty float y\nproperty float z\n";

fn in_folder(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cloud.ply");
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn read_bytes(bytes: &[u8]) -> Result<PointCloud, String> {
    let (_folder, path) = in_folder(bytes);
    read_ply(&path).map_err(|error| error.to_string())
}

fn header(format: &str, rest: &str) -> Vec<u8> {
    format!("ply\nformat {format} 1.0\n{rest}end_header\n").into_bytes()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_what_is_read(
        rows in prop::collection::vec((any::<[f32; 3]>(), any::<[u8; 3]>()), 0..50),
        colored: bool,
    ) {
        let points: Vec<_> = rows.iter().map(|(p, _)| Point3::from(*p)).collect();
        let colors = if colored { rows.iter().map(|(_, c)| *c).collect() } else { Vec::new() };
        let cloud = PointCloud { points, colors };
        let (_folder, path) = in_folder(b"");
        write_ply(&path, &cloud).unwrap();
        prop_assert_eq!(read_ply(&path).unwrap(), cloud);
    }

    #[test]
    fn no_bytes_make_the_reader_panic_or_hang(
        start in 0..4_usize, count: u64, body in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let element = format!("element face {count}\nproperty list uchar int i\nelement vertex {count}\n{XYZ}");
        let mut bytes = match start {
            0 => Vec::new(),
            1 => header("ascii", &element),
            2 => header("binary_little_endian", &element),
            _ => header("binary_big_endian", &format!("element vertex {count}\n{XYZ}")),
        };
        bytes.extend(&body);
        if let Ok(cloud) = read_bytes(&bytes) {
            prop_assert!(cloud.len() <= body.len());
        }
    }
}

#[test]
fn every_encoding_and_type_gives_the_same_cloud() {
    let rest = "comment made by hand\nobj_info none\nelement camera 1\nproperty double f\n\
        property list uchar short ids\nelement vertex 2\nproperty double x\nproperty float y\n\
        property int z\nproperty float nx\nproperty list uint8 uint16 extra\n\
        property ushort red\nproperty float green\nproperty uchar blue\n\
        element face 1\nproperty list uchar int vertex_indices\n";
    let mut ascii = header("ascii", rest);
    ascii.extend(b"500 2 7 8\n1.5 -2 3 0.1 0 65535 0.2 3\n\n 4 5 -6 0.1 2 9 9 0 1 255 \n3 0 1 0\n");
    let binary = |format: &str, order: fn(&mut [u8])| {
        let mut bytes = header(format, rest);
        let mut put = |value: &mut [u8]| {
            order(value);
            bytes.extend(&*value);
        };
        put(&mut 500_f64.to_le_bytes());
        put(&mut [2]);
        put(&mut 7_i16.to_le_bytes());
        put(&mut 8_i16.to_le_bytes());
        let rows = [
            (1.5_f64, -2.0_f32, 3_i32, vec![], 65535_u16, 0.2_f32, 3_u8),
            (4.0, 5.0, -6, vec![9_u16, 9], 0, 1.0, 255),
        ];
        for (x, y, z, extra, red, green, blue) in rows {
            put(&mut x.to_le_bytes());
            put(&mut y.to_le_bytes());
            put(&mut z.to_le_bytes());
            put(&mut 0.1_f32.to_le_bytes());
            put(&mut [extra.len() as u8]);
            extra.iter().for_each(|e| put(&mut e.to_le_bytes()));
            put(&mut red.to_le_bytes());
            put(&mut green.to_le_bytes());
            put(&mut [blue]);
        }
        bytes
    };
    let expected = PointCloud {
        points: vec![Point3::new(1.5, -2.0, 3.0), Point3::new(4.0, 5.0, -6.0)],
        colors: vec![[255, 51, 3], [0, 255, 255]],
    };
    assert_eq!(read_bytes(&ascii).unwrap(), expected);
    assert_eq!(read_bytes(&binary("binary_little_endian", |_| {})).unwrap(), expected);
    assert_eq!(read_bytes(&binary("binary_big_endian", <[u8]>::reverse)).unwrap(), expected);
}

#[test]
fn windows_line_ends_are_read() {
    let text = format!("ply\nformat ascii 1.0\nelement vertex 1\n{XYZ}end_header\n1 2 3\n");
    let cloud = read_bytes(text.replace('\n', "\r\n").as_bytes()).unwrap();
    assert_eq!(cloud.points, [Point3::new(1.0, 2.0, 3.0)]);
}

/// What is wrong with a file, the file, and what the message must say.
fn bad_files() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let vertices = |count: &str| format!("element vertex {count}\n{XYZ}");
    let with_body = |mut head: Vec<u8>, body: &[u8]| {
        head.extend(body);
        head
    };
    vec![
        ("empty file", vec![], "not a PLY"),
        ("a picture", b"\x89PNG\r\n\x1a\n".repeat(2000), "not a PLY"),
        ("one endless line", vec![b'p'; 1 << 20], "not a PLY"),
        ("no end of header", b"ply\nformat ascii 1.0\n".to_vec(), "no 'end_header'"),
        ("no format", b"ply\nelement vertex 0\nend_header\n".to_vec(), "no 'format'"),
        ("unknown format", header("binary_middle_endian", ""), "'binary_middle_endian'"),
        ("unknown type", header("ascii", "element vertex 1\nproperty half x\n"), "line 4"),
        ("no element", header("ascii", "property float x\n"), "line 3"),
        ("negative count", header("ascii", &vertices("-1")), "line 3"),
        ("count beyond numbers", header("ascii", &vertices("99999999999999999999")), "line 3"),
        ("no vertices", header("ascii", "element face 0\n"), "no vertices"),
        ("no z", header("ascii", "element vertex 1\nproperty float x\nproperty float y\n"), "'z'"),
        (
            "list for x",
            header("ascii", "element vertex 1\nproperty list uchar float x\n"),
            "no property 'x'",
        ),
        (
            "huge count of nothing",
            header("ascii", "element void 18446744073709551615\nelement face 0\n"),
            "no vertices",
        ),
        (
            "huge count",
            with_body(header("binary_little_endian", &vertices("18446744073709551615")), &[0; 24]),
            "vertex 3 of 18446744073709551615: the file ends there",
        ),
        (
            "cut in a point",
            with_body(header("binary_big_endian", &vertices("2")), &[0; 23]),
            "vertex 2 of 2: the file ends there",
        ),
        (
            "huge list",
            with_body(
                header("binary_little_endian", "element face 1\nproperty list uint double a\n"),
                &[255; 9],
            ),
            "face 1 of 1: the file ends there",
        ),
        (
            "text that ends",
            with_body(header("ascii", &vertices("2")), b"1 2 3\n"),
            "vertex 2 of 2: the file ends there",
        ),
        (
            "word among numbers",
            with_body(header("ascii", &vertices("1")), b"1 two 3\n"),
            "vertex 1 of 1: cannot read the numbers of '1 two 3'",
        ),
    ]
}

#[test]
fn a_bad_file_gives_one_sentence_with_its_place() {
    for (case, bytes, expected) in bad_files() {
        let message = read_bytes(&bytes).expect_err(case);
        assert!(message.contains(expected), "{case}: {message}");
        assert!(message.contains("cloud.ply"), "{case}: {message}");
        assert!(!message.contains('\n') && message.len() < 400, "{case}: {message}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let message = read_ply("nowhere/cloud.ply".as_ref()).unwrap_err().to_string();
    assert!(message.starts_with("nowhere/cloud.ply: cannot open the point cloud"), "{message}");
}

#[test]
fn a_cloud_with_too_few_colours_is_not_written() {
    let cloud = PointCloud { points: vec![Point3::origin(); 2], colors: vec![[0; 3]] };
    let (_folder, path) = in_folder(b"old");
    assert!(write_ply(&path, &cloud).unwrap_err().to_string().contains("expected 2, found 1"));
    assert_eq!(fs::read(&path).unwrap(), b"old");
}
