//! From a type to its implementation of `Module`.

use crate::attributes::{self, Field};
use crate::library;
use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote};
use std::collections::HashSet;
use syn::{Data, DeriveInput, Error, Fields, Index, Result, parse_quote, spanned::Spanned};

pub fn module(mut input: DeriveInput) -> Result<TokenStream> {
    let library = match attributes::named_library(&input.attrs)? {
        Some(path) => path.into_token_stream(),
        None => library::path(),
    };
    let mut walked = HashSet::new();
    let (read, write) = match &input.data {
        Data::Struct(data) => {
            let (bindings, parts) = fields(&data.fields, false, &mut walked)?;
            (walk(&library, &quote!(let Self #bindings = self;), &parts, false), walk(&library, &quote!(let Self #bindings = self;), &parts, true))
        }
        Data::Enum(data) => {
            let (mut read, mut write) = (TokenStream::new(), TokenStream::new());
            for variant in &data.variants {
                let (bindings, parts) = fields(&variant.fields, true, &mut walked)?;
                let name = &variant.ident;
                let (one, other) = (walk(&library, &TokenStream::new(), &parts, false), walk(&library, &TokenStream::new(), &parts, true));
                read.extend(quote!(Self::#name #bindings => { #one }));
                write.extend(quote!(Self::#name #bindings => { #other }));
            }
            match data.variants.is_empty() {
                true => (quote!(match *self {}), quote!(match *self {})),
                false => (quote!(match self { #read }), quote!(match self { #write })),
            }
        }
        Data::Union(_) => return Err(Error::new_spanned(&input.ident, "Module can be derived for structs and enums, not for unions")),
    };
    for parameter in input.generics.type_params_mut() {
        if walked.contains(&parameter.ident) {
            parameter.bounds.push(parse_quote!(#library::Module));
        }
    }
    let name = &input.ident;
    let (generics, arguments, conditions) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #generics #library::Module for #name #arguments #conditions {
            #[allow(unused_variables)]
            fn visit(&self, path: &mut #library::Path, visitor: &mut dyn #library::Visitor) {
                visitor.module(path.as_str(), #library::Kind::of(self));
                #read
            }
            #[allow(unused_variables)]
            fn visit_mut(&mut self, path: &mut #library::Path, visitor: &mut dyn #library::VisitorMut) {
                #write
            }
        }
    })
}

/// A field that is walked: the name it is bound to, and its part of the path (none: flattened).
struct Part {
    binding: Ident,
    name: Option<String>,
}

/// The pattern that binds the fields, and those to walk. The only field of a variant in parentheses stands at the variant's own path.
fn fields(fields: &Fields, variant: bool, walked: &mut HashSet<Ident>) -> Result<(TokenStream, Vec<Part>)> {
    let transparent = variant && matches!(fields, Fields::Unnamed(f) if f.unnamed.len() == 1);
    let (mut bindings, mut parts) = (TokenStream::new(), Vec::new());
    for (i, field) in fields.iter().enumerate() {
        let attribute = Field::parse(&field.attrs)?;
        if attribute.skip {
            continue;
        }
        // Errors point at what stands here: the field, where its type is no module.
        let binding = format_ident!("field{i}", span = Span::call_site().located_at(field.span()));
        let (member, name) = match &field.ident {
            Some(ident) => (ident.into_token_stream(), unraw(ident)),
            None => (Index::from(i).into_token_stream(), i.to_string()),
        };
        bindings.extend(quote!(#member: #binding,));
        identifiers(field.ty.to_token_stream(), walked);
        let flatten = attribute.flatten || (transparent && attribute.name.is_none());
        parts.push(Part { binding, name: if flatten { None } else { Some(attribute.name.unwrap_or(name)) } });
    }
    Ok((quote!({ #bindings .. }), parts))
}

fn walk(library: &TokenStream, before: &TokenStream, parts: &[Part], write: bool) -> TokenStream {
    let method = if write { format_ident!("visit_mut") } else { format_ident!("visit") };
    let steps = parts.iter().map(|Part { binding, name }| {
        let call = quote!(#library::Module::#method(#binding, path, visitor));
        match name {
            Some(name) => quote!(path.within(#name, |path| #call);),
            None => quote!(#call;),
        }
    });
    quote!(#before #(#steps)*)
}

/// All identifiers in a type, among which are its type parameters.
fn identifiers(tokens: TokenStream, found: &mut HashSet<Ident>) {
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => {
                found.insert(ident);
            }
            TokenTree::Group(group) => identifiers(group.stream(), found),
            _ => {}
        }
    }
}

fn unraw(ident: &Ident) -> String {
    let name = ident.to_string();
    name.strip_prefix("r#").map(str::to_string).unwrap_or(name)
}
