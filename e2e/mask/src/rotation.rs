//! A rigid move of positions: distances and angles stay as they are.

/// A rotation of the globe, as the new directions of its three axes.
#[derive(Debug)]
pub(crate) struct Rotation([[f64; 3]; 3]);

impl Rotation {
    /// The rotation of a seed: about each axis by an angle of its own.
    pub(crate) fn of(seed: u64) -> Self {
        let mut draws = fastrand::Rng::with_seed(seed ^ 0x9e37_79b9_7f4a_7c15);
        let mut angle = || draws.f64() * std::f64::consts::TAU;
        let about = |axis: usize, angle: f64| {
            let (one, other) = ((axis + 1) % 3, (axis + 2) % 3);
            let mut matrix = [[0.0; 3]; 3];
            matrix[axis][axis] = 1.0;
            matrix[one][one] = angle.cos();
            matrix[other][other] = angle.cos();
            matrix[one][other] = -angle.sin();
            matrix[other][one] = angle.sin();
            matrix
        };
        let times = |a: [[f64; 3]; 3], b: [[f64; 3]; 3]| {
            std::array::from_fn(|row| std::array::from_fn(|column| (0..3).map(|at| a[row][at] * b[at][column]).sum()))
        };
        Self(times(times(about(0, angle()), about(1, angle())), about(2, angle())))
    }

    /// Latitude and longitude in degrees, moved.
    pub(crate) fn apply(&self, [latitude, longitude]: [f64; 2]) -> [f64; 2] {
        let (latitude, longitude) = (latitude.to_radians(), longitude.to_radians());
        let from = [latitude.cos() * longitude.cos(), latitude.cos() * longitude.sin(), latitude.sin()];
        let to: [f64; 3] = std::array::from_fn(|row| (0..3).map(|at| self.0[row][at] * from[at]).sum());
        [to[2].clamp(-1.0, 1.0).asin().to_degrees(), to[1].atan2(to[0]).to_degrees()]
    }
}
