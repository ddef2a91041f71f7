//! NumPy's arrays in pickles: how `numpy.ndarray` says what it is made of.

use std::borrow::Cow;

use super::unpickle::{Id, Pickle, Value};

/// Rows of numbers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Matrix {
    pub columns: usize,
    pub values: Vec<f32>,
}

/// An array as it was pickled.
struct Parts<'a> {
    shape: Id,
    dtype: Id,
    is_by_columns: bool,
    bytes: Cow<'a, [u8]>,
}

/// Returns the matrix of floating point numbers at `id`, or what is there instead.
pub(super) fn matrix(pickle: &Pickle<'_>, id: Id) -> Result<Matrix, String> {
    let parts = reconstructed(pickle, id).or_else(|| from_buffer(pickle, id));
    let parts = parts.ok_or("are no array of numpy")?;
    let shape = pickle.items(parts.shape).unwrap_or_default();
    let shape = shape.iter().map(|&side| usize::try_from(pickle.int(side)?).ok());
    let shape: Option<Vec<usize>> = shape.collect();
    let Some([rows, columns]) = shape.as_deref() else {
        return Err("are no matrix".into());
    };
    if parts.is_by_columns {
        return Err("are stored by columns, not by rows".into());
    }
    let values = numbers(&parts.bytes, &type_name(pickle, parts.dtype)?)?;
    if rows.checked_mul(*columns) == Some(values.len()) && !values.is_empty() {
        return Ok(Matrix { columns: *columns, values });
    }
    Err(format!("should be {rows} times {columns} numbers and are {}", values.len()))
}

/// Up to protocol 4: an empty array that is given its state.
fn reconstructed<'a>(pickle: &'a Pickle<'_>, id: Id) -> Option<Parts<'a>> {
    let (name, _, state) = pickle.call(id)?;
    if !is_numpy(name, "multiarray._reconstruct") {
        return None;
    }
    let [_version, shape, dtype, by_columns, data] = pickle.items(state?)? else { return None };
    let is_by_columns = matches!(pickle.value(*by_columns), Value::Bool(true));
    let bytes = bytes(pickle, *data)?;
    Some(Parts { shape: *shape, dtype: *dtype, is_by_columns, bytes })
}

/// From protocol 5 on: an array over a buffer.
fn from_buffer<'a>(pickle: &'a Pickle<'_>, id: Id) -> Option<Parts<'a>> {
    let (name, arguments, _) = pickle.call(id)?;
    if !is_numpy(name, "numeric._frombuffer") {
        return None;
    }
    let [data, dtype, shape, order] = arguments else { return None };
    let bytes = bytes(pickle, *data)?;
    let is_by_columns = pickle.text(*order) == Some("F");
    Some(Parts { shape: *shape, dtype: *dtype, is_by_columns, bytes })
}

/// NumPy 2 has moved its inner modules.
fn is_numpy(name: &str, inner: &str) -> bool {
    let rest = name.strip_prefix("numpy.core.").or_else(|| name.strip_prefix("numpy._core."));
    rest == Some(inner)
}

/// Bytes, which protocol 2 has to write as a text in Latin-1.
fn bytes<'a>(pickle: &'a Pickle<'_>, id: Id) -> Option<Cow<'a, [u8]>> {
    if let Value::Bytes(bytes) = pickle.value(id) {
        return Some(Cow::Borrowed(bytes));
    }
    let ("_codecs.encode", [text, codec], _) = pickle.call(id)? else { return None };
    let is_latin = matches!(pickle.text(*codec)?, "latin1" | "latin-1");
    let bytes = pickle.text(*text)?.chars().map(|c| u8::try_from(c).ok());
    if is_latin { bytes.collect::<Option<Vec<u8>>>().map(Cow::Owned) } else { None }
}

/// The name of a type with its byte order, such as `<f4`.
fn type_name(pickle: &Pickle<'_>, id: Id) -> Result<String, String> {
    let parts = || {
        let ("numpy.dtype", [name, ..], state) = pickle.call(id)? else { return None };
        let [_version, order, ..] = pickle.items(state?)? else { return None };
        Some(format!("{}{}", pickle.text(*order)?, pickle.text(*name)?))
    };
    parts().ok_or_else(|| "are numbers of no known type".to_owned())
}

