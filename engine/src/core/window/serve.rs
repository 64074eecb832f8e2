//! Items that running activations wait for: brought, given, refused, and let go of.

use super::{AHEAD_MAX, Grant, Served, Wanted, Window};
use crate::core::invocation::{Place, Read};
use crate::core::lease::{Account, Payload, Reach};
use crate::core::pool::{ExecutorId, Running};
use crate::core::program::LocalNode;
use crate::core::{Action, CompletionError, CopyIn, Core, ItemGiven};
use faasstore::descriptor::{ItemAnswer, ItemName, Want};

impl Core {
    /// A running activation waits for an item of a list, or is done with some. [`Action::Item`] is to follow.
    ///
    /// # Errors
    /// If its executor says what cannot be; then nothing has changed, and it is to be ended.
    pub fn want(
        &mut self,
        now_ns: u64,
        id: ExecutorId,
        want: &Want,
    ) -> Result<(), CompletionError> {
        let executor = self.executor_mut(id);
        let executor = executor
            .filter(|one| one.activation == want.activation && one.running.is_some())
            .ok_or(CompletionError::Activation)?;
        let is_told = executor.grace_due_ns.is_some() || executor.timed_out;
        let window = self.windows.get(&id).ok_or(CompletionError::Item)?;
        let (place, node) = (window.place, window.node);
        let knows = |done: &ItemName| {
            let grant = window.granted.get(done);
            grant.is_some_and(|grant| grant.told && !grant.kept)
        };
        let is_there = |name: ItemName| self.item_wanted(place, node, name).is_some();
        if window.wanted.is_some()
            || !want.done().iter().all(knows)
            || !want.wanted.is_none_or(is_there)
        {
            return Err(CompletionError::Item);
        }
        self.revision += 1;
        for done in want.done() {
            self.drop_grant(id, *done);
        }
        let Some(name) = want.wanted else {
            return Ok(());
        };
        if is_told {
            self.give(id, name, ItemAnswer::Stopped);
            return Ok(());
        }
        if let Some(window) = self.windows.get_mut(&id) {
            let keep = want.keep;
            window.wanted = Some(Wanted { name, keep });
            window.walked = want.walks.then_some(name);
        }
        self.drop_stale(id, name, want.walks);
        match self.serve(id, false) {
            Served::Lacks(_) => self.leases.alarm(),
            Served::Comes | Served::Not if want.walks => self.read_ahead(id, name),
            Served::Comes | Served::Not => {}
        }
        self.fail_lost(now_ns);
        self.drain_ended(now_ns);
        Ok(())
    }

    /// An item that an activation may ask for.
    fn item_wanted(&self, place: Place, node: LocalNode, name: ItemName) -> Option<Payload> {
        let program = self.program_of(place);
        let index = usize::from(name.input);
        if index >= program.inputs(&program.nodes[node as usize]).len() {
            return None;
        }
        let Read::List(items) = self.input(place, program, node, index) else {
            return None;
        };
        let item = items.get(name.item as usize).copied();
        item.filter(|item| self.is_asked_for(*item))
    }

    pub(super) fn give(&mut self, executor: ExecutorId, name: ItemName, answer: ItemAnswer) {
        let Some(state) = self.executor_mut(executor) else {
            return;
        };
        let activation = state.activation;
        self.actions.push(Action::Item(Box::new(ItemGiven {
            executor,
            activation,
            name,
            answer,
        })));
    }

    fn drop_grant(&mut self, id: ExecutorId, name: ItemName) {
        let window = self.windows.get_mut(&id);
        if let Some(grant) = window.and_then(|window| window.granted.remove(&name)) {
            self.let_go(grant.payload);
        }
    }

    /// Lets go of what was brought ahead and is not what comes next.
    fn drop_stale(&mut self, id: ExecutorId, reached: ItemName, walks: bool) {
        let ahead = |name: &ItemName| {
            let behind = name.item.wrapping_sub(reached.item);
            name.input == reached.input && (behind == 0 || walks && behind <= AHEAD_MAX)
        };
        self.drop_ahead(id, |name| !ahead(name));
    }

