//! Segments by age, each with its largest free block: which is the oldest that has room for so much?
//!
//! A complete binary tree of maxima over the places of the segments. A new segment takes the place behind all others; when there
//! are no more, those that are left move together, or the tree is doubled. Every question takes as many steps as the tree has
//! levels, moving together a constant for each segment that came since the last time.

/// Where a segment stands.
pub(super) type Standing = u32;

#[derive(Debug, Default)]
pub(super) struct Ages {
    /// The root at 1, the children of `n` at `2n` and `2n + 1`, the leaves in the second half.
    maxima: Vec<u32>,
    /// By place, while it stands there.
    segments: Vec<Option<u32>>,
    standing: usize,
}

impl Ages {
    /// The segment that stands in this place, and those behind it, have moved if this says so: then all are to be asked for.
    pub(super) fn push(&mut self, segment: u32, largest: u32) -> (Standing, Vec<(u32, Standing)>) {
        let mut moved = Vec::new();
        let leaves = self.maxima.len() / 2;
        if self.segments.len() == leaves {
            moved = self.move_together();
        }
        let place = self.segments.len();
        self.segments.push(Some(segment));
        self.standing += 1;
        self.set(place as Standing, largest);
        (place as Standing, moved)
    }

    /// Makes room for as many again as there are. Returns where each stands now.
    fn move_together(&mut self) -> Vec<(u32, Standing)> {
        let leaves = self.maxima.len() / 2;
        let left: Vec<(u32, u32)> = (0..self.segments.len())
            .filter_map(|place| Some((self.segments[place]?, self.maxima[leaves + place])))
            .collect();
        let leaves = (2 * left.len()).next_power_of_two().max(4);
        self.maxima = vec![0; 2 * leaves];
        self.segments = left.iter().map(|(segment, _)| Some(*segment)).collect();
        for (place, (_, largest)) in left.iter().enumerate() {
            self.set(place as Standing, *largest);
        }
        let places = left.iter().enumerate();
        places
            .map(|(place, (segment, _))| (*segment, place as Standing))
            .collect()
    }

    /// The largest free block of a segment is another now.
    pub(super) fn set(&mut self, place: Standing, largest: u32) {
        let mut node = self.maxima.len() / 2 + place as usize;
        self.maxima[node] = largest;
        while node > 1 {
            node /= 2;
            let maximum = self.maxima[2 * node].max(self.maxima[2 * node + 1]);
            if self.maxima[node] == maximum {
                break;
            }
            self.maxima[node] = maximum;
        }
    }

    /// The segment is gone.
    pub(super) fn remove(&mut self, place: Standing) {
        self.set(place, 0);
        self.segments[place as usize] = None;
        self.standing -= 1;
        if self.standing == 0 {
            *self = Self::default();
        }
    }

    /// The oldest segment with a free block of at least so many granules, of which there is at least one.
    pub(super) fn oldest_with(&self, granules: u32) -> Option<u32> {
        debug_assert!(granules > 0, "everything has room for nothing");
        let leaves = self.maxima.len() / 2;
        if *self.maxima.get(1)? < granules {
            return None;
        }
        let mut node = 1;
        while node < leaves {
            node *= 2;
            node += usize::from(self.maxima[node] < granules);
        }
        self.segments[node - leaves]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_oldest_that_has_room_is_found(
            steps in proptest::collection::vec((0..4_u8, any::<usize>(), 0..9_u32), 1..300),
        ) {
            let (mut ages, mut next) = (Ages::default(), 0);
            // By age: segment, place, largest.
            let mut model: Vec<(u32, Standing, u32)> = Vec::new();
            for (kind, which, largest) in steps {
                let place = which % model.len().max(1);
                match kind {
                    0 | 1 => {
                        let (standing, moved) = ages.push(next, largest);
                        for (segment, standing) in moved {
                            model.iter_mut().find(|known| known.0 == segment).unwrap().1 = standing;
                        }
                        model.push((next, standing, largest));
                        next += 1;
                    }
                    2 if !model.is_empty() => {
                        model[place].2 = largest;
                        ages.set(model[place].1, largest);
                    }
                    3 if !model.is_empty() => ages.remove(model.remove(place).1),
                    _ => {}
                }
                for granules in 1..10 {
                    let oldest = model.iter().find(|known| known.2 >= granules);
                    prop_assert_eq!(ages.oldest_with(granules), oldest.map(|known| known.0));
                }
            }
        }
    }
}
