//! The text at the start of a PLY file, which says what follows.

use std::io::{BufRead, Read};

/// Longest line and longest header that are read, so that a file of another kind ends soon.
const MAX_LINE_BYTES: u64 = 4096;
const MAX_LINES: usize = 1000;

/// How the values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// As text, one element a line.
    Ascii,
    /// As bytes, least significant first.
    LittleEndian,
    /// As bytes, most significant first.
    BigEndian,
}

/// The type of a single value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scalar {
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    F32,
    F64,
}

/// One property of an element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Property {
    /// A single value with its name.
    Single(String, Scalar),
    /// A count of the first type, then as many values of the second.
    List(Scalar, Scalar),
}

/// A group of rows with the same properties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) name: String,
    pub(super) count: u64,
    pub(super) properties: Vec<Property>,
}

/// What a PLY file says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) encoding: Encoding,
    pub(super) elements: Vec<Element>,
}

impl Header {
    /// Returns the header at the start of `file`, which is then at the first value; the error is
    /// what is wrong, with the line.
    pub(super) fn read(file: &mut impl BufRead) -> Result<Self, String> {
        if line(file)?.as_deref() != Some("ply") {
            return Err("is not a PLY file (it does not start with 'ply')".into());
        }
        let mut encoding = None;
        let mut elements = Vec::new();
        for number in 2..=MAX_LINES {
            let Some(text) = line(file)? else { break };
            let words: Vec<&str> = text.split_whitespace().collect();
            match words[..] {
                ["end_header"] => {
                    let encoding = encoding.ok_or("PLY header has no 'format' line")?;
                    return Ok(Self { encoding, elements });
                }
                ["format", name, _] => encoding = Some(encoding_of(name)?),
                ["comment" | "obj_info", ..] | [] => {}
                _ => declare(&mut elements, &words)
                    .ok_or_else(|| format!("PLY header, line {number}: cannot read '{text}'"))?,
            }
        }
        Err("PLY header has no 'end_header' line".into())
    }
}

impl Scalar {
    /// Returns the number of bytes of a value.
    pub(super) fn size(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// Returns the largest value of an integer type, 1 for the others: what full colour is.
    pub(super) fn full_scale(self) -> f64 {
        match self {
            Self::I8 => f64::from(i8::MAX),
            Self::U8 => f64::from(u8::MAX),
            Self::I16 => f64::from(i16::MAX),
            Self::U16 => f64::from(u16::MAX),
            Self::I32 => f64::from(i32::MAX),
            Self::U32 => f64::from(u32::MAX),
            Self::F32 | Self::F64 => 1.0,
        }
    }

    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "char" | "int8" => Self::I8,
            "uchar" | "uint8" => Self::U8,
            "short" | "int16" => Self::I16,
            "ushort" | "uint16" => Self::U16,
            "int" | "int32" => Self::I32,
            "uint" | "uint32" => Self::U32,
            "float" | "float32" => Self::F32,
            "double" | "float64" => Self::F64,
            _ => return None,
        })
    }
}

/// The next line without its end, or `None` at the end of the file.
fn line(file: &mut impl BufRead) -> Result<Option<String>, String> {
    let mut bytes = Vec::new();
    let read = file.take(MAX_LINE_BYTES).read_until(b'\n', &mut bytes);
    read.map_err(|error| format!("cannot be read ({error})"))?;
    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
    Ok((!bytes.is_empty()).then_some(text))
}

fn encoding_of(name: &str) -> Result<Encoding, String> {
    match name {
        "ascii" => Ok(Encoding::Ascii),
        "binary_little_endian" => Ok(Encoding::LittleEndian),
        "binary_big_endian" => Ok(Encoding::BigEndian),
        _ => Err(format!("PLY format '{name}' is unknown")),
    }
}

/// Adds what a header line declares, or returns `None` if it declares nothing.
fn declare(elements: &mut Vec<Element>, words: &[&str]) -> Option<()> {
    match *words {
        ["element", name, count] => {
            let (name, count) = (name.to_owned(), count.parse().ok()?);
            elements.push(Element { name, count, properties: Vec::new() });
        }
        ["property", "list", count, item, _] => {
            let list = Property::List(Scalar::named(count)?, Scalar::named(item)?);
            elements.last_mut()?.properties.push(list);
        }
        ["property", scalar, name] => {
            let single = Property::Single(name.to_owned(), Scalar::named(scalar)?);
            elements.last_mut()?.properties.push(single);
        }
        _ => return None,
    }
    Some(())
}
