//! The attributes on a message and its fields.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{
    Attribute, Error, Expr, Field, GenericArgument, Ident, LitInt, LitStr, PathArguments, Result, Type,
};

/// Versions from the first to the last; no last for "n+".
#[derive(Clone, Copy)]
pub(crate) struct Versions {
    pub(crate) first: i16,
    pub(crate) last: Option<i16>,
}

impl Versions {
    const ALL: Self = Self { first: 0, last: None };

    /// "3+", "3-7" or "3".
    fn parse(text: &LitStr) -> Result<Self> {
        let value = text.value();
        let number = |digits: &str| {
            digits
                .parse::<i16>()
                .map_err(|_| Error::new(text.span(), "expected versions as \"3+\", \"3-7\" or \"3\""))
        };
        let versions = if let Some(first) = value.strip_suffix('+') {
            Self { first: number(first)?, last: None }
        } else if let Some((first, last)) = value.split_once('-') {
            Self { first: number(first)?, last: Some(number(last)?) }
        } else {
            Self { first: number(&value)?, last: Some(number(&value)?) }
        };
        if versions.last.is_some_and(|last| last < versions.first) {
            return Err(Error::new(text.span(), "the last version is below the first"));
        }
        Ok(versions)
    }

    /// An expression: whether `at.version` is one of these.
    pub(crate) fn holds(self) -> TokenStream {
        let first = self.first;
        match (first, self.last) {
            (0, None) => quote!(true),
            (_, None) => quote!((at.version >= #first)),
            (0, Some(last)) => quote!((at.version <= #last)),
            (_, Some(last)) if last == first => quote!((at.version == #first)),
            (_, Some(last)) => quote!((at.version >= #first && at.version <= #last)),
        }
    }
}

/// `#[message(...)]`, which only the outermost struct of a message has.
pub(crate) struct MessageAttributes {
    pub(crate) versions: Versions,
    pub(crate) flexible_from: Option<i16>,
    pub(crate) request: Option<(Ident, Ident)>,
}

impl MessageAttributes {
    pub(crate) fn parse(attributes: &[Attribute]) -> Result<Option<Self>> {
        let Some(attribute) = attributes.iter().find(|attribute| attribute.path().is_ident("message")) else {
            return Ok(None);
        };
        let (mut versions, mut flexible, mut key, mut response) = (None, None, None, None);
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("versions") {
                versions = Some(Versions::parse(&meta.value()?.parse()?)?);
            } else if meta.path.is_ident("flexible") {
                let text: LitStr = meta.value()?.parse()?;
                flexible =
                    Some(if text.value() == "none" { None } else { Some(Versions::parse(&text)?.first) });
            } else if meta.path.is_ident("key") {
                key = Some(meta.value()?.parse::<Ident>()?);
            } else if meta.path.is_ident("response") {
                response = Some(meta.value()?.parse::<Ident>()?);
            } else {
                return Err(meta.error("expected versions, flexible, key or response"));
            }
            Ok(())
        })?;
        let missing = |what| Error::new_spanned(attribute, format!("a message needs its {what}"));
        let versions = versions.ok_or_else(|| missing("versions"))?;
        if versions.last.is_none() {
            return Err(missing("last version"));
        }
        let request = match (key, response) {
            (Some(key), Some(response)) => Some((key, response)),
            (None, None) => None,
            _ => return Err(missing("key and response, or neither")),
        };
        Ok(Some(Self {
            versions,
            flexible_from: flexible.ok_or_else(|| missing("flexible versions"))?,
            request,
        }))
    }
}

/// `#[field(...)]` with the field it is on.
pub(crate) struct FieldAttributes {
    pub(crate) name: Ident,
    pub(crate) ty: Type,
    pub(crate) versions: Versions,
    pub(crate) nullable: Option<Versions>,
    pub(crate) default: Option<Expr>,
    pub(crate) tag: Option<u32>,
}

impl FieldAttributes {
    pub(crate) fn parse(field: &Field) -> Result<Self> {
        let name =
            field.ident.clone().ok_or_else(|| Error::new_spanned(field, "a message has named fields"))?;
        let (mut versions, mut nullable, mut default, mut tag) = (Versions::ALL, None, None, None);
        for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("field")) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("versions") {
                    versions = Versions::parse(&meta.value()?.parse()?)?;
                } else if meta.path.is_ident("nullable") {
                    nullable = Some(Versions::parse(&meta.value()?.parse()?)?);
                } else if meta.path.is_ident("default") {
                    default = Some(meta.value()?.parse::<Expr>()?);
                } else if meta.path.is_ident("tag") {
                    tag = Some(meta.value()?.parse::<LitInt>()?.base10_parse::<u32>()?);
                } else {
                    return Err(meta.error("expected versions, nullable, default or tag"));
                }
                Ok(())
            })?;
        }
        if nullable.is_none() && is_option(&field.ty) {
            return Err(Error::new_spanned(field, "an optional field needs its nullable versions"));
        }
        Ok(Self { name, ty: field.ty.clone(), versions, nullable, default, tag })
    }

    /// An expression: the value in versions without the field.
    pub(crate) fn default_value(&self) -> TokenStream {
        match &self.default {
            Some(value) => quote!(#value),
            None => quote!(::core::default::Default::default()),
        }
    }

    /// An expression: `at` as this field sees it.
    pub(crate) fn context(&self) -> TokenStream {
        match self.nullable {
            Some(versions) => {
                let holds = versions.holds();
                quote!(at.with_nullable(#holds))
            }
            None => quote!(at.with_nullable(false)),
        }
    }
}

fn is_option(ty: &Type) -> bool {
    let Type::Path(path) = ty else { return false };
    path.path.segments.last().is_some_and(|segment| {
        segment.ident == "Option"
            && matches!(&segment.arguments, PathArguments::AngleBracketed(arguments)
                if matches!(arguments.args.first(), Some(GenericArgument::Type(_))))
    })
}
