//! ROS messages in CDR, written field by field.

/// A CDR writer of either byte order.
pub struct Cdr {
    bytes: Vec<u8>,
    big_endian: bool,
}

impl Cdr {
    pub fn new(big_endian: bool) -> Self {
        Self { bytes: vec![0, u8::from(!big_endian), 0, 0], big_endian }
    }

    pub fn done(self) -> Vec<u8> {
        self.bytes
    }

    fn align(&mut self, size: usize) {
        while !(self.bytes.len() - 4).is_multiple_of(size) {
            self.bytes.push(0);
        }
    }

    fn put<const N: usize>(mut self, le: [u8; N], be: [u8; N]) -> Self {
        self.align(N);
        self.bytes.extend(if self.big_endian { be } else { le });
        self
    }

    pub fn u8(mut self, value: u8) -> Self {
        self.bytes.push(value);
        self
    }

    pub fn u32(self, value: u32) -> Self {
        self.put(value.to_le_bytes(), value.to_be_bytes())
    }

    pub fn f64(self, value: f64) -> Self {
        self.put(value.to_le_bytes(), value.to_be_bytes())
    }

    pub fn f64s(self, values: &[f64]) -> Self {
        values.iter().fold(self, |cdr, &value| cdr.f64(value))
    }

    pub fn string(self, text: &str) -> Self {
        let mut cdr = self.u32(text.len() as u32 + 1);
        cdr.bytes.extend(text.as_bytes());
        cdr.bytes.push(0);
        cdr
    }

    pub fn bytes(self, bytes: &[u8]) -> Self {
        let mut cdr = self.u32(bytes.len() as u32);
        cdr.bytes.extend(bytes);
        cdr
    }

    pub fn header(self, nanos: i64, frame: &str) -> Self {
        let (secs, rest) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
        self.u32(secs as i32 as u32).u32(rest as u32).string(frame)
    }
}

/// The fields of `sensor_msgs/Image` that tests vary.
pub struct Image<'a> {
    pub nanos: i64,
    pub frame: &'a str,
    pub width: u32,
    pub height: u32,
    pub encoding: &'a str,
    pub step: u32,
    pub data: &'a [u8],
}

impl Image<'_> {
    pub fn cdr(&self, big_endian: bool) -> Vec<u8> {
        Cdr::new(big_endian)
            .header(self.nanos, self.frame)
            .u32(self.height)
            .u32(self.width)
            .string(self.encoding)
            .u8(u8::from(big_endian))
            .u32(self.step)
            .bytes(self.data)
            .done()
    }
}

pub fn compressed(nanos: i64, frame: &str, format: &str, data: &[u8]) -> Vec<u8> {
    Cdr::new(false).header(nanos, frame).string(format).bytes(data).done()
}

pub fn camera_info(nanos: i64, frame: &str, focal: f64, size: (u32, u32)) -> Vec<u8> {
    let (cx, cy) = (f64::from(size.0) / 2.0, f64::from(size.1) / 2.0);
    Cdr::new(false)
        .header(nanos, frame)
        .u32(size.1)
        .u32(size.0)
        .string("plumb_bob")
        .u32(5)
        .f64s(&[0.0; 5])
        .f64s(&[focal, 0.0, cx, 0.0, focal, cy, 0.0, 0.0, 1.0])
        .f64s(&[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0])
        .f64s(&[focal, 0.0, cx, 0.0, 0.0, focal, cy, 0.0, 0.0, 0.0, 1.0, 0.0])
        .u32(0)
        .u32(0)
        .u32(0)
        .u32(0)
        .u32(0)
        .u32(0)
        .u8(0)
        .done()
}

/// A robot at `x` metres on the way forward, looking along it.
pub fn odometry(nanos: i64, child: &str, x: f64, variance: f64) -> Vec<u8> {
    let mut covariance = [0.0; 36];
    (0..6).for_each(|i| covariance[i * 7] = variance);
    Cdr::new(false)
        .header(nanos, "odom")
        .string(child)
        .f64s(&[x, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
        .f64s(&covariance)
        .f64s(&[0.0; 6])
        .f64s(&[0.0; 36])
        .done()
}

/// One transform: translation, then quaternion x y z w.
pub fn transform(nanos: i64, parent: &str, child: &str, values: [f64; 7]) -> Vec<u8> {
    Cdr::new(false).u32(1).header(nanos, parent).string(child).f64s(&values).done()
}
