//! What alignment says of itself while it goes on.

/// Which search goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Matches as 3D distances.
    Coarse,
    /// Matches as reprojections.
    Fine,
    /// Pointmaps of all pairs at once.
    Global,
}

/// An iteration that was done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Iteration {
    /// Of which search.
    pub stage: Stage,
    /// How many have been done, this one included.
    pub done: usize,
    /// How many there will be at most.
    pub most: usize,
    /// The loss after it; the fine stage rounds it off at first.
    pub loss: f64,
}

/// Is told of each iteration as it is done.
pub type Watch<'a> = &'a dyn Fn(Iteration);
