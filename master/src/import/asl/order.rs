//! The order of a machine's states. Loops are found here, and refused with the way round.

use super::machine::{State, Work};
use crate::import::read::Reader;

/// Where a state may lead.
fn targets(state: &State<'_>) -> Vec<usize> {
    let chosen = match &state.work {
        Work::Choice { rules, default } => {
            let rules = rules.iter().map(|(_, next)| *next);
            rules.chain(*default).collect()
        }
        _ => Vec::new(),
    };
    let caught = state.catch.iter().map(|catcher| catcher.next);
    state.next.into_iter().chain(chosen).chain(caught).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Unseen,
    Open,
    Done,
}

/// The states that are reached from `start`, each after all that lead to it.
pub(super) fn of(reader: &mut Reader, states: &[State<'_>], start: usize) -> Option<Vec<usize>> {
    let mut marks = vec![Mark::Unseen; states.len()];
    let mut ended = Vec::new();
    // Not by recursion: a chain of states may be as long as the file.
    let mut open: Vec<(usize, Vec<usize>)> = vec![(start, targets(&states[start]))];
    marks[start] = Mark::Open;
    while let Some((state, left)) = open.last_mut() {
        let state = *state;
        match left.pop() {
            None => {
                marks[state] = Mark::Done;
                ended.push(state);
                open.pop();
            }
            Some(next) => match marks[next] {
                Mark::Done => {}
                Mark::Unseen => {
                    marks[next] = Mark::Open;
                    open.push((next, targets(&states[next])));
                }
                Mark::Open => {
                    let round = open.iter().map(|(state, _)| *state);
                    let round = round.skip_while(|state| *state != next).chain([next]);
                    let names: Vec<&str> = round.map(|state| states[state].name).collect();
                    let what = format!("a loop ({})", shortened(&names));
                    let help = "a workflow never goes back: use Retry to try again, a Map to do the same for several \
                                items, or let one function do the loop";
                    reader.not_covered(states[state].span, what, help);
                    return None;
                }
            },
        }
    }
    ended.reverse();
    Some(ended)
}

/// The way round; of a long one both ends.
fn shortened(names: &[&str]) -> String {
    const SHOWN: usize = 8;
    if names.len() <= 2 * SHOWN {
        return names.join(" → ");
    }
    let (first, last) = (&names[..SHOWN], &names[names.len() - SHOWN..]);
    format!("{} → … → {}", first.join(" → "), last.join(" → "))
}
