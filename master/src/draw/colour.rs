//! Colours of workers and of nodes: as many as there are, each far from the one before.

/// The hues that are given, in degrees: none near the red that stands for failures.
const HUE_LEAST: f64 = 40.0;
const HUE_RANGE: f64 = 280.0;
/// Where in that range the first one is, and how far it is to the next, as shares of it: the golden section, under which any
/// number of them lie well apart.
const HUE_FIRST: f64 = 0.607;
const HUE_STEP: f64 = 0.618_034;

/// What is on the critical path: gold, which no kind of edge has.
pub(super) const CRITICAL: &str = "#d19a00";
/// A band of it, behind what is there.
pub(super) const CRITICAL_BAND: &str = "#ffd54a";

/// A colour as `#rrggbb`. `saturation` and `lightness` are shares of 1.
fn hex(hue: f64, saturation: f64, lightness: f64) -> String {
    let range = saturation * lightness.min(1.0 - lightness);
    let part = |offset: f64| {
        let k = (offset + hue / 30.0) % 12.0;
        let part = lightness - range * (k - 3.0).min(9.0 - k).clamp(-1.0, 1.0);
        (part * 255.0).round() as u8
    };
    format!("#{:02x}{:02x}{:02x}", part(0.0), part(8.0), part(4.0))
}

fn hue(number: usize) -> f64 {
    HUE_LEAST + HUE_RANGE * ((HUE_FIRST + HUE_STEP * number as f64) % 1.0)
}

/// What fills the boxes of a worker: light, so that text stands out.
pub(super) fn fill(worker: usize) -> String {
    hex(hue(worker), 0.75, 0.88)
}

/// What frames the boxes of a worker.
pub(super) fn frame(worker: usize) -> String {
    hex(hue(worker), 0.65, 0.38)
}

/// A bar of a node. Those whose hues are near are five apart: one of them is darker.
pub(super) fn solid(node: usize) -> String {
    hex(
        hue(node),
        0.55,
        if node.is_multiple_of(2) { 0.57 } else { 0.42 },
    )
}

/// A lighter shade of that.
pub(super) fn shade(node: usize) -> String {
    hex(hue(node), 0.55, 0.85)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_is_near_the_red_of_failures_and_neighbours_differ() {
        for number in 0..10_000 {
            assert!((40.0..=320.0).contains(&hue(number)), "{number}");
            for other in number + 1..number + 4 {
                let apart = (hue(number) - hue(other)).abs();
                assert!(apart > 35.0, "{number} and {other}: {apart}");
            }
        }
    }

    #[test]
    fn colours_are_what_they_are_called() {
        assert_eq!(hex(0.0, 1.0, 0.5), "#ff0000");
        assert_eq!(hex(120.0, 1.0, 0.5), "#00ff00");
        assert_eq!(hex(240.0, 1.0, 0.25), "#000080");
        assert_eq!(hex(77.0, 0.0, 1.0), "#ffffff");
    }
}
