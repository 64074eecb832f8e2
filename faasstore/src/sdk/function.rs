//! How code becomes a function that a node can name.

use super::{Call, Checked, Context, Error, Payload};
use crate::binding::{FunctionDescription, Kind, NodeBinding, Port, TypedPort};
use crate::schema::{Described, PayloadType, Schema, SchemaError};
use std::any::type_name;

type Body = Box<dyn FnMut(&mut Call<'_>) -> Result<(), Error>>;

/// Named code, for [`crate::serve()`].
pub struct Function {
    name: String,
    body: Body,
    shape: Shape,
    inputs: Vec<Declared>,
    outputs: Vec<Declared>,
}

/// What a function says of the payloads of an input or output.
struct Declared {
    /// Which; none of one that is alone.
    port: Option<String>,
    schema: Result<Schema, SchemaError>,
    archived: Archived,
}

/// The archived type that is declared for a port, by what Rust calls it; none if nothing is, or no type.
pub(super) type Archived = Option<&'static str>;

/// Whether a port for which a type is declared, if one is, may be taken as `A`.
#[inline]
pub(super) fn check_archived<A>(declared: Archived) -> Result<(), String> {
    let taken = type_name::<A>();
    match declared {
        // Mostly it is the very same text.
        Some(declared) if !std::ptr::eq(declared, taken) && declared != taken => Err(format!(
            "declared as {declared}, and is taken as {taken}: declare what the function uses"
        )),
        _ => Ok(()),
    }
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

    /// Says what the payload of an input is, or, of a list, each item: an archive of `T`. The function reads it by
    /// [`Call::typed`], or [`List::typed`](crate::List::typed); as another type it is refused there.
    ///
    /// Whoever deploys a workflow is then told before anything runs if what another function writes there differs, and in
    /// which field. What no function has said anything of is validated when it is read, as everything is.
    ///
    /// ```
    /// use faasstore::{Call, Described, Error, function};
    /// use rkyv::{Archive, Deserialize, Serialize};
    ///
    /// #[derive(Archive, Serialize, Deserialize, Described)]
    /// struct Reading { celsius: f64 }
    /// #[derive(Archive, Serialize, Deserialize, Described)]
    /// struct Mean { celsius: f64, of: u64 }
    ///
    /// fn mean(call: &mut Call) -> Result<(), Error> {
    ///     let readings = call.list("readings")?;
    ///     let mut sum = 0.0;
    ///     for index in 0..readings.len() {
    ///         sum += readings.typed::<Reading>(index)?.map_or(0.0, |one| one.celsius.to_native());
    ///     }
    ///     let of = readings.len() as u64;
    ///     call.write_typed("mean", &Mean { celsius: sum / of as f64, of })
    /// }
    ///
    /// let mean = function("mean", mean)
    ///     .input::<Reading>("readings") // of each item of the list
    ///     .output::<Mean>("mean");
    /// ```
    #[must_use]
    pub fn input<T: PayloadType>(self, name: impl Into<String>) -> Self {
        let archived = Some(type_name::<T::Archived>());
        self.with_input(Some(name.into()), Schema::of::<T>(), archived)
    }

    /// As [`Function::input`], for what the function writes by [`Call::write_typed`] or
    /// [`ListOutput::push_typed`](crate::ListOutput::push_typed).
    #[must_use]
    pub fn output<T: PayloadType>(self, name: impl Into<String>) -> Self {
        let archived = Some(type_name::<T::Archived>());
        self.with_output(Some(name.into()), Schema::of::<T>(), archived)
    }

    /// Says that an input, or each item of a list, is raw bytes of a content that has a name, as
    /// [`ARROW_IPC`](crate::schema::ARROW_IPC). It is compared with what is said of what goes there, and nothing more: the
    /// bytes are the function's to check.
    #[must_use]
    pub fn tagged_input(self, name: impl Into<String>, tag: &str) -> Self {
        self.with_input(Some(name.into()), Schema::tagged(tag), None)
    }

    /// As [`Function::tagged_input`], for what the function writes.
    #[must_use]
    pub fn tagged_output(self, name: impl Into<String>, tag: &str) -> Self {
        self.with_output(Some(name.into()), Schema::tagged(tag), None)
    }

    fn with_input(
        mut self,
        port: Option<String>,
        schema: Result<Schema, SchemaError>,
        archived: Archived,
    ) -> Self {
        self.inputs.push(Declared {
            port,
            schema,
            archived,
        });
        self
    }

    fn with_output(
        mut self,
        port: Option<String>,
        schema: Result<Schema, SchemaError>,
        archived: Archived,
    ) -> Self {
        self.outputs.push(Declared {
            port,
            schema,
            archived,
        });
        self
    }

    /// What it tells of itself; else why it cannot be served.
    pub(crate) fn description(&self) -> Result<FunctionDescription, String> {
        Ok(FunctionDescription {
            name: self.name.clone(),
            inputs: self.described("input", &self.inputs)?,
            outputs: self.described("output", &self.outputs)?,
        })
    }

    fn described(&self, what: &str, declared: &[Declared]) -> Result<Vec<TypedPort>, String> {
        let mut described: Vec<TypedPort> = Vec::with_capacity(declared.len());
        for Declared { port, schema, .. } in declared {
            let of = match port {
                Some(name) => format!("{what} {name} of function {}", self.name),
                None => format!("the {what} of function {}", self.name),
            };
            // One that is alone has every name.
            let earlier = described
                .iter()
                .find(|other| other.port.is_none() || other.port == *port);
            if earlier.is_some() {
                return Err(format!("{of} is declared twice: say once what it holds"));
            }
            described.push(TypedPort {
                port: port.clone(),
                schema: schema
                    .as_ref()
                    .map_err(|error| format!("{of}: {error}"))?
                    .to_string(),
            });
        }
        Ok(described)
    }

    /// The archived types that are declared for a node's inputs and outputs, in the node's order.
    pub(super) fn archived(&self, node: &NodeBinding) -> (Vec<Archived>, Vec<Archived>) {
        let of = |declared: &[Declared], ports: &[Port]| {
            let one = |port: &Port| {
                let mut named = declared.iter();
                let named =
                    named.find(|one| one.port.as_ref().is_none_or(|name| *name == port.name));
                named.and_then(|one| one.archived)
            };
            ports.iter().map(one).collect()
        };
        (
            of(&self.inputs, &node.inputs),
            of(&self.outputs, &node.outputs),
        )
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
            return self
                .typed_value("input", &self.inputs, &node.inputs)
                .or_else(|| self.typed_value("output", &self.outputs, &node.outputs))
                .map(|named| format!("node {} declares {named}", node.name));
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

    /// A port that is a value for the node, which are JSON, while the function says that it is something else.
    fn typed_value(&self, what: &str, declared: &[Declared], ports: &[Port]) -> Option<String> {
        declared.iter().find_map(|Declared { port, schema, .. }| {
            let name = port.as_deref()?;
            let mut values = ports.iter().filter(|port| port.kind == Kind::Value);
            values.find(|value| value.name == name)?;
            let schema = schema.as_ref().map_or_else(ToString::to_string, ToString::to_string);
            Some(format!(
                "{what} {name} as a value, which is JSON, but for function {} it is {schema}: declare it as bytes",
                self.name
            ))
        })
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
        inputs: Vec::new(),
        outputs: Vec::new(),
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
        shape: Shape::OneToOne,
        ..function(name, body)
    }
}

/// A function from one typed input to one typed output: it borrows an rkyv archive, which is validated first, and what
/// it returns is archived straight into the arena. Both types are described, so that deploying a workflow tells where
/// those at its other ends differ; see [`Function::input`].
///
/// ```
/// use faasstore::{Context, Described, typed};
/// use rkyv::{Archive, Deserialize, Serialize};
///
/// #[derive(Archive, Serialize, Deserialize, Described)]
/// struct Shape { width: f64, height: f64 }
/// #[derive(Archive, Serialize, Deserialize, Described)]
/// struct Area { square_metres: f64 }
///
/// let area = typed("area", |shape: &ArchivedShape, _call: &Context| {
///     Ok(Area { square_metres: shape.width * shape.height })
/// });
/// ```
pub fn typed<A, R, F>(name: impl Into<String>, mut body: F) -> Function
where
    A: Checked + Described,
    R: Payload + PayloadType,
    F: FnMut(&A, &Context) -> Result<R, Error> + 'static,
{
    let body = move |call: &mut Call<'_>| {
        let output = body(call.archived_at(0)?, call.context())?;
        call.write_typed_at(0, &output)
    };
    let one_to_one = Function {
        shape: Shape::OneToOne,
        ..function(name, body)
    };
    one_to_one
        .with_input(None, Schema::of_archived::<A>(), Some(type_name::<A>()))
        .with_output(None, Schema::of::<R>(), Some(type_name::<R::Archived>()))
}
