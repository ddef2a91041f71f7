//! Calibration files.

use std::path::Path;

use super::text::read_text;
use crate::error::{Error, Result};
use crate::geometry::{Camera, Distortion, Intrinsics};

const REMEDY: &str = "give the keys fx, fy, cx, cy, width, height and, for depth, depth_scale; \
                      distortion (4, 5 or 8 numbers) and distortion_model may be added";

/// What a calibration file says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Calibration {
    /// The colour camera.
    pub camera: Camera,
    /// Units of the depth images per metre, where given; zero says that there is no depth.
    pub depth_scale: Option<f64>,
}

impl Calibration {
    /// Returns metres per unit of the depth images, or `None` where there is no depth.
    pub fn metres_per_unit(&self) -> Option<f64> {
        self.depth_scale.filter(|&scale| scale > 0.0).map(|scale| 1.0 / scale)
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct CalibrationFile {
    fx: f64,
    fy: f64,
    cx: f64,
    cy: f64,
    width: u32,
    height: u32,
    depth_scale: Option<f64>,
    #[serde(default)]
    distortion: Vec<f64>,
    #[serde(default)]
    distortion_model: String,
}

/// Returns the calibration of a YAML file with the keys `fx fy cx cy width height` and optionally
/// `depth_scale` (units per metre), `distortion` (order k1 k2 p1 p2 k3 …) and `distortion_model`
/// (`plumb_bob`, `rational_polynomial` or `equidistant`).
///
/// # Errors
/// [`Error::Io`], and [`Error::Input`] with the place and key that are wrong.
pub fn read_calibration(path: &Path) -> Result<Calibration> {
    let text = read_text(path, "read the calibration")?;
    parse(&text).map_err(|problem| Error::input(path, problem, REMEDY))
}

fn parse(text: &str) -> Result<Calibration, String> {
    let options = serde_saphyr::options! { with_snippet: false };
    let file: CalibrationFile = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| error.to_string().replace('\n', " "))?;
    if let Some(value) = file.distortion.iter().find(|value| !value.is_finite()) {
        return Err(format!("distortion holds {value}"));
    }
    let distortion = Distortion::from_ros(&file.distortion_model, &file.distortion)
        .map_err(|error| error.to_string())?;
    let intrinsics = Intrinsics { fx: file.fx, fy: file.fy, cx: file.cx, cy: file.cy };
    let camera = Camera::new(intrinsics, distortion, file.width, file.height)
        .map_err(|error| error.to_string())?;
    match file.depth_scale.filter(|scale| !(scale.is_finite() && *scale >= 0.0)) {
        None => Ok(Calibration { camera, depth_scale: file.depth_scale }),
        Some(scale) => Err(format!("depth_scale is {scale}: expected units per metre")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "fx: 500\nfy: 501.5\ncx: 320\ncy: 240\nwidth: 640\nheight: 480\n";

    #[test]
    fn all_keys_are_read() {
        let text =
            format!("{GOOD}depth_scale: 5000 # per metre\ndistortion: [0.1, -0.2, 0, 0, 0.3]");
        let calibration = parse(&text).unwrap();
        assert_eq!(calibration.metres_per_unit(), Some(0.0002));
        let expected = Intrinsics { fx: 500.0, fy: 501.5, cx: 320.0, cy: 240.0 };
        assert_eq!(calibration.camera.intrinsics(), &expected);
        let expected = Distortion::PlumbBob([0.1, -0.2, 0.0, 0.0, 0.3]);
        assert_eq!(calibration.camera.distortion(), &expected);
    }

    #[test]
    fn distortion_models_go_by_name_and_by_count() {
        let cases = [
            ("", Distortion::None),
            ("distortion: [0, 0, 0, 0, 0]", Distortion::None),
            ("distortion: [1, 0, 0, 0]", Distortion::PlumbBob([1.0, 0.0, 0.0, 0.0, 0.0])),
            (
                "distortion: [1, 0, 0, 0, 0, 0, 0, 2]",
                Distortion::RationalPolynomial([1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0]),
            ),
            (
                "distortion_model: equidistant\ndistortion: [1, 0, 0, 0]",
                Distortion::Equidistant([1.0, 0.0, 0.0, 0.0]),
            ),
        ];
        for (more, expected) in cases {
            let calibration = parse(&format!("{GOOD}{more}")).unwrap();
            assert_eq!(calibration.camera.distortion(), &expected, "{more}");
            assert_eq!(calibration.depth_scale, None);
        }
    }

    #[test]
    fn each_kind_of_bad_file_is_told() {
        let cases = [
            ("fx: 500".to_owned(), "fy"),
            (format!("{GOOD}distorsion: [1]"), "distorsion"),
            (GOOD.replace("500", "abc"), "line 1"),
            (GOOD.replace("500", "-500"), "fx is -500"),
            (GOOD.replace("640", "0"), "width is 0"),
            (GOOD.replace("500", ".nan"), "fx is NaN"),
            (format!("{GOOD}distortion: [1, 2, 3]"), "with 3 coefficients"),
            (format!("{GOOD}distortion: [.inf, 0, 0, 0]"), "distortion holds inf"),
            (format!("{GOOD}depth_scale: -1"), "depth_scale is -1"),
            (String::new(), "end of input"),
        ];
        for (text, expected) in cases {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(expected) && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_scale_of_zero_means_no_depth() {
        let calibration = parse(&format!("{GOOD}depth_scale: 0")).unwrap();
        assert_eq!(calibration.depth_scale, Some(0.0));
        assert_eq!(calibration.metres_per_unit(), None);
    }
}
