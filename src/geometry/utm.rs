//! Where a place on Earth is in the plane of its UTM zone (WGS 84).

use std::f64::consts::TAU;

/// Semi-major axis of WGS 84, metres.
const EQUATOR_RADIUS_M: f64 = 6_378_137.0;
const FLATTENING: f64 = 1.0 / 298.257_223_563;
/// Scale on a zone's middle meridian.
const MIDDLE_SCALE: f64 = 0.9996;
const FALSE_EASTING_M: f64 = 500_000.0;
/// Of places south of the equator.
const FALSE_NORTHING_M: f64 = 10_000_000.0;
/// Beyond these latitudes there are no zones, degrees.
const LATITUDES_DEG: [f64; 2] = [-80.0, 84.0];

/// A place in the plane of a UTM zone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UtmPlace {
    /// From 1 to 60, each of six degrees of longitude; the exceptions about Norway are not made.
    pub zone: u8,
    /// Whether northings count from the equator northwards.
    pub is_north: bool,
    /// Metres.
    pub easting_m: f64,
    /// Metres.
    pub northing_m: f64,
    /// The plane's north from true north, radians clockwise.
    pub convergence_rad: f64,
    /// Metres in the plane for each metre on the ellipsoid.
    pub scale: f64,
}

impl UtmPlace {
    /// Returns where a place of the given latitude and longitude (degrees, WGS 84) is, or `None`
    /// beyond 80° south and 84° north. By Krüger's series to the third order (Kawase, "Concise
    /// derivation of extensive coordinate conversion formulae in the Gauss-Krüger projection",
    /// Bulletin of the GSI 60, 2013), which is right to a millimetre.
    pub fn of(latitude_deg: f64, longitude_deg: f64) -> Option<Self> {
        let [south, north] = LATITUDES_DEG;
        if !((south..=north).contains(&latitude_deg) && longitude_deg.abs() <= 180.0) {
            return None;
        }
        let zone = (((longitude_deg + 180.0) / 6.0).floor() as u8 + 1).min(60);
        let from_middle = (longitude_deg - (6.0 * f64::from(zone) - 183.0)).to_radians();
        let n = FLATTENING / (2.0 - FLATTENING);
        let radius_m = EQUATOR_RADIUS_M / (1.0 + n) * (1.0 + n * n / 4.0 + n.powi(4) / 64.0);
        let (sin, tan) = (latitude_deg.to_radians().sin(), latitude_deg.to_radians().tan());
        let c = 2.0 * n.sqrt() / (1.0 + n);
        let t = (sin.atanh() - c * (c * sin).atanh()).sinh();
        let root = t.hypot(1.0);
        let [xi, eta] = [t.atan2(from_middle.cos()), (from_middle.sin() / root).atanh()];
        let (mut north, mut east, mut sigma, mut tau) = (xi, eta, 1.0, 0.0);
        for (twice, alpha) in [2.0, 4.0, 6.0].into_iter().zip(series(n)) {
            let ((sin, cos), (sinh, cosh)) =
                ((twice * xi).sin_cos(), ((twice * eta).sinh(), (twice * eta).cosh()));
            north += alpha * sin * cosh;
            east += alpha * cos * sinh;
            sigma += twice * alpha * cos * cosh;
            tau += twice * alpha * sin * sinh;
        }
        let turned = t * from_middle.tan();
        let flattened = (1.0 - n) / (1.0 + n) * tan;
        let stretched = (1.0 + flattened * flattened) * (sigma * sigma + tau * tau)
            / (t * t + from_middle.cos().powi(2));
        let false_northing_m = if latitude_deg < 0.0 { FALSE_NORTHING_M } else { 0.0 };
        Some(Self {
            zone,
            is_north: latitude_deg >= 0.0,
            easting_m: FALSE_EASTING_M + MIDDLE_SCALE * radius_m * east,
            northing_m: false_northing_m + MIDDLE_SCALE * radius_m * north,
            convergence_rad: (tau * root + sigma * turned).atan2(sigma * root - tau * turned),
            scale: MIDDLE_SCALE * radius_m / EQUATOR_RADIUS_M * stretched.sqrt(),
        })
    }

