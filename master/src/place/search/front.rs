//! How good placements are, and which of those that were seen to keep.

/// By how much of the shortest makespan a placement may be longer, if it sends fewer bytes between workers.
pub(super) const FRUGAL: f64 = 0.005;
/// By how much of it two of a kind may differ by rounding alone.
pub(super) const ROUNDING: f64 = 1e-9;
/// What the bytes that cross count while it is compared: their share, against that of the makespan.
const SECOND_AIM: f64 = 1e-4;

/// How good a placement is: what comes first counts first.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(in crate::place) struct Score {
    pub(in crate::place) makespan_ns: f64,
    pub(in crate::place) crossing_bytes: f64,
}

impl Score {
    /// By what share of it the makespan is longer than another, and of the bytes that cross a little too.
    pub(super) fn worse_than(&self, other: &Self) -> f64 {
        let share = |is: f64, was: f64| (is - was) / was.max(1.0);
        share(self.makespan_ns, other.makespan_ns)
            + SECOND_AIM * share(self.crossing_bytes, other.crossing_bytes)
    }

    /// Whether it is better by more than rounding.
    pub(super) fn beats(&self, other: &Self) -> bool {
        let close = (self.makespan_ns - other.makespan_ns).abs() <= other.makespan_ns * ROUNDING;
        if close {
            self.crossing_bytes < other.crossing_bytes * (1.0 - ROUNDING)
        } else {
            self.makespan_ns < other.makespan_ns
        }
    }

    /// Whether another one has nothing over it but rounding, neither a shorter makespan nor fewer bytes.
    fn covers(&self, other: &Self) -> bool {
        self.makespan_ns <= other.makespan_ns * (1.0 + ROUNDING)
            && self.crossing_bytes <= other.crossing_bytes * (1.0 + ROUNDING)
    }
}

/// Of the placements that were seen the shortest, and those that are hardly longer and send fewer bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Front {
    /// By rising makespan, and so by falling bytes.
    all: Vec<(Score, Vec<u32>)>,
    /// The makespan of the shortest that other partitioners have found: none that is chosen is longer.
    others_ns: Option<f64>,
}

impl Front {
    pub(super) fn offer(&mut self, score: Score, placed: &[u32]) {
        if self.all.iter().any(|(known, _)| known.covers(&score)) {
            return;
        }
        self.all.retain(|(known, _)| !score.covers(known));
        let place = self
            .all
            .partition_point(|(known, _)| known.makespan_ns < score.makespan_ns);
        self.all.insert(place, (score, placed.to_vec()));
        let longest_ns = self.longest_ns();
        self.all
            .retain(|(known, _)| known.makespan_ns <= longest_ns);
    }

    /// Another partitioner has found one with this makespan.
    pub(super) fn not_longer_than(&mut self, makespan_ns: f64) {
        let shortest_ns = self
            .others_ns
            .map_or(makespan_ns, |known| known.min(makespan_ns));
        self.others_ns = Some(shortest_ns);
        let longest_ns = self.longest_ns();
        self.all
            .retain(|(known, _)| known.makespan_ns <= longest_ns);
    }

    /// The shortest.
    pub(super) fn shortest(&self) -> Option<&(Score, Vec<u32>)> {
        self.all.first()
    }

    /// The one with the fewest bytes of those that are not much longer than the shortest.
    pub(super) fn chosen(&self) -> Option<&(Score, Vec<u32>)> {
        self.all.last()
    }

    /// The longest makespan that may still be chosen.
    pub(super) fn longest_ns(&self) -> f64 {
        let Some((shortest, _)) = self.all.first() else {
            return f64::INFINITY;
        };
        let frugal_ns = shortest.makespan_ns * (1.0 + FRUGAL);
        let others_ns = self.others_ns.unwrap_or(f64::INFINITY);
        frugal_ns.min(others_ns).max(shortest.makespan_ns)
    }

    /// Whether one that is so good at best would change nothing.
    pub(super) fn has_no_use_for(&self, best: &Score) -> bool {
        best.makespan_ns > self.longest_ns() * (1.0 + ROUNDING)
            || self.all.iter().any(|(known, _)| known.covers(best))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(makespan_ns: f64, crossing_bytes: f64) -> Score {
        Score {
            makespan_ns,
            crossing_bytes,
        }
    }

    /// The number of the one that is chosen of these.
    fn chosen(others_ns: Option<f64>, scores: &[(f64, f64)]) -> u32 {
        let mut front = Front::default();
        if let Some(others_ns) = others_ns {
            front.not_longer_than(others_ns);
        }
        for (number, (makespan_ns, bytes)) in (0..).zip(scores) {
            front.offer(score(*makespan_ns, *bytes), &[number]);
        }
        front.chosen().unwrap().1[0]
    }

    #[test]
    fn what_is_hardly_shorter_for_more_bytes_is_not_chosen() {
        // In whatever order they come.
        assert_eq!(chosen(None, &[(1000.5, 100.0), (1000.0, 109.0)]), 0);
        assert_eq!(chosen(None, &[(1000.0, 109.0), (1000.5, 100.0)]), 1);
        // More than half a percent shorter is.
        assert_eq!(chosen(None, &[(1006.0, 100.0), (1000.0, 109.0)]), 1);
        // Of three the one in the middle, once the first is too long beside the shortest.
        let three = [(1006.0, 90.0), (1003.0, 95.0), (1000.0, 99.0)];
        assert_eq!(chosen(None, &three), 1);
        assert_eq!(chosen(None, &three[..2]), 0);
    }

    #[test]
    fn nothing_is_chosen_that_is_longer_than_what_other_partitioners_find() {
        let two = [(1003.0, 90.0), (1000.0, 99.0)];
        assert_eq!(chosen(None, &two), 0);
        assert_eq!(chosen(Some(1003.0), &two), 0);
        assert_eq!(chosen(Some(1002.0), &two), 1);
        assert_eq!(chosen(Some(900.0), &two), 1);
    }

    #[test]
    fn of_equal_makespans_the_one_with_fewer_bytes_is_chosen_and_of_equal_bytes_the_shorter() {
        assert_eq!(chosen(None, &[(10.0, 2.0), (10.0, 1.0), (10.0, 3.0)]), 1);
        assert_eq!(chosen(None, &[(10.01, 2.0), (10.0, 2.0), (10.02, 2.0)]), 1);
        // What differs by rounding alone is the first that came.
        assert_eq!(chosen(None, &[(10.0, 2.0), (10.0 * (1.0 - 1e-12), 2.0)]), 0);
    }

    #[test]
    fn only_what_could_change_the_choice_is_of_use() {
        let mut front = Front::default();
        assert!(!front.has_no_use_for(&score(f64::MAX, f64::MAX)));
        front.offer(score(1000.0, 50.0), &[0]);
        for (makespan_ns, bytes, useless) in [
            (999.0, 90.0, false),
            (1000.0, 49.0, false),
            (1004.0, 49.0, false),
            (1000.1, 50.0, true),
            (1006.0, 0.0, true),
        ] {
            let told = front.has_no_use_for(&score(makespan_ns, bytes));
            assert_eq!(told, useless, "{makespan_ns} {bytes}");
        }
    }
}
