//! The macro that gives a contract's own structs and enums their encoding and their description.

/// Defines structs and enums that can be stored, passed, returned, and used as errors.
///
/// ```
/// use phala_sdk::prelude::*;
///
/// phala_sdk::types! {
///     pub struct Offer { seller: AccountId, price: u128 }
///
///     pub enum Error { SoldOut, PriceIs(u128) }
/// }
/// # fn main() {}
/// ```
///
/// Fields are public. A variant has one value or none; for more, give it a struct.
#[macro_export]
macro_rules! types {
    () => {};
    (
        $(#[$meta:meta])* $visibility:vis struct $Name:ident {
            $($(#[$field_meta:meta])* $field:ident: $Field:ty),* $(,)?
        }
        $($rest:tt)*
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "left to the contract's author")]
        $visibility struct $Name {
            $($(#[$field_meta])* pub $field: $Field,)*
        }

        impl $crate::__private::Encode for $Name {
            fn encode_to(&self, out: &mut $crate::__private::Vec<u8>) {
                $($crate::__private::Encode::encode_to(&self.$field, out);)*
                let _ = out;
            }
        }

        impl $crate::__private::Decode for $Name {
            fn decode(input: &mut &[u8]) -> ::core::result::Result<Self, $crate::__private::DecodeError> {
                let _ = &input;
                Ok(Self { $($field: $crate::__private::Decode::decode(input)?,)* })
            }
        }

        impl $crate::__private::TypeInfo for $Name {
            const TYPE: $crate::__private::TypeText = $crate::__private::Text::new()
                .push("{\"struct\":[")
                $(.push_field(stringify!($field), &<$Field as $crate::__private::TypeInfo>::TYPE))*
                .push("]}");
        }

        $crate::__returns! { [] $Name; }
        $crate::types! { $($rest)* }
    };
    (
        $(#[$meta:meta])* $visibility:vis enum $Name:ident {
            $($(#[$variant_meta:meta])* $Variant:ident $(($Payload:ty))?),+ $(,)?
        }
        $($rest:tt)*
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "left to the contract's author")]
        $visibility enum $Name {
            $($(#[$variant_meta])* $Variant $(($Payload))?,)+
        }

        impl $crate::__private::Encode for $Name {
            fn encode_to(&self, out: &mut $crate::__private::Vec<u8>) {
                let mut index = 0u8;
                $(
                    if let $crate::__variant!(pattern $Name $Variant payload $(($Payload))?) = self {
                        out.push(index);
                        $crate::__variant!(encode payload out $(($Payload))?);
                        return;
                    }
                    index += 1;
                )+
                let _ = index;
            }
        }

        impl $crate::__private::Decode for $Name {
            fn decode(input: &mut &[u8]) -> ::core::result::Result<Self, $crate::__private::DecodeError> {
                let tag = <u8 as $crate::__private::Decode>::decode(input)?;
                let mut index = 0u8;
                $(
                    if tag == index {
                        return Ok($crate::__variant!(decode $Name $Variant input $(($Payload))?));
                    }
                    index += 1;
                )+
                let _ = index;
                Err($crate::__private::DecodeError)
            }
        }

        impl $crate::__private::TypeInfo for $Name {
            const TYPE: $crate::__private::TypeText = $crate::__private::Text::new()
                .push("{\"enum\":[")
                $(.push_field(stringify!($Variant), &$crate::__variant!(type $($Payload)?)))+
                .push("]}");
        }

        $crate::__returns! { [] $Name; }
        $crate::types! { $($rest)* }
    };
}

/// The parts that differ between a variant with a value and one without.
#[doc(hidden)]
#[macro_export]
macro_rules! __variant {
    (pattern $Name:ident $Variant:ident $payload:ident) => {
        $Name::$Variant
    };
    (pattern $Name:ident $Variant:ident $payload:ident ($Payload:ty)) => {
        $Name::$Variant($payload)
    };
    (encode $payload:ident $out:ident) => {};
    (encode $payload:ident $out:ident ($Payload:ty)) => {
        $crate::__private::Encode::encode_to($payload, $out)
    };
    (decode $Name:ident $Variant:ident $input:ident) => {
        $Name::$Variant
    };
    (decode $Name:ident $Variant:ident $input:ident ($Payload:ty)) => {
        $Name::$Variant(<$Payload as $crate::__private::Decode>::decode($input)?)
    };
    (type) => {
        $crate::__private::TypeText::new().push("null")
    };
    (type $Payload:ty) => {
        <$Payload as $crate::__private::TypeInfo>::TYPE
    };
}