    /// Lets go of what was brought ahead, as far as it `goes`; whether there was any.
    fn drop_ahead(&mut self, id: ExecutorId, goes: impl Fn(&ItemName) -> bool) -> bool {
        let Some(window) = self.windows.get(&id) else {
            return false;
        };
        let ahead = window.granted.iter().filter(|(_, grant)| !grant.told);
        let going: Vec<ItemName> = ahead.map(|(name, _)| *name).filter(goes).collect();
        going.iter().for_each(|name| self.drop_grant(id, *name));
        !going.is_empty()
    }

    /// Gives an activation what it waits for, if that is in memory, or has it brought, if there is room, or if `anyway`.
    fn serve(&mut self, id: ExecutorId, anyway: bool) -> Served {
        loop {
            let Some(window) = self.windows.get(&id) else {
                return Served::Not;
            };
            let Some(Wanted { name, keep }) = window.wanted else {
                return Served::Not;
            };
            let (place, node) = (window.place, window.node);
            let held = window.granted.get(&name).copied();
            let Some(item) = self.item_wanted(place, node, name) else {
                unreachable!(
                    "what is wanted was looked at, and a list stays as it is while it is read"
                );
            };
            let looked_at = held.map_or(item, |grant| grant.payload);
            match (held, self.leases.reach(looked_at)) {
                (Some(_), Reach::Here) => {
                    let place = self.leases.locate(looked_at);
                    if let Some(window) = self.windows.get_mut(&id) {
                        window.wanted = None;
                        if let Some(grant) = window.granted.get_mut(&name) {
                            grant.told = true;
                            grant.kept |= keep;
                        }
                    }
                    self.count_item(id, name, looked_at, item);
                    self.give(id, name, ItemAnswer::Here(place));
                    return Served::Not;
                }
                (None, Reach::Here) => {
                    self.leases.stay(item);
                    self.leases.hold(item);
                    self.grant(id, name, item);
                }
                (_, Reach::Coming) => return Served::Comes,
                (None, Reach::Away) => {
                    let account = self.program_of(place).account;
                    if !anyway && !self.has_room(account, item.length()) {
                        return Served::Lacks(item.length());
                    }
                    self.copy_in(id, name, item, false);
                }
                (Some(_), Reach::Unplaced) => {
                    self.drop_grant(id, name);
                    if let Some(window) = self.windows.get_mut(&id) {
                        window.wanted = None;
                    }
                    self.give(id, name, ItemAnswer::NoRoom);
                    return Served::Not;
                }
                (held, Reach::Lost(cause)) => {
                    if held.is_some() {
                        self.drop_grant(id, name);
                        let Some((account, kind)) = self.leases.lies_in(item) else {
                            // Somebody else has brought it back meanwhile, or does.
                            continue;
                        };
                        self.count_lost(account, kind);
                    }
                    self.lose(place, node, cause);
                    return Served::Not;
                }
                (Some(_), Reach::Away) | (None, Reach::Unplaced) => {
                    unreachable!("what is held does not leave, and only copies find no room")
                }
            }
        }
    }

    fn grant(&mut self, id: ExecutorId, name: ItemName, payload: Payload) {
        if let Some(window) = self.windows.get_mut(&id) {
            let grant = Grant {
                payload,
                told: false,
                kept: false,
            };
            let known = window.granted.insert(name, grant);
            debug_assert!(known.is_none(), "an item is granted once");
        }
    }

    fn copy_in(&mut self, id: ExecutorId, name: ItemName, item: Payload, ahead: bool) {
        let Some(copied) = self.leases.copy(item) else {
            unreachable!("what is copied in is away");
        };
        self.grant(id, name, copied.payload);
        self.actions.push(Action::CopyIn(Box::new(CopyIn {
            ticket: copied.ticket,
            of: copied.of,
            offset: copied.offset,
            bytes: item.length(),
            account: copied.account,
            ahead,
        })));
    }

    /// Brings what a walk comes to next, as room allows.
    fn read_ahead(&mut self, id: ExecutorId, reached: ItemName) {
        for behind in 1..=AHEAD_MAX {
            let Some(window) = self.windows.get(&id) else {
                return;
            };
            let (place, node) = (window.place, window.node);
            let account = self.program_of(place).account;
            let Some(item) = reached.item.checked_add(behind) else {
                return;
            };
            let name = ItemName { item, ..reached };
            if window.granted.contains_key(&name) {
                continue;
            }
            let Some(item) = self.item_wanted(place, node, name) else {
                continue;
            };
            if self.leases.reach(item) != Reach::Away {
                continue;
            }
            if !self.has_room(account, item.length() + self.lacking(account)) {
                return;
            }
            self.copy_in(id, name, item, true);
        }
    }

