//! What comes out, where the images were: at their own size, in one world.

use std::path::Path;

use nalgebra::{Isometry3, Point3};
use recon_node::cloud::PointCloud;
use recon_node::error::{Error, Result};
use recon_node::export::{
    ColmapFormat, PlacedCamera, ViewPoints, create_folder, depth_scale, write_colmap,
    write_depth_png, write_glb, write_ply,
};
use recon_node::geometry::{Intrinsics, Se3};
use recon_node::model::mapanything::ViewOutput;
use recon_node::model::mapanything::preprocess::{Fitting, Size};

use super::inputs::{Input, Inputs};
use super::{files, tracks};

/// The result for one image.
pub struct View<'a> {
    /// What was given.
    pub input: &'a Input,
    /// What the model says.
    pub output: &'a ViewOutput,
    /// The name of its results.
    pub name: String,
    /// How it got to the size of the model.
    pub fitting: Fitting,
    /// The camera at the size of the image, as the model says.
    pub intrinsics: Intrinsics,
    /// Where it was taken, as the model says.
    pub world_from_camera: Se3,
    /// Indices of the pixels of the model's size that have a point, and the points.
    pub points: Vec<(usize, Point3<f32>)>,
    /// The colours of these points.
    pub colors: Vec<[u8; 3]>,
}

/// The results for all images.
pub struct Results<'a> {
    /// One for each image.
    pub views: Vec<View<'a>>,
    relative_names: Vec<String>,
}

impl<'a> Results<'a> {
    /// Returns what the model says, in the images' own sizes and in the world.
    ///
    /// # Errors
    /// Where an image and its result do not fit together.
    pub fn new(inputs: &'a Inputs, outputs: &'a [ViewOutput]) -> Result<Self> {
        let paths = inputs.paths();
        let names = files::result_names(&paths);
        let world_from_first = inputs.world_from_first();
        let views = inputs.views.iter().zip(outputs).zip(names);
        let views = views
            .map(|((input, output), name)| View::new(input, output, name, &world_from_first))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self { views, relative_names: files::relative_names(&paths) })
    }

    /// Writes clouds, depth images and, where asked for, the COLMAP model; returns the units per
    /// metre of the depth images.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub fn write(
        &self,
        folder: &Path,
        format: Option<ColmapFormat>,
        colmap_points: usize,
    ) -> Result<f64> {
        write_ply(&folder.join("points.ply"), &self.cloud())?;
        let views: Vec<ViewPoints> = self.views.iter().map(View::for_viewers).collect();
        write_glb(&folder.join("points.glb"), &views)?;
        let units_per_metre = self.write_depths(&folder.join("depth"))?;
        if let Some(format) = format {
            let model = tracks::sparse_model(&self.views, &self.relative_names, colmap_points);
            write_colmap(&folder.join("colmap"), &model, format)?;
        }
        Ok(units_per_metre)
    }

    /// Returns the number of all points.
    pub fn point_count(&self) -> usize {
        self.views.iter().map(|view| view.points.len()).sum()
    }

    /// A run that found no point has failed, whatever it has written.
    ///
    /// # Errors
    /// Where that is so.
    pub fn verdict(&self) -> Result<()> {
        if self.point_count() > 0 {
            return Ok(());
        }
        Err(Error::Usage("no point is left: all are masked; try --no-mask".into()))
    }

    fn cloud(&self) -> PointCloud {
        let points = self.views.iter().flat_map(|view| view.points.iter().map(|(_, p)| *p));
        let colors = self.views.iter().flat_map(|view| view.colors.iter().copied());
        PointCloud { points: points.collect(), colors: colors.collect() }
    }

    fn write_depths(&self, folder: &Path) -> Result<f64> {
        create_folder(folder)?;
        let depths = self.views.iter().flat_map(|view| view.output.depth_z.values());
        let max_depth = depths.filter(|d| d.is_finite()).fold(0.0_f32, |max, &d| max.max(d));
        let units_per_metre = depth_scale(f64::from(max_depth));
        for view in &self.views {
            let depth = view.fitting.original_values(&view.output.depth_z)?;
            let path = folder.join(format!("{}.png", view.name));
            write_depth_png(&path, &depth, units_per_metre)?;
        }
        Ok(units_per_metre)
    }
}

impl<'a> View<'a> {
    fn new(
        input: &'a Input,
        output: &'a ViewOutput,
        name: String,
        world_from_first: &Se3,
    ) -> Result<Self> {
        let original = (input.image.width() as usize, input.image.height() as usize);
        let target: Size = (output.depth_z.width(), output.depth_z.height());
        let fitting = Fitting::new(original, target, input.intrinsics.is_some());
        let image = fitting.image(&input.image)?;
        let move_to_world: Isometry3<f32> = world_from_first.cast();
        let points: Vec<_> = kept(output)
            .map(|pixel| (pixel, move_to_world * output.points_in_world.values()[pixel]))
            .collect();
        let color = |pixel: usize| [0, 1, 2].map(|c| image.as_raw()[3 * pixel + c]);
        Ok(Self {
            colors: points.iter().map(|(pixel, _)| color(*pixel)).collect(),
            points,
            intrinsics: fitting.original_intrinsics(&output.intrinsics),
            world_from_camera: world_from_first * output.world_from_camera(),
            input,
            output,
            name,
            fitting,
        })
    }

    fn for_viewers(&self) -> ViewPoints {
        let points = self.points.iter().map(|(_, point)| *point).collect();
        let camera = PlacedCamera {
            world_from_camera: self.world_from_camera,
            intrinsics: self.intrinsics,
            size: self.input.image.dimensions(),
        };
        let cloud = PointCloud { points, colors: self.colors.clone() };
        ViewPoints { name: self.name.clone(), cloud, camera: Some(camera) }
    }

    /// Returns the share of the model's pixels that have a point.
    pub fn valid_frac(&self) -> f64 {
        self.points.len() as f64 / self.output.depth_z.values().len().max(1) as f64
    }
}

/// The pixels that are not masked and have a point.
fn kept(output: &ViewOutput) -> impl Iterator<Item = usize> + '_ {
    let is_kept = |pixel: usize| output.mask.as_ref().is_none_or(|mask| mask.values()[pixel]);
    let has_point = |pixel: usize| {
        output.points_in_world.values()[pixel].iter().all(|coordinate| coordinate.is_finite())
    };
    (0..output.points_in_world.values().len())
        .filter(move |&pixel| is_kept(pixel) && has_point(pixel))
}
