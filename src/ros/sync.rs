//! Which depth image goes with which colour image, as they arrive.

use std::collections::VecDeque;

use crate::stamp::Stamp;

/// A message that waits: the bytes, with what its header says.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// Time of acquisition.
    pub stamp: Stamp,
    /// Frame of the header.
    pub frame_id: String,
    /// The whole message.
    pub data: Vec<u8>,
    /// When it arrived, in seconds of the caller's clock.
    pub arrived_secs: f64,
}

/// Pairs images at the earliest moment at which the partner is certain: latency counts here.
#[derive(Debug)]
pub struct Synchronizer {
    with_depth: bool,
    max_difference_secs: f64,
    queue_size: usize,
    colors: VecDeque<Waiting>,
    depths: VecDeque<Waiting>,
    latest_depth: Option<Stamp>,
    latest_color: Option<Stamp>,
    unpaired: u64,
}

impl Synchronizer {
    /// Returns one that accepts differences up to `max_difference_secs` (0 for equal stamps only),
    /// and holds at most `queue_size` images of each kind.
    pub fn new(with_depth: bool, max_difference_secs: f64, queue_size: usize) -> Self {
        Self {
            with_depth,
            max_difference_secs,
            queue_size: queue_size.max(1),
            colors: VecDeque::new(),
            depths: VecDeque::new(),
            latest_depth: None,
            latest_color: None,
            unpaired: 0,
        }
    }

    /// Takes in a colour image; where too many wait, the oldest is given up.
    pub fn push_color(&mut self, color: Waiting) {
        if self.colors.len() == self.queue_size {
            self.colors.pop_front();
            self.unpaired += 1;
        }
        self.latest_color = Some(color.stamp);
        self.colors.push_back(color);
    }

    /// Takes in a depth image.
    pub fn push_depth(&mut self, depth: Waiting) {
        if self.depths.len() == self.queue_size {
            self.depths.pop_front();
        }
        self.latest_depth = self.latest_depth.max(Some(depth.stamp));
        self.depths.push_back(depth);
    }

    /// Returns the oldest pair whose partner is certain.
    pub fn take(&mut self) -> Option<(Waiting, Option<Waiting>)> {
        if !self.with_depth {
            return Some((self.colors.pop_front()?, None));
        }
        loop {
            let stamp = self.colors.front()?.stamp;
            let partner = self.partner(stamp);
            let is_exact = partner.is_some_and(|index| self.depths[index].stamp == stamp);
            if !is_exact && self.latest_depth.is_none_or(|latest| latest < stamp) {
                return None;
            }
            let color = self.colors.pop_front()?;
            match partner.and_then(|index| self.depths.remove(index)) {
                Some(depth) => {
                    self.depths.retain(|other| other.stamp > depth.stamp);
                    return Some((color, Some(depth)));
                }
                None => self.unpaired += 1,
            }
        }
    }

    /// Forgets what waits.
    pub fn clear(&mut self) {
        self.colors.clear();
        self.depths.clear();
        (self.latest_depth, self.latest_color) = (None, None);
    }

    /// Forgets what waits, but for depth images that may belong to a colour image at `stamp`, which
    /// may have arrived before it.
    pub fn begin_at(&mut self, stamp: Stamp) {
        self.colors.clear();
        self.depths.retain(|depth| depth.stamp.secs_since(stamp).abs() <= self.max_difference_secs);
        self.latest_depth = self.depths.back().map(|depth| depth.stamp);
        self.latest_color = None;
    }

    /// Returns how many colour images had no partner.
    pub fn unpaired(&self) -> u64 {
        self.unpaired
    }

    /// Returns by how much the newest stamps differ, colour less depth, where both came.
    pub fn stamp_difference_secs(&self) -> Option<f64> {
        Some(self.latest_color?.secs_since(self.latest_depth?))
    }

