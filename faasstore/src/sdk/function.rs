//! How code becomes a function that a node can name.

use super::{Call, Checked, Context, Error, Payload};
use crate::binding::{Kind, NodeBinding, Port};

type Body = Box<dyn FnMut(&mut Call<'_>) -> Result<(), Error>>;

/// Named code, for [`crate::serve()`].
pub struct Function {
    name: String,
    body: Body,
    shape: Shape,
}

/// What a function expects of the nodes that use it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shape {
    /// It looks at names itself.
    Any,
    /// Bytes to bytes, whatever their names are.
    OneToOne,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Function")
            .field("name", &self.name)
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

impl Function {
    /// The name by which nodes refer to it, after the executable's and a colon.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Why this node cannot use it, if so.
    pub(crate) fn mismatch(&self, node: &NodeBinding) -> Option<String> {
        let one = |ports: &[Port]| {
            matches!(
                ports,
                [Port {
                    kind: Kind::Bytes,
                    ..
                }]
            )
        };
        if self.shape == Shape::Any || one(&node.inputs) && one(&node.outputs) {
            return None;
        }
        Some(format!(
            "node {} gives function {} {} and expects {} of it, but it makes one output of bytes from one input of \
             bytes; write it with faasstore::function for more",
            node.name,
            self.name,
            describe(&node.inputs, "input"),
            describe(&node.outputs, "output"),
        ))
    }

    #[inline]
    pub(crate) fn run(&mut self, call: &mut Call<'_>) -> Result<(), Error> {
        (self.body)(call)
    }
}

fn describe(ports: &[Port], what: &str) -> String {
    if ports.is_empty() {
        return format!("no {what}");
    }
    let list: Vec<_> = ports
        .iter()
        .map(|port| format!("{} ({:?})", port.name, port.kind))
        .collect();
    format!("{what} {}", list.join(", ")).to_lowercase()
}

/// A function of whatever inputs and outputs its nodes declare.
///
/// ```
/// use faasstore::{Call, Error, function};
///
/// fn split(call: &mut Call) -> Result<(), Error> {
///     let text = call.bytes("text")?;
///     let mut lines = call.list_output("lines")?;
///     let mut start = 0;
///     for line in text.split_inclusive(|&byte| byte == b'\n') {
///         lines.push_alias("text", start..start + line.len())?; // a range of the input: nothing is copied
///         start += line.len();
///     }
///     Ok(())
/// }
///
/// let split = function("split", split);
/// assert_eq!(split.name(), "split");
/// ```
pub fn function<F>(name: impl Into<String>, body: F) -> Function
where
    F: FnMut(&mut Call<'_>) -> Result<(), Error> + 'static,
{
    Function {
        name: name.into(),
        body: Box::new(body),
        shape: Shape::Any,
    }
}

/// A function from one input of raw bytes to one output of raw bytes.
///
/// What it returns is copied into the arena; a function that is to write there directly uses [`function()`] and
/// [`Call::reserve`].
///
/// ```
/// use faasstore::{Context, bytes};
///
/// let upper = bytes("upper", |text: &[u8], _call: &Context| Ok(text.to_ascii_uppercase()));
/// ```
pub fn bytes<R, F>(name: impl Into<String>, mut body: F) -> Function
where
    R: AsRef<[u8]>,
    F: FnMut(&[u8], &Context) -> Result<R, Error> + 'static,
{
    let body = move |call: &mut Call<'_>| {
        let output = body(call.bytes_at(0)?, call.context())?;
        call.write_at(0, output.as_ref())
    };
    Function {
        name: name.into(),
        body: Box::new(body),
        shape: Shape::OneToOne,
    }
}

/// A function from one typed input to one typed output: it borrows an rkyv archive, which is validated first, and what
/// it returns is archived straight into the arena.
///
/// ```
/// use faasstore::{Context, typed};
/// use rkyv::{Archive, Deserialize, Serialize};
///
/// #[derive(Archive, Serialize, Deserialize)]
/// struct Shape { width: f64, height: f64 }
/// #[derive(Archive, Serialize, Deserialize)]
/// struct Area { square_metres: f64 }
///
/// let area = typed("area", |shape: &ArchivedShape, _call: &Context| {
///     Ok(Area { square_metres: shape.width * shape.height })
/// });
/// ```
pub fn typed<A, R, F>(name: impl Into<String>, mut body: F) -> Function
where
    A: Checked,
    R: Payload,
    F: FnMut(&A, &Context) -> Result<R, Error> + 'static,
{
    let body = move |call: &mut Call<'_>| {
        let output = body(call.archived_at(0)?, call.context())?;
        call.write_typed_at(0, &output)
    };
    Function {
        name: name.into(),
        body: Box::new(body),
        shape: Shape::OneToOne,
    }
}
