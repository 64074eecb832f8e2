//! Which values an expression refers to.

use super::Name;
use super::functions;
use super::syntax::{Syntax, SyntaxKind};
use super::value::Kind;

/// Each value once, by its first place.
pub(super) fn names(syntax: &Syntax, is_source: &dyn Fn(&str) -> bool) -> Vec<Name> {
    let mut walk = Walk {
        is_source,
        bound: Vec::new(),
        found: Vec::new(),
    };
    walk.visit(syntax);
    walk.found
}

struct Walk<'s, 'f> {
    is_source: &'f dyn Fn(&str) -> bool,
    /// Names that macros around bind.
    bound: Vec<&'s str>,
    found: Vec<Name>,
}

impl<'s> Walk<'s, '_> {
    fn visit(&mut self, syntax: &'s Syntax) {
        match &syntax.kind {
            SyntaxKind::Name(name) => self.refer(syntax, name, None),
            SyntaxKind::Select { of, field } => match &of.kind {
                SyntaxKind::Name(name) => self.refer(syntax, name, Some(&field.text)),
                _ => self.visit(of),
            },
            kind => {
                let Some(call) = syntax.as_macro() else {
                    self.visit_parts(kind);
                    return;
                };
                self.visit(call.over);
                let SyntaxKind::Name(variable) = &call.variable.kind else {
                    return;
                };
                self.bound.push(variable);
                call.parts.iter().for_each(|part| self.visit(part));
                self.bound.pop();
            }
        }
    }

    /// Visits the parts of what is no macro.
    fn visit_parts(&mut self, kind: &'s SyntaxKind) {
        let mut parts = kind.parts();
        let meant = meant_to_bind(kind);
        if meant.is_some() {
            // What it is called on stands outside.
            parts.next().into_iter().for_each(|over| self.visit(over));
        }
        let around = self.bound.len();
        self.bound.extend(meant);
        parts.for_each(|part| self.visit(part));
        self.bound.truncate(around);
    }

    fn refer(&mut self, syntax: &Syntax, name: &'s str, field: Option<&'s str>) {
        if self.bound.contains(&name) {
            return;
        }
        let is_source = (self.is_source)(name);
        let path = match field.filter(|_| is_source) {
            Some(field) => format!("{name}.{field}"),
            None if !is_source && Kind::named(name).is_some() => return,
            None => name.to_owned(),
        };
        if self.found.iter().all(|found| found.path != path) {
            let offset = syntax.span.start;
            self.found.push(Name { path, offset });
        }
    }
}

/// The name that a call would bind if what it calls were the macro that is probably meant. It is no value then: what is wrong
/// is the call.
fn meant_to_bind(kind: &SyntaxKind) -> Option<&str> {
    let SyntaxKind::Call {
        target: Some(_),
        function,
        arguments,
    } = kind
    else {
        return None;
    };
    let [variable, _, ..] = &arguments[..] else {
        return None;
    };
    let SyntaxKind::Name(name) = &variable.kind else {
        return None;
    };
    (!functions::is_function(&function.text)).then_some(name)
}
