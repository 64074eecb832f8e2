//! `#[derive(Described)]`: what `faasstore::Described` says of a type is written by the compiler that lays it out.
//!
//! A description is of the archive and not of the type in memory, so the implementation is for the archived type that
//! rkyv's derive makes, and each field is described by what it is archived as. Whatever would make the archive other than
//! its fields in their order say is refused here, where it is written.
#![forbid(unsafe_code)]

mod attributes;

use attributes::{FieldAttributes, TypeAttributes};
use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::{Data, DeriveInput, Error, Field, Fields, GenericParam, WherePredicate, parse_quote};

/// Describes the archive of a struct or enum, beside rkyv's `Archive`: its fields and variants by their names, in their
/// order. Every field's type must be described too.
///
/// `#[rkyv(archived = Name)]` on the type, and `#[rkyv(with = ...)]` and `#[rkyv(omit_bounds)]` on fields, are followed.
/// A type that is archived as another one (`as`), for another one (`remote`) or with another layout (`attr(repr(...))`),
/// that borrows, or whose variants have numbers of their own, is refused.
#[proc_macro_derive(Described, attributes(rkyv))]
pub fn described(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = syn::parse_macro_input!(input as DeriveInput);
    described_impl(&input)
        .unwrap_or_else(|error| error.into_compile_error())
        .into()
}

fn described_impl(input: &DeriveInput) -> Result<TokenStream, Error> {
    let attributes = TypeAttributes::of(input)?;
    let mut bounds = Bounds::of(input)?;
    let body = match &input.data {
        Data::Struct(data) => {
            let fields = fields(&data.fields, &mut bounds)?;
            quote!(::faasstore::described::Type::Struct(#fields))
        }
        Data::Enum(data) => {
            let mut variants = Vec::with_capacity(data.variants.len());
            for variant in &data.variants {
                if let Some((_, number)) = &variant.discriminant {
                    return Err(Error::new_spanned(
                        number,
                        "a described enum numbers its variants by their order: take this number away",
                    ));
                }
                let name = variant.ident.unraw().to_string();
                let fields = fields(&variant.fields, &mut bounds)?;
                variants.push(quote!(::faasstore::described::Variant {
                    name: ::std::string::String::from(#name),
                    fields: #fields,
                }));
            }
            quote!(::faasstore::described::Type::Enum(
                ::std::vec![#(#variants),*]
            ))
        }
        Data::Union(data) => {
            return Err(Error::new_spanned(
                data.union_token,
                "a union cannot be described, since nothing in its archive says which field it holds: use an enum",
            ));
        }
    };
    let archived = attributes.archived(&input.ident);
    let mut generics = input.generics.clone();
    let predicates = bounds.predicates;
    generics.make_where_clause().predicates.extend(predicates);
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics ::faasstore::Described for #archived #type_generics #where_clause {
            fn describe(
                describer: &mut ::faasstore::described::Describer,
            ) -> ::faasstore::described::Type {
                describer.nest::<Self>(|describer| #body)
            }
        }
    })
}

/// What a type with parameters needs of them.
struct Bounds {
    generic: bool,
    predicates: Vec<WherePredicate>,
}

impl Bounds {
    fn of(input: &DeriveInput) -> Result<Self, Error> {
        let mut predicates = Vec::new();
        for parameter in &input.generics.params {
            match parameter {
                GenericParam::Lifetime(lifetime) => {
                    return Err(Error::new_spanned(
                        lifetime,
                        "a type that borrows cannot be described: describe the one that owns what it borrows",
                    ));
                }
                GenericParam::Type(parameter) => {
                    let name = &parameter.ident;
                    predicates.push(parse_quote!(#name: 'static));
                }
                GenericParam::Const(_) => {}
            }
        }
        Ok(Self {
            generic: !input.generics.params.is_empty(),
            predicates,
        })
    }

    fn need(&mut self, field: &Field, attributes: &FieldAttributes, archived: &TokenStream) {
        if !self.generic || attributes.omit_bounds {
            return;
        }
        let written = &field.ty;
        self.predicates.push(match &attributes.with {
            Some(with) => parse_quote!(#with: ::faasstore::described::ArchiveWith<#written>),
            None => parse_quote!(#written: ::faasstore::described::Archive),
        });
        self.predicates
            .push(parse_quote!(#archived: ::faasstore::Described));
    }
}

/// An expression of the fields' descriptions.
fn fields(fields: &Fields, bounds: &mut Bounds) -> Result<TokenStream, Error> {
    let mut described = Vec::with_capacity(fields.len());
    for field in fields {
        let attributes = FieldAttributes::of(field)?;
        let written = &field.ty;
        let archived = match &attributes.with {
            Some(with) => {
                quote!(<#with as ::faasstore::described::ArchiveWith<#written>>::Archived)
            }
            None => quote!(<#written as ::faasstore::described::Archive>::Archived),
        };
        bounds.need(field, &attributes, &archived);
        let kind = quote!(<#archived as ::faasstore::Described>::describe(describer));
        described.push(match &field.ident {
            Some(name) => {
                let name = name.unraw().to_string();
                quote!(::faasstore::described::Field {
                    name: ::std::string::String::from(#name),
                    kind: #kind,
                })
            }
            None => kind,
        });
    }
    Ok(match fields {
        Fields::Named(_) => {
            quote!(::faasstore::described::Fields::Named(
                ::std::vec![#(#described),*]
            ))
        }
        Fields::Unnamed(_) => {
            quote!(::faasstore::described::Fields::Unnamed(
                ::std::vec![#(#described),*]
            ))
        }
        Fields::Unit => quote!(::faasstore::described::Fields::None),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        let input = syn::parse_str::<DeriveInput>(text).unwrap();
        described_impl(&input).unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_be_described_is_refused_with_what_to_do() {
        for (text, why) in [
            ("union U { a: u8, b: i8 }", "use an enum"),
            ("enum E { A = 1, B = 2 }", "take this number away"),
            ("struct S<'a> { text: &'a str }", "that borrows"),
            (
                "#[rkyv(as = T)] struct S { a: u8 }",
                "archived as another one",
            ),
            ("#[rkyv(remote = T)] struct S { a: u8 }", "of another crate"),
            (
                "#[rkyv(derive(Debug), attr(allow(x), repr(align(16))))] struct S { a: u8 }",
                "take `repr` away",
            ),
        ] {
            let refusal = refusal(text);
            assert!(refusal.contains(why), "{text}: {refusal}");
        }
    }

    #[test]
    fn what_rkyv_is_told_besides_is_passed_over() {
        let text = "#[rkyv(crate = my::rkyv, compare(PartialEq), derive(Debug), archived = Kept)]
            #[rkyv(attr(allow(missing_docs)), bytecheck(bounds(T: A, U: B)))]
            struct S<T> {
                #[rkyv(with = Map<Through<A, B>>, niche = N, attr(doc = \"text\"))] a: T,
                #[rkyv(omit_bounds)] b: Vec<S<T>>,
            }";
        let input = syn::parse_str::<DeriveInput>(text).unwrap();
        let text = described_impl(&input).unwrap().to_string();
        assert!(text.contains("for Kept < T >"), "{text}");
        assert!(
            text.contains(
                "< Map < Through < A , B > > as :: faasstore :: described :: ArchiveWith < T >>"
            ),
            "{text}"
        );
        assert!(!text.contains("Vec < S < T > > : :: faasstore"), "{text}");
    }
}