    /// The depth image nearest to a stamp, unless it is nearer to the next colour image.
    fn partner(&self, stamp: Stamp) -> Option<usize> {
        let apart = |a: Stamp, b: Stamp| a.secs_since(b).abs();
        let next = self.colors.get(1).map(|next| next.stamp);
        let fits = |depth: Stamp| {
            apart(depth, stamp) <= self.max_difference_secs
                && next.is_none_or(|next| apart(depth, stamp) <= apart(depth, next))
        };
        let candidates = self.depths.iter().enumerate().filter(|(_, depth)| fits(depth.stamp));
        candidates
            .min_by(|(_, a), (_, b)| apart(a.stamp, stamp).total_cmp(&apart(b.stamp, stamp)))
            .map(|(index, _)| index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(ms: i64) -> Waiting {
        Waiting {
            stamp: Stamp::from_nanos(ms * 1_000_000),
            frame_id: String::new(),
            data: vec![],
            arrived_secs: 0.0,
        }
    }

    /// Feeds `c` and `d` images in order of arrival; returns the pairs as soon as they are made.
    fn pairs(slop_secs: f64, arrivals: &[(char, i64)]) -> Vec<(i64, i64)> {
        let mut sync = Synchronizer::new(true, slop_secs, 10);
        let mut found = Vec::new();
        for &(kind, ms) in arrivals {
            match kind {
                'c' => sync.push_color(image(ms)),
                _ => sync.push_depth(image(ms)),
            }
            while let Some((color, depth)) = sync.take() {
                let millis = |w: &Waiting| w.stamp.nanos() / 1_000_000;
                found.push((millis(&color), millis(&depth.unwrap())));
            }
        }
        found
    }

    #[test]
    fn pairs_are_made_by_the_policy() {
        let equal = [('c', 0), ('d', 0), ('d', 33), ('c', 33)];
        let near = [('c', 0), ('d', 5), ('d', 30), ('c', 33), ('d', 63), ('c', 67), ('d', 96)];
        /// The slop, what arrives (colour or depth, at which millisecond), and the pairs.
        type Case<'a> = (f64, &'a [(char, i64)], &'a [(i64, i64)]);
        let cases: [Case<'_>; 5] = [
            (0.0, &equal, &[(0, 0), (33, 33)]),
            (0.0, &near, &[]),
            (0.02, &near, &[(0, 5), (33, 30), (67, 63)]),
            (0.02, &[('c', 0), ('d', 50), ('c', 50)], &[(50, 50)]),
            (0.02, &[('d', 0), ('d', 10), ('c', 11), ('d', 20)], &[(11, 10)]),
        ];
        for (slop, arrivals, expected) in cases {
            assert_eq!(pairs(slop, arrivals), expected, "{arrivals:?}");
        }
    }

    #[test]
    fn queues_are_bounded_and_what_is_given_up_is_counted() {
        let mut sync = Synchronizer::new(true, 0.02, 3);
        for index in 0..10 {
            sync.push_color(image(index * 33));
        }
        assert!(sync.take().is_none());
        assert_eq!(sync.unpaired(), 7);
        sync.push_depth(image(297));
        assert_eq!(sync.take().unwrap().0, image(297));
        assert_eq!(sync.unpaired(), 9);
        assert!(sync.stamp_difference_secs().unwrap().abs() < 1e-12);
        sync.clear();
        assert_eq!(sync.stamp_difference_secs(), None);
    }

    #[test]
    fn a_new_beginning_keeps_the_depth_that_came_first() {
        let mut sync = Synchronizer::new(true, 0.02, 10);
        sync.push_depth(image(9000));
        sync.push_color(image(9033));
        sync.push_depth(image(1));
        sync.begin_at(Stamp::from_nanos(0));
        sync.push_color(image(0));
        assert_eq!(sync.take(), Some((image(0), Some(image(1)))));
    }

    #[test]
    fn without_depth_every_colour_image_goes_on_at_once() {
        let mut sync = Synchronizer::new(false, 0.0, 3);
        sync.push_color(image(0));
        assert_eq!(sync.take(), Some((image(0), None)));
    }
}