fn numbers(bytes: &[u8], name: &str) -> Result<Vec<f32>, String> {
    let whole = |size: usize| bytes.len().is_multiple_of(size);
    match name {
        "<f4" if whole(4) => {
            Ok(bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
        }
        "<f8" if whole(8) => {
            Ok(bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect())
        }
        "<f4" | "<f8" => Err("end in the middle of a number".into()),
        other => Err(format!("are of type '{other}', not '<f4'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `{"type": ..., "params": {"size": 3}, "state": {"centroids": ARRAY}}` with an array of
    /// float32, as Python 3 and NumPy 2 write it (`scripts/retrieval_fixture.py`).
    const WRITTEN: [(u8, &str); 4] = [
        (
            2,
            "80027d71002858040000007479706571015808000000436f6465626f6f6b71025806000000706172616d7371037d7104580400000073697a6571054b03735805000000737461746571067d7107580900000063656e74726f6964737108636e756d70792e5f636f72652e6d756c746961727261790a5f7265636f6e7374727563740a7109636e756d70790a6e6461727261790a710a4b0085710b635f636f646563730a656e636f64650a710c580100000062710d58060000006c6174696e31710e86710f527110877111527112284b014b034b02867113636e756d70790a64747970650a71145802000000663471158988877116527117284b0358010000003c71184e4e4e4affffffff4affffffff4b007471196289680c581f0000000000c2803f000020c3800000c2803e0000c380436f12c283c2ba0000c38040711a680e86711b52711c74711d6273752e",
        ),
        (
            3,
            "80037d71002858040000007479706571015808000000436f6465626f6f6b71025806000000706172616d7371037d7104580400000073697a6571054b03735805000000737461746571067d7107580900000063656e74726f6964737108636e756d70792e5f636f72652e6d756c746961727261790a5f7265636f6e7374727563740a7109636e756d70790a6e6461727261790a710a4b0085710b430162710c87710d52710e284b014b034b0286710f636e756d70790a64747970650a71105802000000663471118988877112527113284b0358010000003c71144e4e4e4affffffff4affffffff4b00747115628943180000803f000020c00000803e0000c0436f1283ba0000c04071167471176273752e",
        ),
        (
            4,
            "800495e5000000000000007d94288c0474797065948c08436f6465626f6f6b948c06706172616d73947d948c0473697a65944b03738c057374617465947d948c0963656e74726f696473948c166e756d70792e5f636f72652e6d756c74696172726179948c0c5f7265636f6e7374727563749493948c056e756d7079948c076e6461727261799493944b0085944301629487945294284b014b034b028694680c8c0564747970659493948c02663494898887945294284b038c013c944e4e4e4affffffff4affffffff4b007494628943180000803f000020c00000803e0000c0436f1283ba0000c0409474946273752e",
        ),
        (
            5,
            "800595d0000000000000007d94288c0474797065948c08436f6465626f6f6b948c06706172616d73947d948c0473697a65944b03738c057374617465947d948c0963656e74726f696473948c136e756d70792e5f636f72652e6e756d65726963948c0b5f66726f6d627566666572949394289618000000000000000000803f000020c00000803e0000c0436f1283ba0000c040948c056e756d7079948c0564747970659493948c02663494898887945294284b038c013c944e4e4e4affffffff4affffffff4b007494624b034b0286948c0143947494529473752e",
        ),
    ];

    fn bytes(hex: &str) -> Vec<u8> {
        let digits = hex.as_bytes().chunks(2).map(|two| std::str::from_utf8(two).unwrap());
        digits.map(|two| u8::from_str_radix(two, 16).unwrap()).collect()
    }

    fn centroids(bytes: &[u8]) -> Result<Matrix, String> {
        let pickle = Pickle::parse(bytes)?;
        let state = pickle.entry(pickle.root(), "state").ok_or("no state")?;
        matrix(&pickle, pickle.entry(state, "centroids").ok_or("no centroids")?)
    }

    fn replaced(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
        let at = bytes.windows(old.len()).position(|window| window == old).unwrap();
        [&bytes[..at], new, &bytes[at + old.len()..]].concat()
    }

    #[test]
    fn every_protocol_says_the_same() {
        let expected = Matrix { columns: 2, values: vec![1.0, -2.5, 0.25, 384.0, -1e-3, 6.0] };
        for (protocol, hex) in WRITTEN {
            assert_eq!(centroids(&bytes(hex)), Ok(expected.clone()), "protocol {protocol}");
        }
    }

    /// NumPy before version 2 had these modules elsewhere.
    #[test]
    fn older_versions_of_numpy_are_understood() {
        let old = replaced(&bytes(WRITTEN[1].1), b"numpy._core.", b"numpy.core.");
        assert_eq!(centroids(&old).unwrap().columns, 2);
    }

    #[test]
    fn what_is_no_matrix_of_floats_by_rows_is_said() {
        let written = bytes(WRITTEN[1].1);
        for (old, new, told) in [
            (&b"f4q"[..], &b"i4q"[..], "of type '<i4'"),
            (b"<q", b">q", "of type '>f4'"),
            (b"\x89C\x18", b"\x88C\x18", "by columns"),
            (b"K\x03K\x02\x86", b"K\x02K\x02\x86", "2 times 2 numbers and are 6"),
            (b"K\x03K\x02\x86", b"K\x06\x85K\x02\x30", "0x30"),
            (b"_reconstruct", b"_reconstruck", "no array of numpy"),
            (b"numpy\ndtype", b"posix\nsystm", "no known type"),
        ] {
            let message = centroids(&replaced(&written, old, new)).unwrap_err();
            assert!(message.contains(told), "{message}");
        }
    }

    /// Whatever is in the file, it is read as data or refused.
    #[test]
    fn damaged_pickles_are_refused_and_nothing_of_them_runs() {
        for (_, hex) in WRITTEN {
            let whole = bytes(hex);
            for end in 0..whole.len() {
                assert!(centroids(&whole[..end]).is_err());
            }
            for (at, value) in (0..whole.len()).flat_map(|at| [(at, 0), (at, 0x28), (at, 0xff)]) {
                let mut damaged = whole.clone();
                damaged[at] = value;
                let _ = centroids(&damaged);
            }
        }
        let runs = b"\x80\x02cposix\nsystem\nX\x04\0\0\0true\x85R.";
        assert_eq!(centroids(runs).unwrap_err(), "no state");
        for (bytes, told) in [
            (&b"(dp0\n."[..], "no pickle of protocol 2"),
            (b"\x80\x09.", "protocol 9"),
            (b"\x80\x02}u.", "nothing on its stack"),
            (b"\x80\x04]h\x07.", "not kept"),
            (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\xff.", "in the middle"),
        ] {
            let message = Pickle::parse(bytes).unwrap_err();
            assert!(message.contains(told), "{message}");
        }
    }
}
