//! Which scope lies within which.

/// By scope: the one around it, which has a lower number; of the first, which is around all others, itself.
#[derive(Clone, Debug)]
pub(crate) struct Nesting(pub(super) Vec<u16>);

impl Nesting {
    /// The scope around one.
    #[inline]
    pub(crate) fn around(&self, scope: u16) -> u16 {
        self.0[usize::from(scope)]
    }

    /// Whether a scope is this one or lies within it.
    pub(crate) fn is_within(&self, mut scope: u16, outer: u16) -> bool {
        while scope > outer {
            scope = self.around(scope);
        }
        scope == outer
    }

    /// The scope just within `outer` that holds `inner`, which lies deeper.
    pub(crate) fn just_within(&self, mut inner: u16, outer: u16) -> u16 {
        while self.around(inner) != outer {
            inner = self.around(inner);
        }
        inner
    }

    /// The innermost scope that holds both.
    pub(crate) fn common(&self, a: u16, mut b: u16) -> u16 {
        while !self.is_within(a, b) {
            b = self.around(b);
        }
        b
    }
}
