//! `#[derive(Module)]` for chainrule: walks over a model's parameters, buffers and adapters by path.
//!
//! The derived `visit` and `visit_mut` go through the fields in order; a field's name is its part of the path, as in PyTorch's state dict.
//! Attributes of a field: `#[module(skip)]` leaves it out, `#[module(flatten)]` puts its contents at the parent's path, `#[module(name = "…")]` gives it another name.
//! Attribute of the type: `#[module(crate = path)]` names the crate where it goes by another name than `chainrule` or `chainrule_nn`.
#![forbid(unsafe_code)]

mod attributes;
mod expand;
mod library;

use proc_macro::TokenStream;

/// Derives `Module` for a struct, or for an enum of alternatives. See the trait's page for the attributes.
#[proc_macro_derive(Module, attributes(module))]
pub fn module(item: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(item as syn::DeriveInput);
    expand::module(input).unwrap_or_else(|error| error.to_compile_error()).into()
}
