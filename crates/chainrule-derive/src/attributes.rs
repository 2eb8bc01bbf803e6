//! What stands in `#[module(…)]`.

use syn::{Attribute, Error, Path, Result};

/// What a field is to the walk.
#[derive(Default)]
pub struct Field {
    pub skip: bool,
    pub flatten: bool,
    pub name: Option<String>,
}

impl Field {
    pub fn parse(attributes: &[Attribute]) -> Result<Field> {
        let mut field = Field::default();
        for attribute in attributes.iter().filter(|a| a.path().is_ident("module")) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("skip") {
                    field.skip = true;
                } else if meta.path.is_ident("flatten") {
                    field.flatten = true;
                } else if meta.path.is_ident("name") {
                    let name: syn::LitStr = meta.value()?.parse()?;
                    if name.value().is_empty() {
                        return Err(Error::new(name.span(), "an empty name; use #[module(flatten)] to put the contents at the parent's path"));
                    }
                    field.name = Some(name.value());
                } else {
                    return Err(meta.error("expected skip, flatten or name = \"…\""));
                }
                Ok(())
            })?;
            if field.skip as u8 + field.flatten as u8 + field.name.is_some() as u8 > 1 {
                return Err(Error::new_spanned(attribute, "skip, flatten and name exclude each other"));
            }
        }
        Ok(field)
    }
}

/// The crate that the type's attribute names.
pub fn named_library(attributes: &[Attribute]) -> Result<Option<Path>> {
    let mut path = None;
    for attribute in attributes.iter().filter(|a| a.path().is_ident("module")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("crate") {
                path = Some(meta.value()?.call(Path::parse_mod_style)?);
                return Ok(());
            }
            Err(meta.error("expected crate = path; skip, flatten and name belong to fields"))
        })?;
    }
    Ok(path)
}
