//! What surfaces look like: procedural patterns with detail from centimetres to millimetres.

use super::random::{derive, fractal, hash, mix, unit};
use super::texture::Texture;

/// A colour as it is displayed, each channel 0 to 1.
pub type Rgb = [f32; 3];

/// The kind of drawing on a surface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// Rough paint.
    Plaster,
    /// Plaster with a grid of panel joints.
    Panels,
    /// A printed ornament on rough paper.
    Wallpaper,
    /// Floor boards.
    Planks,
    /// Planed wood with grain.
    Wood,
    /// A woven rug with an ornament.
    Carpet,
    /// Upholstery.
    Fabric,
    /// Discs, bars and lines of text.
    Poster,
    /// A painted landscape.
    Painting,
    /// A view through a window with a cross.
    Window,
    /// A panelled door.
    Door,
    /// The spine of a book.
    Spine,
    /// A parcel with tape and label.
    Cardboard,
    /// Foliage.
    Leaves,
    /// Veined stone or glazed pottery.
    Marble,
}

/// How a surface reflects light, everywhere alike from all sides (Lambert).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Material {
    /// The kind of drawing.
    pub pattern: Pattern,
    /// Its main colour.
    pub base: Rgb,
    /// Its second colour.
    pub accent: Rgb,
    /// Edge length in metres after which the drawing repeats; `None` fits it once to the surface.
    pub tile_m: Option<f32>,
    /// Light that the surface gives off by itself, relative to its albedo.
    pub glow: f32,
    /// Texels along one side: a power of two.
    pub texels: usize,
}

impl Material {
    /// Returns a material that repeats after a metre at 2 mm per texel.
    pub fn tiled(pattern: Pattern, base: Rgb, accent: Rgb) -> Self {
        Self { pattern, base, accent, tile_m: Some(1.024), glow: 0.0, texels: 512 }
    }

    /// Returns a material whose drawing fits the surface once, with 256 texels along each side.
    pub fn fitted(pattern: Pattern, base: Rgb, accent: Rgb) -> Self {
        Self { tile_m: None, texels: 256, ..Self::tiled(pattern, base, accent) }
    }

    /// Returns this material at another size: it repeats after `tile_m` metres.
    pub fn every_m(self, tile_m: f32, texels: usize) -> Self {
        Self { tile_m: Some(tile_m), texels, ..self }
    }

    /// Returns this material drawn with another number of texels along one side.
    pub fn with_texels(self, texels: usize) -> Self {
        Self { texels, ..self }
    }

    /// Returns this material giving off light.
    pub fn glowing(self, glow: f32) -> Self {
        Self { glow, ..self }
    }

    pub(super) fn texture(&self, seed: u64) -> Texture {
        Texture::bake(self.texels, |uv| self.displayed(seed, uv).map(|c| c.max(0.02).powi(2)))
    }

    fn displayed(&self, seed: u64, uv: [f32; 2]) -> Rgb {
        let brush = Brush { seed, uv, base: self.base, accent: self.accent };
        let color = match self.pattern {
            Pattern::Plaster => brush.plaster(),
            Pattern::Panels => brush.panels(),
            Pattern::Wallpaper => brush.wallpaper(),
            Pattern::Planks => brush.planks(),
            Pattern::Wood => brush.wood(),
            Pattern::Carpet => brush.carpet(),
            Pattern::Fabric => brush.fabric(),
            Pattern::Poster => brush.poster(),
            Pattern::Painting => brush.painting(),
            Pattern::Window => brush.window(),
            Pattern::Door => brush.door(),
            Pattern::Spine => brush.spine(),
            Pattern::Cardboard => brush.cardboard(),
            Pattern::Leaves => brush.leaves(),
            Pattern::Marble => brush.marble(),
        };
        let grain = 1.0 + 0.05 * fractal(derive(seed, 99), uv, [32, 32], 3);
        color.map(|c| c * grain)
    }
}

/// One point of a drawing.
struct Brush {
    seed: u64,
    uv: [f32; 2],
    base: Rgb,
    accent: Rgb,
}

impl Brush {
    fn noise(&self, part: u64, cells: [i32; 2], octaves: u32) -> f32 {
        fractal(derive(self.seed, part), self.uv, cells, octaves)
    }

    fn between(&self, share: f32) -> Rgb {
        blend(self.base, self.accent, share.clamp(0.0, 1.0))
    }

    fn plaster(&self) -> Rgb {
        let relief = 0.09 * self.noise(1, [8, 8], 6);
        let stain = smooth(0.5, 1.2, self.noise(2, [8, 8], 4));
        scale(self.between(0.6 * stain), 1.0 + relief)
    }

    fn panels(&self) -> Rgb {
        let joint =
            |x: f32| 1.0 - smooth(0.004, 0.010, (x * 2.0).fract().min(1.0 - (x * 2.0).fract()));
        let line = joint(self.uv[0]).max(joint(self.uv[1]));
        let holes = smooth(0.9, 1.3, self.noise(3, [64, 64], 1) + 0.5);
        scale(self.plaster(), 1.0 - 0.5 * line - 0.35 * holes)
    }

