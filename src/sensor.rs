//! What is known of the camera as a measuring device.

/// The depth sensor, and the size at which frames are worked with.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SensorConfig {
    /// Images wider than this are reduced by a whole factor before anything else.
    #[schemars(range(min = 64, max = 4096))]
    pub max_width_px: u32,
    /// Depths beyond this are not used, metres.
    #[schemars(range(min = 0.1, max = 1000.0))]
    pub max_range_m: f64,
    /// Added to every depth, metres: what the sensor measures too little. Structured light and
    /// time of flight are often off by centimetres.
    #[schemars(range(min = -0.5, max = 0.5))]
    pub depth_offset_m: f64,
    /// Whether such an offset is looked for while a map is made by sensor-depth, and when a whole map
    /// is refined.
    pub estimate_depth_offset: bool,
    /// Standard deviation of depth close to the camera, metres.
    #[schemars(range(min = 0.000_01, max = 1.0))]
    pub depth_noise_floor_m: f64,
    /// Growth of the standard deviation of depth with its square, 1/m.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub depth_noise_per_m2: f64,
    /// Pixels whose depth differs from a neighbour's by more than this share fly between surfaces
    /// and are left out.
    #[schemars(range(min = 0.001, max = 1.0))]
    pub edge_step_frac: f64,
    /// Surfaces seen more obliquely than this, from their normal in degrees, are left out.
    #[schemars(range(min = 10.0, max = 90.0))]
    pub max_incidence_deg: f64,
}

impl Default for SensorConfig {
    fn default() -> Self {
        Self {
            max_width_px: 426,
            max_range_m: 6.0,
            depth_offset_m: 0.0,
            estimate_depth_offset: true,
            depth_noise_floor_m: 0.002,
            depth_noise_per_m2: 0.0025,
            edge_step_frac: 0.04,
            max_incidence_deg: 80.0,
        }
    }
}

impl SensorConfig {
    /// Returns how uncertain the sensor's depth is.
    pub fn noise(&self) -> DepthNoise {
        DepthNoise { floor_m: self.depth_noise_floor_m, per_m2: self.depth_noise_per_m2 }
    }
}

/// How uncertain a depth is: structured light and stereo lose precision with its square.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DepthNoise {
    /// Standard deviation close to the camera, metres.
    pub floor_m: f64,
    /// Growth of the standard deviation with the squared depth, 1/m.
    pub per_m2: f64,
}

impl DepthNoise {
    /// Returns the standard deviation of a depth, metres.
    #[inline]
    pub fn sigma_m(&self, depth_m: f64) -> f64 {
        self.floor_m + self.per_m2 * depth_m * depth_m
    }
}
