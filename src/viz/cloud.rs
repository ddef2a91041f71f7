//! A cloud in two views: obliquely from above, and in plan.

use image::{GenericImage, Rgb, RgbImage};
use nalgebra::{Point3, Vector3};
use plotters::prelude::*;
use rayon::prelude::*;

use super::canvas::{Area, Drawn, FONT, finish, px};
use super::framing::{Room, View, bounds, sample};
use super::splat::{BACKGROUND, Splats};
use crate::cloud::PointCloud;
use crate::error::Result;

const WIDTH: u32 = 1400;
const HEIGHT: u32 = 800;
const OBLIQUE_WIDTH: u32 = 820;
const LABEL: RGBColor = RGBColor(225, 225, 225);
/// From low to high, for clouds without colours.
const HEIGHT_COLORS: [[f64; 3]; 4] =
    [[52.0, 78.0, 155.0], [40.0, 160.0, 160.0], [150.0, 200.0, 90.0], [250.0, 225.0, 110.0]];

/// Returns the picture of `cloud`, `up` being the direction against gravity in the cloud's frame
/// (+z where it has no length); a ceiling is left out of it.
///
/// # Errors
/// [`Error::Io`](crate::error::Error::Io) where drawing fails.
pub fn cloud_figure(cloud: &PointCloud, up: &Vector3<f64>) -> Result<RgbImage> {
    let sample = sample(&cloud.points);
    let room = Room::around(&sample, up);
    let below_ceiling = |p: &Point3<f64>| room.height_m(p) < room.ceiling_m;
    let framed: Vec<_> = sample.iter().copied().filter(below_ceiling).collect();
    let points = colored_points(cloud, &room, &framed);
    let sizes = [(px(OBLIQUE_WIDTH), px(HEIGHT)), (px(WIDTH - OBLIQUE_WIDTH), px(HEIGHT))];
    let views = [room.oblique(&sample), room.plan(true)];
    let mut image = RgbImage::from_pixel(px(WIDTH), px(HEIGHT), Rgb(BACKGROUND));
    let mut scales = [0.0; 2];
    for (index, (view, size)) in views.into_iter().zip(sizes).enumerate() {
        let (picture, px_per_m) = picture(view, &framed, &points, size);
        let left = if index == 0 { 0 } else { sizes[0].0 };
        // The sizes add up to the picture's, so the copy always fits.
        let _ = image.copy_from(&picture, left, 0);
        scales[index] = px_per_m;
    }
    let count = cloud.len();
    finish(image, |area| label(area, scales, count))
}

fn picture(
    view: View,
    framed: &[Point3<f64>],
    points: &[(Point3<f64>, [u8; 3])],
    size: (u32, u32),
) -> (RgbImage, f64) {
    let mut splats = Splats::framing(view, framed, size);
    splats.draw(points);
    (splats.shaded(), splats.px_per_m())
}

/// The finite points below the ceiling with a colour each: their own, or one by height.
fn colored_points(
    cloud: &PointCloud,
    room: &Room,
    framed: &[Point3<f64>],
) -> Vec<(Point3<f64>, [u8; 3])> {
    let (low, high) = bounds(framed.iter().map(|p| room.height_m(p)));
    let by_height = |p: &Point3<f64>| {
        let frac = (room.height_m(p) - low) / (high - low).max(1e-6);
        height_color(frac)
    };
    let points = cloud.points.par_iter().map(|p| p.cast::<f64>()).enumerate();
    points
        .filter(|(_, p)| p.iter().all(|c| c.is_finite()) && room.height_m(p) < room.ceiling_m)
        .map(|(i, p)| (p, cloud.colors.get(i).copied().unwrap_or_else(|| by_height(&p))))
        .collect()
}

fn height_color(frac: f64) -> [u8; 3] {
    let last = HEIGHT_COLORS.len() - 1;
    let place = frac.clamp(0.0, 1.0) * last as f64;
    let below = (place as usize).min(last - 1);
    let t = place - below as f64;
    std::array::from_fn(|i| {
        (HEIGHT_COLORS[below][i] * (1.0 - t) + HEIGHT_COLORS[below + 1][i] * t) as u8
    })
}

fn label(area: &Area, px_per_m: [f64; 2], count: usize) -> Drawn {
    let (left, right) = area.split_horizontally(px(OBLIQUE_WIDTH));
    let name = (FONT, px(20)).into_font().color(&LABEL);
    let captions = [format!("From above, {count} points"), "Plan".to_owned()];
    for ((panel, caption), scale) in [left, right].iter().zip(captions).zip(px_per_m) {
        panel.draw(&Text::new(caption, (px(18) as i32, px(14) as i32), name.clone()))?;
        draw_scale(panel, scale)?;
    }
    Ok(())
}

/// A bar of a round length, about a fifth of the panel.
fn draw_scale(panel: &Area, px_per_m: f64) -> Drawn {
    let (width, height) = panel.dim_in_pixel();
    let room_m = 0.25 * f64::from(width) / px_per_m;
    let decade = 10_f64.powf(room_m.log10().floor());
    let length_m = [5.0, 2.0, 1.0].map(|n| n * decade).into_iter().find(|&l| l <= room_m);
    let length_m = length_m.unwrap_or(decade);
    let (x, y) = (px(20) as i32, height as i32 - px(24) as i32);
    let end = x + (length_m * px_per_m) as i32;
    let style = LABEL.stroke_width(px(2));
    for (from, to) in [((x, y), (end, y)), ((x, y - 8), (x, y + 8)), ((end, y - 8), (end, y + 8))] {
        panel.draw(&PathElement::new([from, to], style))?;
    }
    let text = if length_m < 1.0 {
        format!("{:.0} cm", length_m * 100.0)
    } else {
        format!("{length_m:.0} m")
    };
    let style = (FONT, px(16)).into_font().color(&LABEL);
    panel.draw(&Text::new(text, (x + px(4) as i32, y - px(24) as i32), style))?;
    Ok(())
}