    fn wallpaper(&self) -> Rgb {
        let warp = 0.35 * self.noise(1, [4, 4], 4);
        let wave = |x: f32, n: f32| (std::f32::consts::TAU * n * x).cos();
        let [u, v] = self.uv;
        let flower = wave(u, 8.0) * wave(v, 6.0) + 0.4 * wave(u + v, 12.0) + warp;
        let stem = wave(u + 0.03 * wave(v, 3.0), 16.0);
        let print = smooth(0.25, 0.4, flower) + 0.35 * smooth(0.8, 0.9, stem);
        scale(self.between(0.75 * print), 1.0 + 0.08 * self.noise(2, [16, 16], 5))
    }

    fn planks(&self) -> Rgb {
        let [u, v] = self.uv;
        let row = (v * 16.0).floor();
        let shift = unit(derive(self.seed, row as u64));
        let along = (u + shift).fract() * 2.0;
        let tone = unit(derive(self.seed, row as u64 * 4 + along as u64 + 1000));
        let gap = edge(v * 16.0, 0.025).max(edge(along, 0.0025));
        let fibre = 0.16 * self.noise(5, [8, 128], 3) + 0.10 * self.noise(6, [16, 16], 5);
        scale(self.between(tone), (1.0 + fibre) * (1.0 - 0.65 * gap))
    }

    fn wood(&self) -> Rgb {
        let bend = self.noise(1, [2, 4], 4);
        let rings = (std::f32::consts::TAU * (self.uv[1] * 14.0 + 1.4 * bend)).sin();
        let fibre = 0.12 * self.noise(2, [8, 128], 3);
        scale(self.between(0.5 + 0.4 * rings), 1.0 + fibre)
    }

    fn carpet(&self) -> Rgb {
        let [u, v] = self.uv;
        let (x, y) = ((u - 0.5).abs(), (v - 0.5).abs());
        let rings = (std::f32::consts::TAU * 9.0 * x.max(y)).sin();
        let stars = ((u * 12.0).fract() - 0.5).abs() + ((v * 12.0).fract() - 0.5).abs();
        let ornament =
            if rings > 0.0 { smooth(0.42, 0.36, stars) } else { smooth(0.2, 0.3, stars) };
        let wool = 0.22 * self.noise(1, [128, 128], 2) + 0.10 * self.noise(2, [16, 16], 4);
        scale(self.between(ornament), 1.0 + wool)
    }

    fn fabric(&self) -> Rgb {
        let [u, v] = self.uv;
        let stripe = smooth(0.55, 0.75, (std::f32::consts::TAU * 8.0 * u).sin());
        let check = smooth(0.55, 0.75, (std::f32::consts::TAU * 8.0 * v).sin());
        let weave = 0.20 * self.noise(1, [128, 128], 3) + 0.12 * self.noise(2, [8, 8], 4);
        scale(self.between(0.5 * (stripe + check)), 1.0 + weave)
    }

    fn poster(&self) -> Rgb {
        let mut color = self.between(0.3 + 0.3 * self.noise(1, [2, 2], 3));
        for shape in 0..12 {
            color = blend(color, self.hue(shape), self.shape(shape));
        }
        let ink = self.text(28.0, 0.72, 0.95).max(self.text(14.0, 0.04, 0.16));
        let border = 1.0 - smooth(0.02, 0.025, self.border());
        scale(blend(color, [0.08, 0.08, 0.10], ink), 1.0 - 0.6 * border)
    }

    fn painting(&self) -> Rgb {
        let v = self.uv[1];
        let ridge = |part: u64, height: f32, rough: f32| {
            smooth(0.0, 0.006, v - height - rough * self.noise(part, [4, 1], 6))
        };
        let sky =
            blend(self.accent, [0.93, 0.88, 0.80], smooth(-0.5, 0.9, self.noise(1, [4, 4], 5)));
        let far = scale(self.accent, 0.62 + 0.2 * self.noise(2, [16, 16], 5));
        let near = scale(self.base, 0.75 + 0.35 * self.noise(3, [16, 16], 5));
        let hills = blend(blend(sky, far, ridge(4, 0.45, 0.08)), near, ridge(5, 0.68, 0.07));
        let stroke = 1.0 + 0.12 * self.noise(6, [32, 16], 3);
        scale(hills, stroke)
    }

    fn window(&self) -> Rgb {
        let view = self.painting();
        let [u, v] = self.uv;
        let bar = |x: f32, at: f32| 1.0 - smooth(0.022, 0.026, (x - at).abs());
        let frame = 1.0 - smooth(0.045, 0.05, self.border());
        let cross = frame.max(bar(u, 0.5)).max(bar(v, 0.35));
        blend(view, [0.80, 0.79, 0.76], cross)
    }

