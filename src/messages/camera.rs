//! Cameras from `sensor_msgs/CameraInfo`.

use super::cdr::CameraInfo;
use crate::geometry::{Camera, Distortion, Intrinsics};

/// Returns the camera of images of the given size, or `None` where the message says that it is
/// not calibrated. Rectified images go with the projection matrix and have no distortion.
pub fn camera(info: &CameraInfo, is_rectified: bool) -> Result<Option<Camera>, String> {
    let (k, p) = (&info.k, &info.p);
    let focal = |value: f64| value.is_finite() && value > 0.0;
    let mut intrinsics = if is_rectified && focal(p[0]) {
        Intrinsics { fx: p[0], fy: p[5], cx: p[2], cy: p[6] }
    } else if focal(k[0]) {
        Intrinsics { fx: k[0], fy: k[4], cx: k[2], cy: k[5] }
    } else {
        return Ok(None);
    };
    let (width, height) = image_size(info, &mut intrinsics);
    let distortion = if is_rectified {
        Distortion::None
    } else {
        Distortion::from_ros(&info.distortion_model, &info.d).map_err(|e| e.to_string())?
    };
    Camera::new(intrinsics, distortion, width, height).map(Some).map_err(|e| e.to_string())
}

/// Moves the intrinsics of the full sensor to what was read out of it, and returns its size.
fn image_size(info: &CameraInfo, intrinsics: &mut Intrinsics) -> (u32, u32) {
    let roi = &info.roi;
    let (mut width, mut height) = (info.width, info.height);
    if roi.width > 0 && roi.height > 0 {
        (width, height) = (roi.width, roi.height);
        intrinsics.cx -= f64::from(roi.x_offset);
        intrinsics.cy -= f64::from(roi.y_offset);
    }
    let (bin_x, bin_y) = (info.binning_x.max(1), info.binning_y.max(1));
    intrinsics.fx /= f64::from(bin_x);
    intrinsics.cx /= f64::from(bin_x);
    intrinsics.fy /= f64::from(bin_y);
    intrinsics.cy /= f64::from(bin_y);
    (width / bin_x, height / bin_y)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::cdr::{Header, RegionOfInterest, Stamped, decode};

    fn info() -> CameraInfo {
        let header: Header =
            decode::<Stamped>(&[0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]).unwrap().header;
        CameraInfo {
            header,
            height: 480,
            width: 640,
            distortion_model: "plumb_bob".into(),
            d: vec![0.1, 0.0, 0.0, 0.0, 0.0],
            k: [500.0, 0.0, 320.0, 0.0, 510.0, 240.0, 0.0, 0.0, 1.0],
            r: [0.0; 9],
            p: [400.0, 0.0, 310.0, 0.0, 0.0, 410.0, 230.0, 0.0, 0.0, 0.0, 1.0, 0.0],
            binning_x: 0,
            binning_y: 0,
            roi: RegionOfInterest { x_offset: 0, y_offset: 0, height: 0, width: 0 },
        }
    }

    fn pinhole([fx, fy, cx, cy]: [f64; 4], width: u32, height: u32) -> Camera {
        Camera::pinhole(Intrinsics { fx, fy, cx, cy }, width, height).unwrap()
    }

    #[test]
    fn raw_images_take_k_and_rectified_ones_p() {
        let raw = camera(&info(), false).unwrap().unwrap();
        let expected = pinhole([500.0, 510.0, 320.0, 240.0], 640, 480);
        assert_eq!(raw.intrinsics(), expected.intrinsics());
        assert_eq!(raw.distortion(), &Distortion::PlumbBob([0.1, 0.0, 0.0, 0.0, 0.0]));
        let rectified = camera(&info(), true).unwrap().unwrap();
        assert_eq!(rectified, pinhole([400.0, 410.0, 310.0, 230.0], 640, 480));
    }

    #[test]
    fn binning_and_region_move_the_intrinsics() {
        let roi = RegionOfInterest { x_offset: 20, y_offset: 40, height: 400, width: 600 };
        let binned = CameraInfo { binning_x: 2, binning_y: 2, roi, d: vec![], ..info() };
        let binned = camera(&binned, false).unwrap().unwrap();
        assert_eq!(binned, pinhole([250.0, 255.0, 150.0, 100.0], 300, 200));
    }

    #[test]
    fn k_of_zero_is_uncalibrated_and_a_strange_model_an_error() {
        let uncalibrated = CameraInfo { k: [0.0; 9], ..info() };
        assert_eq!(camera(&uncalibrated, false), Ok(None));
        let strange = CameraInfo { distortion_model: "fov".into(), ..info() };
        assert!(camera(&strange, false).unwrap_err().contains("'fov'"));
    }
}
