//! The code that the derive writes.

use crate::attributes::{FieldAttributes, MessageAttributes};
use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields, Ident, Result};

/// Everything that `#[derive(Message)]` writes for one struct.
pub(crate) fn message(input: &DeriveInput) -> Result<TokenStream> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new_spanned(input, "a message is a struct"));
    };
    let Fields::Named(named) = &data.fields else {
        return Err(Error::new_spanned(input, "a message has named fields"));
    };
    let attributes = MessageAttributes::parse(&input.attrs)?;
    let fields = named.named.iter().map(FieldAttributes::parse).collect::<Result<Vec<_>>>()?;
    let (mut tagged, plain): (Vec<_>, Vec<_>) = fields.iter().partition(|field| field.tag.is_some());
    // Tags are written in ascending order whatever the order of the fields.
    tagged.sort_by_key(|field| field.tag);
    if tagged.windows(2).any(|pair| pair[0].tag == pair[1].tag) {
        return Err(Error::new_spanned(input, "two fields have the same tag"));
    }

    let name = &input.ident;
    let default = default_impl(name, &fields);
    let field = field_impl(name, &fields, &plain, &tagged);
    let outermost = attributes.map(|attributes| message_impl(name, &attributes));
    Ok(quote! { #default #field #outermost })
}

fn default_impl(name: &Ident, fields: &[FieldAttributes]) -> TokenStream {
    let values = fields.iter().map(|field| {
        let (name, value) = (&field.name, field.default_value());
        quote!(#name: #value)
    });
    quote! {
        impl ::core::default::Default for #name {
            fn default() -> Self {
                Self { #(#values),* }
            }
        }
    }
}

fn field_impl(
    name: &Ident,
    fields: &[FieldAttributes],
    plain: &[&FieldAttributes],
    tagged: &[&FieldAttributes],
) -> TokenStream {
    let least = plain.iter().map(|field| {
        let (ty, holds, context) = (&field.ty, field.versions.holds(), field.context());
        quote!(if #holds { <#ty as ::highwater_wire::codec::Field>::least(#context) } else { 0 })
    });
    let bounds = fields.iter().map(|field| {
        let name = &field.name;
        // A tag and its size come with a tagged field.
        let around = if field.tag.is_some() { 10usize } else { 0 };
        quote!(::highwater_wire::codec::Field::bound(&self.#name) + #around)
    });
    let decode = decode_body(plain, tagged);
    let encode = encode_body(plain, tagged);
    let names = fields.iter().map(|field| &field.name);
    quote! {
        impl ::highwater_wire::codec::Field for #name {
            #[inline]
            fn least(at: ::highwater_wire::codec::At) -> usize {
                ::core::primitive::usize::from(at.flexible) #(+ #least)*
            }

            fn bound(&self) -> usize {
                5 #(+ #bounds)*
            }

            fn read(
                input: &mut ::highwater_wire::Decoder,
                at: ::highwater_wire::codec::At,
            ) -> ::core::result::Result<Self, ::highwater_wire::DecodeError> {
                #decode
                ::core::result::Result::Ok(Self { #(#names),* })
            }

            fn write(
                &self,
                out: &mut ::highwater_wire::Encoder,
                at: ::highwater_wire::codec::At,
            ) -> ::core::result::Result<(), ::highwater_wire::EncodeError> {
                #encode
                ::core::result::Result::Ok(())
            }
        }

        impl ::highwater_wire::codec::NullableStruct for #name {}
    }
}

fn decode_body(plain: &[&FieldAttributes], tagged: &[&FieldAttributes]) -> TokenStream {
    let plain = plain.iter().map(|field| {
        let (name, text, ty) = (&field.name, field.name.to_string(), &field.ty);
        let (holds, context, default) = (field.versions.holds(), field.context(), field.default_value());
        quote! {
            let #name: #ty = if #holds {
                ::highwater_wire::codec::Field::read(input, #context).map_err(|error| error.within(#text))?
            } else {
                #default
            };
        }
    });
    let tags = if tagged.is_empty() {
        quote!(if at.flexible {
            input.skip_tags()?;
        })
    } else {
        let defaults = tagged.iter().map(|field| {
            let (name, ty, default) = (&field.name, &field.ty, field.default_value());
            quote!(let mut #name: #ty = #default;)
        });
        let arms = tagged.iter().map(|field| {
            let (name, text, tag) = (&field.name, field.name.to_string(), field.tag);
            let (holds, context) = (field.versions.holds(), field.context());
            quote! {
                #tag if #holds => {
                    #name = input
                        .sized(size, |input| ::highwater_wire::codec::Field::read(input, #context))
                        .map_err(|error| error.within(#text))?;
                }
            }
        });
        quote! {
            #(#defaults)*
            if at.flexible {
                // Bounded by the input: every round takes two bytes at least.
                for _ in 0..input.uvarint()? {
                    let (tag, size) = input.tag()?;
                    match tag {
                        #(#arms)*
                        _ => input.skip(size)?,
                    }
                }
            }
        }
    };
    quote! { #(#plain)* #tags }
}

fn encode_body(plain: &[&FieldAttributes], tagged: &[&FieldAttributes]) -> TokenStream {
    let plain = plain.iter().map(|field| {
        let (name, text) = (&field.name, field.name.to_string());
        let (holds, context) = (field.versions.holds(), field.context());
        quote! {
            if #holds {
                ::highwater_wire::codec::Field::write(&self.#name, out, #context)
                    .map_err(|error| error.within(#text))?;
            }
        }
    });
    let present = tagged.iter().map(|field| {
        let (name, ty) = (&field.name, &field.ty);
        let (flag, holds, default) = (flag(name), field.versions.holds(), field.default_value());
        quote!(let #flag = #holds && <#ty as ::core::cmp::PartialEq>::ne(&self.#name, &#default);)
    });
    let counts = tagged.iter().map(|field| {
        let flag = flag(&field.name);
        quote!(+ ::core::primitive::u32::from(#flag))
    });
    let written = tagged.iter().map(|field| {
        let (name, text, tag) = (&field.name, field.name.to_string(), field.tag);
        let (flag, context) = (flag(name), field.context());
        quote! {
            if #flag {
                let start = out.begin_tag(#tag);
                ::highwater_wire::codec::Field::write(&self.#name, out, #context)
                    .map_err(|error| error.within(#text))?;
                out.end_tag(start);
            }
        }
    });
    quote! {
        #(#plain)*
        if at.flexible {
            #(#present)*
            out.uvarint(0 #(#counts)*);
            #(#written)*
        }
    }
}

fn flag(name: &Ident) -> Ident {
    Ident::new(&format!("has_{name}"), name.span())
}

fn message_impl(name: &Ident, attributes: &MessageAttributes) -> TokenStream {
    let text = name.to_string();
    let (first, last) = (attributes.versions.first, attributes.versions.last);
    let flexible = match attributes.flexible_from {
        Some(from) => quote!(version >= #from),
        None => quote!(false),
    };
    let request = attributes.request.as_ref().map(|(key, response)| {
        quote! {
            impl ::highwater_wire::Request for #name {
                const KEY: ::highwater_wire::ApiKey = ::highwater_wire::ApiKey::#key;
                type Response = #response;
            }
        }
    });
    quote! {
        impl ::highwater_wire::Message for #name {
            const NAME: &'static str = #text;
            const VERSIONS: ::core::ops::RangeInclusive<i16> = #first..=#last;

            fn is_flexible(version: i16) -> bool {
                #flexible
            }
        }
        #request
    }
}