    fn door(&self) -> Rgb {
        let [u, v] = self.uv;
        let column = ((u * 2.0).fract() - 0.5).abs();
        let row = ((v * 3.0).fract() - 0.5).abs();
        let inset = (0.36 - column).min((0.40 - row) * 0.7);
        let bevel = smooth(0.03, 0.0, inset.abs());
        let shadow = if inset > 0.0 { 0.88 } else { 1.0 };
        scale(self.wood(), shadow * (1.0 - 0.45 * bevel))
    }

    fn spine(&self) -> Rgb {
        let [u, v] = self.uv;
        let style = unit(derive(self.seed, 1));
        let band = |at: f32, wide: f32| 1.0 - smooth(wide, wide + 0.01, (v - at).abs());
        let bands = band(0.10, 0.02).max(band(0.88, 0.015)).max(band(0.16 + 0.1 * style, 0.008));
        let letters = self.text(20.0, 0.32, 0.70) * (1.0 - smooth(0.28, 0.3, (u - 0.5).abs()));
        let worn = 1.0 + 0.15 * self.noise(2, [8, 16], 5);
        scale(self.between(bands.max(letters)), worn)
    }

    fn cardboard(&self) -> Rgb {
        let [u, v] = self.uv;
        let flute = 0.05 * (std::f32::consts::TAU * 60.0 * u).sin();
        let tape = 1.0 - smooth(0.07, 0.075, (v - 0.5).abs());
        let label = smooth(0.0, 0.01, (0.16 - (u - 0.28).abs()).min(0.12 - (v - 0.24).abs()));
        let print = self.text(40.0, 0.14, 0.34) * label;
        let board = scale(self.base, 1.0 + flute + 0.14 * self.noise(1, [4, 4], 5));
        let taped = blend(board, self.accent, 0.6 * tape);
        blend(blend(taped, [0.88, 0.87, 0.83], label), [0.1, 0.1, 0.12], print)
    }

    fn leaves(&self) -> Rgb {
        let leaf = self.noise(1, [16, 16], 2);
        let vein = 0.25 * self.noise(2, [32, 32], 4);
        scale(self.between(0.5 + 0.8 * leaf), 0.75 + 0.4 * smooth(-0.3, 0.4, leaf) + vein)
    }

    fn marble(&self) -> Rgb {
        let bend = self.noise(1, [4, 4], 5);
        let vein = (std::f32::consts::TAU * (5.0 * self.uv[0] + 1.2 * bend)).sin();
        scale(self.between(smooth(0.2, 0.7, vein)), 1.0 + 0.10 * self.noise(2, [16, 16], 5))
    }

    /// Coverage of a random disc or bar.
    fn shape(&self, index: u64) -> f32 {
        let [a, b, c, d] = std::array::from_fn(|k| self.random(index * 8 + k as u64 + 1));
        let (x, y) = (self.uv[0] - a, self.uv[1] - b * 0.7);
        let inside = if d < 0.55 {
            0.04 + 0.16 * c - x.hypot(y)
        } else {
            (0.02 + 0.25 * c - x.abs()).min(0.015 + 0.1 * (d - 0.5) - y.abs())
        };
        smooth(0.0, 0.006, inside)
    }

    fn hue(&self, index: u64) -> Rgb {
        std::array::from_fn(|c| 0.15 + 0.8 * self.random(index * 8 + 500 + c as u64))
    }

    /// Coverage of `lines` lines of words per unit of height, between rows `top` and `bottom`.
    fn text(&self, lines: f32, top: f32, bottom: f32) -> f32 {
        let [u, v] = self.uv;
        if v < top || v > bottom || !(0.06..0.94).contains(&u) {
            return 0.0;
        }
        let (line, letter) = ((v * lines).floor(), (u * lines * 2.2).floor());
        let written = self.random(7000 + line as u64 * 512 + letter as u64) > 0.22;
        let height = smooth(0.34, 0.28, ((v * lines).fract() - 0.5).abs());
        let width = smooth(0.44, 0.36, ((u * lines * 2.2).fract() - 0.5).abs());
        if written { height * width } else { 0.0 }
    }

    fn border(&self) -> f32 {
        let [u, v] = self.uv;
        u.min(1.0 - u).min(v.min(1.0 - v))
    }

    fn random(&self, part: u64) -> f32 {
        unit(hash(self.seed ^ part.wrapping_mul(0x2545_f491_4f6c_dd1d)))
    }
}

/// 1 within `width` of a whole number of `x`, 0 beyond twice that.
fn edge(x: f32, width: f32) -> f32 {
    1.0 - smooth(width, 2.0 * width, x.fract().min(1.0 - x.fract()))
}

fn smooth(from: f32, to: f32, x: f32) -> f32 {
    let t = ((x - from) / (to - from)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

fn scale(color: Rgb, factor: f32) -> Rgb {
    color.map(|c| c * factor)
}

fn blend(a: Rgb, b: Rgb, t: f32) -> Rgb {
    std::array::from_fn(|c| mix(a[c], b[c], t))
}
