//! Bringing together colour and depth images that arrive one after the other.

use std::collections::VecDeque;

use crate::stamp::Stamp;

/// How many images may wait: three seconds at 30 Hz.
const MAX_WAITING: usize = 90;

/// An image that has not been decoded yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// Time of acquisition.
    pub stamp: Stamp,
    /// Frame of the header.
    pub frame_id: String,
    /// The whole message.
    pub data: Vec<u8>,
}

/// Pairs each colour image with the depth image nearest in time, which serves once.
#[derive(Debug)]
pub struct Pairing {
    colors: VecDeque<Waiting>,
    depths: VecDeque<Waiting>,
    latest_depth: Option<Stamp>,
    with_depth: bool,
    max_difference_nanos: u64,
    /// Whether no further colour image comes.
    closed: bool,
}

impl Pairing {
    /// Returns a pairing that accepts differences of stamps up to a limit.
    pub fn new(with_depth: bool, max_difference_secs: f64) -> Self {
        Self {
            colors: VecDeque::new(),
            depths: VecDeque::new(),
            latest_depth: None,
            with_depth,
            max_difference_nanos: (max_difference_secs * 1e9).round() as u64,
            closed: false,
        }
    }

    /// Takes in a colour image.
    pub fn push_color(&mut self, color: Waiting) {
        self.colors.push_back(color);
    }

    /// Takes in a depth image.
    pub fn push_depth(&mut self, depth: Waiting) {
        if self.depths.len() == MAX_WAITING {
            self.depths.pop_front();
        }
        self.latest_depth = self.latest_depth.max(Some(depth.stamp));
        self.depths.push_back(depth);
    }

    /// Tells that no further colour image comes.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Returns whether no colour image waits.
    pub fn is_empty(&self) -> bool {
        self.colors.is_empty()
    }

    /// Returns whether the queue is so long that waiting must end.
    pub fn is_full(&self) -> bool {
        self.colors.len() >= MAX_WAITING
    }

    /// Returns the oldest colour image if its partner is certain.
    pub fn next_certain(&self) -> Option<&Waiting> {
        let color = self.colors.front()?;
        let passed = |latest: Stamp| {
            latest > color.stamp
                && self.difference(latest, color.stamp) >= self.max_difference_nanos
        };
        // The next colour image may lie nearer to the same depth image.
        let next_known = self.colors.len() > 1 || self.closed;
        let decided = next_known && self.latest_depth.is_some_and(passed);
        let exact = || self.depths.iter().any(|depth| depth.stamp == color.stamp);
        (!self.with_depth || decided || exact()).then_some(color)
    }

    /// Takes out the oldest colour image with its partner as far as that is known.
    pub fn pop(&mut self) -> Option<(Waiting, Option<Waiting>)> {
        let color = self.colors.pop_front()?;
        let partner = self.partner(color.stamp);
        let depth = partner.and_then(|index| self.depths.remove(index));
        let limit = self.max_difference_nanos;
        let old = |depth: &Waiting| {
            depth.stamp < color.stamp && depth.stamp.nanos().abs_diff(color.stamp.nanos()) >= limit
        };
        self.depths.retain(|depth| !old(depth));
        Some((color, depth))
    }

    fn partner(&self, color: Stamp) -> Option<usize> {
        let next = self.colors.front().map(|next| next.stamp);
        let candidates = self
            .depths
            .iter()
            .enumerate()
            .map(|(index, depth)| (self.difference(depth.stamp, color), index, depth.stamp));
        candidates
            .filter(|(difference, _, _)| *difference <= self.max_difference_nanos)
            .filter(|(difference, _, stamp)| {
                next.is_none_or(|next| *difference <= self.difference(*stamp, next))
            })
            .min()
            .map(|(_, index, _)| index)
    }

    fn difference(&self, a: Stamp, b: Stamp) -> u64 {
        a.nanos().abs_diff(b.nanos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(ms: i64) -> Waiting {
        Waiting { stamp: Stamp::from_nanos(ms * 1_000_000), frame_id: String::new(), data: vec![] }
    }

    fn millis(image: &Waiting) -> i64 {
        image.stamp.nanos() / 1_000_000
    }

    /// Feeds `c` and `d` images in order of arrival and returns the pairs.
    fn pairs(arrivals: &[(char, i64)]) -> Vec<(i64, Option<i64>)> {
        let mut pairing = Pairing::new(true, 0.02);
        let mut found = Vec::new();
        let mut take = |pairing: &mut Pairing, certain: bool| {
            while !certain && !pairing.is_empty() || pairing.next_certain().is_some() {
                let (color, depth) = pairing.pop().unwrap();
                found.push((millis(&color), depth.as_ref().map(millis)));
            }
        };
        for &(kind, ms) in arrivals {
            if kind == 'c' {
                pairing.push_color(image(ms))
            } else {
                pairing.push_depth(image(ms))
            }
            take(&mut pairing, true);
        }
        take(&mut pairing, false);
        found
    }

    #[test]
    fn partners_are_nearest_whatever_the_order_of_arrival() {
        let expected = [(0, Some(2)), (33, Some(31)), (67, None), (100, Some(100))];
        let arrivals = [
            [('c', 0), ('c', 33), ('c', 67), ('c', 100), ('d', 2), ('d', 31), ('d', 100)],
            [('d', 2), ('d', 31), ('d', 100), ('c', 0), ('c', 33), ('c', 67), ('c', 100)],
            [('c', 0), ('d', 2), ('c', 33), ('d', 31), ('c', 67), ('c', 100), ('d', 100)],
        ];
        for arrivals in arrivals {
            assert_eq!(pairs(&arrivals), expected, "{arrivals:?}");
        }
    }

    #[test]
    fn a_depth_image_goes_to_the_nearer_of_two() {
        let arrivals = [('c', 0), ('d', 18), ('c', 33), ('d', 67), ('c', 67)];
        assert_eq!(pairs(&arrivals), [(0, None), (33, Some(18)), (67, Some(67))]);
    }

    #[test]
    fn the_last_colour_image_does_not_wait_for_another() {
        let mut pairing = Pairing::new(true, 0.02);
        pairing.push_color(image(0));
        pairing.push_depth(image(1));
        pairing.push_depth(image(30));
        assert!(pairing.next_certain().is_none());
        pairing.close();
        assert!(pairing.next_certain().is_some());
    }

    #[test]
    fn queues_are_bounded() {
        let mut pairing = Pairing::new(true, 0.02);
        for ms in 0..1000 {
            pairing.push_depth(image(ms));
        }
        assert_eq!(pairing.depths.len(), MAX_WAITING);
        for ms in 0..MAX_WAITING as i64 {
            pairing.push_color(image(2000 + ms));
        }
        assert!(pairing.is_full());
    }
}
