//! What `#[rkyv(...)]` says that a description depends on. Everything else there is rkyv's own business.

use proc_macro2::TokenStream;
use quote::format_ident;
use syn::meta::ParseNestedMeta;
use syn::{Attribute, DeriveInput, Error, Field, Ident, Token, Type, parenthesized, token};

/// Of a type.
#[derive(Default)]
pub(crate) struct TypeAttributes {
    archived: Option<Ident>,
}

impl TypeAttributes {
    pub(crate) fn of(input: &DeriveInput) -> Result<Self, Error> {
        let mut found = Self::default();
        each(&input.attrs, |meta| {
            if meta.path.is_ident("archived") {
                found.archived = Some(meta.value()?.parse()?);
                return Ok(());
            }
            if meta.path.is_ident("as") {
                return Err(meta.error(
                    "a type that is archived as another one has no description of its own: derive `Described` for that one, \
                     or implement it by hand",
                ));
            }
            if meta.path.is_ident("remote") {
                return Err(meta.error(
                    "what is archived for a type of another crate cannot be described: implement `Described` by hand",
                ));
            }
            if meta.path.is_ident("attr") {
                let content;
                parenthesized!(content in meta.input);
                let tokens: TokenStream = content.parse()?;
                let mut words = tokens.clone().into_iter();
                return match words.any(|word| word.to_string() == "repr") {
                    true => Err(Error::new_spanned(
                        tokens,
                        "a description is of the layout that rkyv gives: take `repr` away, or implement `Described` by hand",
                    )),
                    false => Ok(()),
                };
            }
            skip(&meta)
        })?;
        Ok(found)
    }

    /// The name of the archived type.
    pub(crate) fn archived(&self, name: &Ident) -> Ident {
        let usual = || format_ident!("Archived{}", name, span = name.span());
        self.archived.clone().unwrap_or_else(usual)
    }
}

/// Of a field.
#[derive(Default)]
pub(crate) struct FieldAttributes {
    /// Through what it is archived, if not as itself.
    pub(crate) with: Option<Type>,
    /// Whether it asks nothing of the parameters: a type that holds itself says so there.
    pub(crate) omit_bounds: bool,
}

impl FieldAttributes {
    pub(crate) fn of(field: &Field) -> Result<Self, Error> {
        let mut found = Self::default();
        each(&field.attrs, |meta| {
            if meta.path.is_ident("with") {
                found.with = Some(meta.value()?.parse()?);
                return Ok(());
            }
            found.omit_bounds |= meta.path.is_ident("omit_bounds");
            skip(&meta)
        })?;
        Ok(found)
    }
}

fn each(
    attributes: &[Attribute],
    mut read: impl FnMut(ParseNestedMeta<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let of_rkyv = |attribute: &&Attribute| attribute.path().is_ident("rkyv");
    let mut attributes = attributes.iter().filter(of_rkyv);
    attributes.try_for_each(|attribute| attribute.parse_nested_meta(&mut read))
}

/// Passes over what is in parentheses, or behind an equals sign.
fn skip(meta: &ParseNestedMeta<'_>) -> Result<(), Error> {
    if meta.input.peek(token::Paren) {
        let content;
        parenthesized!(content in meta.input);
        content.parse::<TokenStream>()?;
    } else if meta.input.peek(Token![=]) {
        meta.value()?.parse::<Type>()?;
    }
    Ok(())
}
