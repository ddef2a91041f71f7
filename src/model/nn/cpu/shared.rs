//! A result that several threads write.
#![allow(unsafe_code)]

/// Where the result begins. Whoever writes through it says why no other thread writes there.
#[derive(Clone, Copy)]
pub struct Shared(pub *mut f32);
// SAFETY: threads write disjoint parts of what it points to, which each writer promises.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}
