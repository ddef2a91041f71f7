//! Point clouds from PLY files of any of the three encodings.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use nalgebra::Point3;

use super::ply_header::{Element, Encoding, Header, Property, Scalar};
use crate::cloud::PointCloud;
use crate::error::{Error, Result};

/// Room that is made for points before they are read: a header may claim any number.
const MAX_CAPACITY: u64 = 1 << 20;
const MAX_LINE_BYTES: u64 = 1 << 16;

/// Returns the vertices of a PLY file; everything but x, y, z and red, green, blue is ignored.
///
/// # Errors
/// [`Error::Io`] for a file that cannot be opened, [`Error::Input`] for one that is not a PLY, has
/// no vertices with x, y and z, or ends too early.
pub fn read_ply(path: &Path) -> Result<PointCloud> {
    let file = File::open(path).map_err(Error::io(path, "open the point cloud"))?;
    let remedy = "write it again as PLY with x, y and z of its vertices";
    read(&mut BufReader::new(file)).map_err(|problem| Error::input(path, problem, remedy))
}

fn read(file: &mut impl BufRead) -> Result<PointCloud, String> {
    let header = Header::read(file)?;
    let mut rows = Rows { file, encoding: header.encoding };
    for element in &header.elements {
        if element.name == "vertex" {
            return read_vertices(&mut rows, element);
        }
        // Rows without a property take no room in the file, however many there are.
        let count = if element.properties.is_empty() { 0 } else { element.count };
        for index in 0..count {
            rows.next(&element.properties).map_err(|e| place(element, index, &e))?;
        }
    }
    Err("has no vertices".into())
}

fn read_vertices(rows: &mut Rows<impl BufRead>, element: &Element) -> Result<PointCloud, String> {
    let columns = Columns::of(&element.properties)?;
    let capacity = element.count.min(MAX_CAPACITY) as usize;
    let mut cloud = PointCloud { points: Vec::with_capacity(capacity), colors: Vec::new() };
    for index in 0..element.count {
        let values = rows.next(&element.properties).map_err(|e| place(element, index, &e))?;
        cloud.points.push(Point3::from(columns.position.map(|c| values[c] as f32)));
        if let Some(color) = columns.color {
            cloud.colors.push(color.map(|(c, full)| (values[c] / full * 255.0).round() as u8));
        }
    }
    Ok(cloud)
}

fn place(element: &Element, index: u64, error: &io::Error) -> String {
    let what = match error.kind() {
        io::ErrorKind::UnexpectedEof => "the file ends there".to_owned(),
        _ => error.to_string(),
    };
    format!("{} {} of {}: {what}", element.name, index + 1, element.count)
}

/// Where a vertex has its position, and its colour with the value of full colour.
struct Columns {
    position: [usize; 3],
    color: Option<[(usize, f64); 3]>,
}

impl Columns {
    fn of(properties: &[Property]) -> Result<Self, String> {
        let find = |wanted: &str| {
            properties.iter().enumerate().find_map(|(column, property)| match property {
                Property::Single(name, scalar) if name == wanted => Some((column, *scalar)),
                _ => None,
            })
        };
        let position = |name: &str| {
            find(name).map(|(c, _)| c).ok_or_else(|| format!("vertices have no property '{name}'"))
        };
        let color = |name: &str| find(name).map(|(c, scalar)| (c, scalar.full_scale()));
        Ok(Self {
            position: [position("x")?, position("y")?, position("z")?],
            color: match [color("red"), color("green"), color("blue")] {
                [Some(r), Some(g), Some(b)] => Some([r, g, b]),
                _ => None,
            },
        })
    }
}

/// The values of a file, row by row.
struct Rows<'a, R> {
    file: &'a mut R,
    encoding: Encoding,
}

impl<R: BufRead> Rows<'_, R> {
    /// Returns the next row: a value per property, 0 for a list.
    fn next(&mut self, properties: &[Property]) -> io::Result<Vec<f64>> {
        if self.encoding == Encoding::Ascii {
            return self.next_line(properties);
        }
        let value = |property: &Property| match *property {
            Property::Single(_, scalar) => self.binary(scalar),
            Property::List(count, item) => {
                let items = self.binary(count)?.max(0.0) as u64;
                self.skip(items.saturating_mul(item.size() as u64))?;
                Ok(0.0)
            }
        };
        properties.iter().map(value).collect()
    }

    fn binary(&mut self, scalar: Scalar) -> io::Result<f64> {
        let mut bytes = [0; 8];
        let used = &mut bytes[..scalar.size()];
        self.file.read_exact(used)?;
        if self.encoding == Encoding::BigEndian {
            used.reverse();
        }
        let [a, b, c, d, ..] = bytes;
        Ok(match scalar {
            Scalar::I8 => f64::from(a as i8),
            Scalar::U8 => f64::from(a),
            Scalar::I16 => f64::from(i16::from_le_bytes([a, b])),
            Scalar::U16 => f64::from(u16::from_le_bytes([a, b])),
            Scalar::I32 => f64::from(i32::from_le_bytes([a, b, c, d])),
            Scalar::U32 => f64::from(u32::from_le_bytes([a, b, c, d])),
            Scalar::F32 => f64::from(f32::from_le_bytes([a, b, c, d])),
            Scalar::F64 => f64::from_le_bytes(bytes),
        })
    }

    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let skipped = io::copy(&mut self.file.take(bytes), &mut io::sink())?;
        if skipped < bytes { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    fn next_line(&mut self, properties: &[Property]) -> io::Result<Vec<f64>> {
        let mut line = String::new();
        while line.trim().is_empty() {
            line.clear();
            if self.file.take(MAX_LINE_BYTES).read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let mut words = line.split_whitespace();
        let mut number = || match words.next().map(str::parse::<f64>) {
            Some(Ok(number)) => Ok(number),
            _ => Err(io::Error::other(format!("cannot read the numbers of '{}'", line.trim()))),
        };
        let value = |property: &Property| match property {
            Property::Single(..) => number(),
            Property::List(..) => {
                let items = number()?.max(0.0) as u64;
                (0..items).try_for_each(|_| number().map(drop))?;
                Ok(0.0)
            }
        };
        properties.iter().map(value).collect()
    }
}