    /// Returns the zone's number at EPSG.
    pub fn epsg(&self) -> u16 {
        let first = if self.is_north { 32_600 } else { 32_700 };
        first + u16::from(self.zone)
    }

    /// Returns easting and northing of a point that lies `x_m` and `y_m` from the place, along axes
    /// of which that of y points `heading_deg` clockwise from true north: metres.
    pub fn offset_by(&self, heading_deg: f64, x_m: f64, y_m: f64) -> [f64; 2] {
        let (sin, cos) =
            (heading_deg.to_radians() - self.convergence_rad).rem_euclid(TAU).sin_cos();
        let [east_m, north_m] = [x_m * cos + y_m * sin, y_m * cos - x_m * sin];
        [self.easting_m + self.scale * east_m, self.northing_m + self.scale * north_m]
    }
}

/// Coefficients of the series, from the third flattening.
fn series(n: f64) -> [f64; 3] {
    let [n2, n3] = [n * n, n * n * n];
    [
        n / 2.0 - 2.0 / 3.0 * n2 + 5.0 / 16.0 * n3,
        13.0 / 48.0 * n2 - 3.0 / 5.0 * n3,
        61.0 / 240.0 * n3,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Latitude, longitude, and what PROJ 9 says of them: zone, easting, northing, convergence in
    /// degrees, scale.
    const KNOWN: [(f64, f64, u8, f64, f64, f64, f64); 5] = [
        (48.137, 11.575, 32, 691567.3263841465, 5334734.33048176, 1.9182926281, 1.0000509362),
        (-33.8688, 151.2093, 56, 334368.633648097, 6250948.345385009, 0.9981718559, 0.9999382005),
        (0.0, -78.5, 17, 778276.3168286406, 0.0, 0.0, 1.0005587315),
        (71.9, 28.9, 35, 565873.763628515, 7978816.694017209, 1.8060439003, 0.9996530679),
        (40.0, 8.9999, 32, 499991.4640300585, 4427757.218743162, -0.0000642788, 0.9996),
    ];

    #[test]
    fn places_are_where_proj_puts_them() {
        for (latitude, longitude, zone, easting_m, northing_m, convergence_deg, scale) in KNOWN {
            let found = UtmPlace::of(latitude, longitude).unwrap();
            assert_eq!(found.zone, zone);
            assert!((found.easting_m - easting_m).abs() < 1e-3, "{found:?}");
            assert!((found.northing_m - northing_m).abs() < 1e-3, "{found:?}");
            assert!(
                (found.convergence_rad.to_degrees() - convergence_deg).abs() < 1e-7,
                "{found:?}"
            );
            assert!((found.scale - scale).abs() < 1e-8, "{found:?}");
        }
        assert_eq!(UtmPlace::of(-33.9, 151.2).unwrap().epsg(), 32756);
        assert_eq!(UtmPlace::of(10.0, 180.0).unwrap().epsg(), 32660);
        assert!(UtmPlace::of(85.0, 0.0).is_none() && UtmPlace::of(0.0, f64::NAN).is_none());
    }

    /// A degree's ten-thousandth to the north and to the east, by a plane at the place.
    #[test]
    fn a_way_to_the_north_leads_north_whatever_the_axes() {
        let here = UtmPlace::of(48.137, 11.575).unwrap();
        let north = UtmPlace::of(48.1371, 11.575).unwrap();
        let way_m = (north.easting_m - here.easting_m).hypot(north.northing_m - here.northing_m);
        let way_m = way_m / here.scale;
        for (heading_deg, x_m, y_m) in
            [(0.0, 0.0, way_m), (90.0, -way_m, 0.0), (-90.0, way_m, 0.0), (180.0, 0.0, -way_m)]
        {
            let [easting_m, northing_m] = here.offset_by(heading_deg, x_m, y_m);
            let error_m = (easting_m - north.easting_m).hypot(northing_m - north.northing_m);
            assert!(error_m < 1e-3, "{heading_deg}: {error_m} m");
        }
    }
}