    /// Whether a workflow has room for so many bytes, and for what runs of it is expected to make.
    fn has_room(&self, account: Account, bytes: u64) -> bool {
        let runs = self.runs_of(&self.deployments_of(account));
        let taken = self.leases.holdings(account).bytes + self.reserved(&runs);
        taken.saturating_add(bytes) <= self.leases.tally(account).quota_bytes
    }

    /// Whose windows are those of a workflow, in order.
    fn windows_of(&self, account: Account) -> impl Iterator<Item = ExecutorId> {
        let of_it = move |window: &Window| self.program_of(window.place).account == account;
        let windows = self.windows.iter().filter(move |(_, window)| of_it(window));
        windows.map(|(id, _)| *id)
    }

    /// Whether lists of a workflow are being read item by item.
    pub(in crate::core) fn has_windows(&self, account: Account) -> bool {
        !self.windows.is_empty() && self.windows_of(account).next().is_some()
    }

    /// Whether what runs waits for an item of a list.
    pub(in crate::core) fn waits_for_item(&self, running: &Running) -> bool {
        let window = self.window_of(running.place, running.node);
        window.is_some_and(|window| window.wanted.is_some())
    }

    /// Bytes of items that are waited for and for which there was no room.
    pub(in crate::core) fn lacking(&self, account: Account) -> u64 {
        if self.windows.is_empty() {
            return 0;
        }
        let lacking = self.windows_of(account).map(|id| {
            let window = &self.windows[&id];
            let wanted = window
                .wanted
                .filter(|wanted| !window.granted.contains_key(&wanted.name));
            let item = wanted.and_then(|one| self.item_wanted(window.place, window.node, one.name));
            let away = item.filter(|item| self.leases.reach(*item) == Reach::Away);
            away.map_or(0, |item| item.length())
        });
        lacking.sum()
    }

    /// Gives all who wait for items of a workflow what they may have now. The first one that lacks room, and how much.
    pub(in crate::core) fn serve_all(&mut self, account: Account) -> Option<(ExecutorId, u64)> {
        if self.windows.is_empty() {
            return None;
        }
        let ids: Vec<ExecutorId> = self.windows_of(account).collect();
        self.drop_unplaced(&ids);
        let lacks = self.serve_each(&ids)?;
        // What nobody has asked for yet gives way.
        let mut found = false;
        for id in &ids {
            let wanted = self.windows.get(id).and_then(|window| window.wanted);
            let wanted = wanted.map(|wanted| wanted.name);
            found |= self.drop_ahead(*id, |name| Some(*name) != wanted);
        }
        if found {
            return self.serve_each(&ids);
        }
        Some(lacks)
    }

    fn serve_each(&mut self, ids: &[ExecutorId]) -> Option<(ExecutorId, u64)> {
        let mut first = None;
        for id in ids {
            if let Served::Lacks(bytes) = self.serve(*id, false) {
                first.get_or_insert((*id, bytes));
            }
        }
        first
    }

    /// Forgets what was to be brought ahead and did not come; if it is wanted by now, it is asked for anew.
    fn drop_unplaced(&mut self, ids: &[ExecutorId]) {
        for id in ids {
            let Some(window) = self.windows.get(id) else {
                continue;
            };
            let failed = |grant: &Grant| {
                let reach = self.leases.reach(grant.payload);
                matches!(reach, Reach::Unplaced | Reach::Lost(_))
            };
            let wanted = window.wanted.map(|wanted| wanted.name);
            let ahead = window.granted.iter();
            let ahead = ahead.filter(|(name, grant)| Some(**name) != wanted && failed(grant));
            let failed: Vec<ItemName> = ahead.map(|(name, _)| *name).collect();
            failed.iter().for_each(|name| self.drop_grant(*id, *name));
        }
    }

    /// Gives an activation what it waits for, whatever its workflow's quota says: nothing else goes on.
    pub(in crate::core) fn overdraw_item(&mut self, id: ExecutorId, account: Account) {
        self.leases.tally_mut(account).carried.overdrawn += 1;
        self.serve(id, true);
    }
}
