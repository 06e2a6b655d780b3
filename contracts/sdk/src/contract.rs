//! What a contract is to the network, and the macros that make one of plain Rust.
//!
//! Guarantees: a message is dispatched only from the entry point of its kind; arguments that do not decode, or that
//! are followed by more bytes, reach no code of the contract; an `Err` that a message returns becomes a failure of
//! the call, so that the network drops its writes. Callers control the input.

use crate::{
    codec::{decode_str, Decode, DecodeError, Encode},
    metadata::{ContractText, Text, TypeInfo, TypeText},
};
use alloc::{string::String, vec, vec::Vec};

/// What [`crate::contract!`] implements.
pub trait Contract: Sized {
    /// Name of the constructor.
    const CONSTRUCTOR: &'static str;
    /// The description for clients.
    const METADATA: ContractText;

    /// The contract, on the storage of whoever runs.
    fn open() -> Self;

    /// Runs the message `method` of the kind that `entry` takes, with what `arguments` holds.
    fn dispatch(&mut self, entry: Entry, method: &str, arguments: &[u8]) -> Result<Reply, Refusal>;
}

/// The entry points of a contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The constructor.
    Deploy,
    /// A message that may change state.
    Call,
    /// A message that may not.
    Query,
}

/// The encoding of what a message returned, or of its error.
pub type Reply = Result<Vec<u8>, Vec<u8>>;

/// Why an entry point has neither output nor an error of the message's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The contract has no such message of this kind.
    UnknownMethod,
    /// The arguments are not those of the message.
    BadArguments,
    /// The message ran, and returned [`Denied`].
    Denied,
}

impl From<DecodeError> for Refusal {
    fn from(_: DecodeError) -> Self {
        Self::BadArguments
    }
}

/// First byte of an error: the contract's own error follows.
const ERROR_OF_CONTRACT: u8 = 0;
/// An error of one byte: no such message.
const ERROR_UNKNOWN_METHOD: u8 = 1;
/// An error of one byte: other arguments expected.
const ERROR_BAD_ARGUMENTS: u8 = 2;
/// An error of one byte: nothing that the caller may see.
const ERROR_DENIED: u8 = 3;

/// The error of a message that has nothing that its caller may see.
///
/// A query that returns it is refused by the worker **exactly as one to a contract that does not exist**: in the same words, and in as many
/// bytes. Return it alike where there is nothing and where there is something of somebody else, or the difference tells. It may
/// wrap whatever a message returns otherwise, an error of your own included:
///
/// ```
/// # use phala_sdk::prelude::*;
/// # phala_sdk::contract! {
/// #     pub struct Notes { notes: Map<AccountId, String>, readers: Map<AccountId, AccountId> }
/// #     impl Notes {
/// #         constructor fn create(&mut self) {}
/// query fn read(&self, of: AccountId) -> Result<String, Denied> {
///     ensure!(self.readers.get(&of) == Some(env::caller()), Denied);
///     self.notes.get(&of).ok_or(Denied)
/// }
/// #     }
/// # }
/// # fn main() {}
/// ```
///
/// How long the query took is not hidden. From a command it is an ordinary failure, which the sender alone reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied;

/// Runs an entry point on its input, and returns its output or its error as the ABI encodes them.
pub fn handle<C: Contract>(entry: Entry, mut input: &[u8]) -> Reply {
    let reply = match decode_str(&mut input) {
        Ok(method) => C::open().dispatch(entry, method, input),
        Err(DecodeError) => Err(Refusal::BadArguments),
    };
    match reply {
        Ok(Ok(output)) => Ok(output),
        Ok(Err(error)) => {
            let mut tagged = vec![ERROR_OF_CONTRACT];
            tagged.extend_from_slice(&error);
            Err(tagged)
        }
        Err(Refusal::UnknownMethod) => Err(vec![ERROR_UNKNOWN_METHOD]),
        Err(Refusal::BadArguments) => Err(vec![ERROR_BAD_ARGUMENTS]),
        Err(Refusal::Denied) => Err(vec![ERROR_DENIED]),
    }
}

/// Something that a contract tells those who may read its replies.
pub trait Event: Decode {
    /// Its name.
    const NAME: &'static str;
    /// The description of its fields.
    const FIELDS: TypeText;

    /// Appends the fields' encoding, without the name.
    fn encode_fields(&self, out: &mut Vec<u8>);
}

/// What a message may return: a plain value, or a `Result` whose error fails the call; either of them or [`Denied`].
pub trait Returns {
    /// The description of the value.
    const RETURNS: TypeText;
    /// The description of the error, `null` if there is none.
    const ERROR: TypeText = Text::new().push("null");

    /// The encoding of the value, or of the error; or that the message denies both.
    fn finish(self) -> Result<Reply, Refusal>;
}

/// Implements [`Returns`] for a type that is not a `Result`. There is no blanket implementation: it would take a
/// `Result` for a value, and keep the writes of a message that failed.
#[doc(hidden)]
#[macro_export]
macro_rules! __returns {
    ($([$($generics:tt)*] $type:ty;)*) => {$(
        impl<$($generics)*> $crate::__private::Returns for $type {
            const RETURNS: $crate::__private::TypeText = <Self as $crate::__private::TypeInfo>::TYPE;

            fn finish(self) -> ::core::result::Result<$crate::__private::Reply, $crate::__private::Refusal> {
                Ok(Ok($crate::__private::Encode::encode(&self)))
            }
        }
    )*};
}

__returns! {
    [] ();
    [] bool;
    [] u8;
    [] u16;
    [] u32;
    [] u64;
    [] u128;
    [] i8;
    [] i16;
    [] i32;
    [] i64;
    [] i128;
    [] String;
    [] crate::AccountId;
    [] crate::ContractId;
    [T: Encode + TypeInfo] Vec<T>;
    [T: Encode + TypeInfo] Option<T>;
    [T: Encode + TypeInfo, const N: usize] [T; N];
    [A: Encode + TypeInfo] (A,);
    [A: Encode + TypeInfo, B: Encode + TypeInfo] (A, B);
    [A: Encode + TypeInfo, B: Encode + TypeInfo, C: Encode + TypeInfo] (A, B, C);
    [A: Encode + TypeInfo, B: Encode + TypeInfo, C: Encode + TypeInfo, D: Encode + TypeInfo] (A, B, C, D);
}

impl<T: Encode + TypeInfo, E: Encode + TypeInfo> Returns for Result<T, E> {
    const RETURNS: TypeText = T::TYPE;
    const ERROR: TypeText = E::TYPE;

    fn finish(self) -> Result<Reply, Refusal> {
        Ok(match self {
            Ok(value) => Ok(value.encode()),
            Err(error) => Err(error.encode()),
        })
    }
}

/// Apart from the one above because [`Denied`] has no encoding: it is no error of the contract's own.
impl<R: Returns> Returns for Result<R, Denied> {
    const RETURNS: TypeText = R::RETURNS;
    const ERROR: TypeText = R::ERROR;

    fn finish(self) -> Result<Reply, Refusal> {
        self.map_err(|Denied| Refusal::Denied)?.finish()
    }
}

/// Returns an error unless a condition holds: `ensure!(amount <= balance, Error::InsufficientBalance)`.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $error:expr $(,)?) => {
        if !$condition {
            return Err($error);
        }
    };
}

/// Makes a contract of a struct, which is its storage, its events, and its messages.
///
/// ```
/// use phala_sdk::prelude::*;
///
/// phala_sdk::contract! {
///     pub struct Counter {
///         count: Value<u64>,
///     }
///
///     event Counted { count: u64 }
///
///     impl Counter {
///         constructor fn create(&mut self, start: u64) {
///             self.count.set(&start);
///         }
///
///         call fn count(&mut self) {
///             let count = self.count.get_or_default() + 1;
///             self.count.set(&count);
///             env::emit(Counted { count });
///         }
///
///         query fn total(&self) -> u64 {
///             self.count.get_or_default()
///         }
///     }
/// }
/// # fn main() {}
/// ```
///
/// One `constructor` runs when the contract is deployed. A `call` may change state; a `query` takes `&self`, and is
/// stopped if it tries. A message that returns `Err` fails, and leaves no write and no event. Helpers go into an
/// `impl` of your own.
#[macro_export]
macro_rules! contract {
    (
        $(#[$meta:meta])* $visibility:vis struct $Contract:ident {
            $($(#[$field_meta:meta])* $field:ident: $Field:ty),* $(,)?
        }
        $(
            $(#[$event_meta:meta])* event $Event:ident {
                $($(#[$event_field_meta:meta])* $event_field:ident: $EventField:ty),* $(,)?
            }
        )*
        impl $Implemented:ident { $($messages:tt)* }
    ) => {
        $(#[$meta])*
        $visibility struct $Contract {
            $($(#[$field_meta])* $field: $Field,)*
        }

        $($crate::__event! { $(#[$event_meta])* $Event { $($(#[$event_field_meta])* $event_field: $EventField,)* } })*

        $crate::__messages! { [$Contract] [$($field: $Field,)*] [$($Event)*] [] [] [] $($messages)* }

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            const METADATA: $crate::__private::ContractText = <$Contract as $crate::__private::Contract>::METADATA;

            #[link_section = "phala.metadata"]
            static SECTION: [u8; METADATA.len()] = METADATA.to_array();

            #[no_mangle]
            extern "C" fn deploy() -> u32 {
                $crate::__private::enter::<$Contract>($crate::__private::Entry::Deploy)
            }

            #[no_mangle]
            extern "C" fn call() -> u32 {
                $crate::__private::enter::<$Contract>($crate::__private::Entry::Call)
            }

            #[no_mangle]
            extern "C" fn query() -> u32 {
                $crate::__private::enter::<$Contract>($crate::__private::Entry::Query)
            }
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __event {
    ($(#[$meta:meta])* $Event:ident { $($(#[$field_meta:meta])* $field:ident: $Field:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "an event's name says what it is")]
        pub struct $Event {
            $($(#[$field_meta])* pub $field: $Field,)*
        }

        impl $crate::__private::Event for $Event {
            const NAME: &'static str = stringify!($Event);
            const FIELDS: $crate::__private::TypeText = $crate::__private::Text::new()
                .push("[")
                $(.push_field(stringify!($field), &<$Field as $crate::__private::TypeInfo>::TYPE))*
                .push("]");

            fn encode_fields(&self, out: &mut $crate::__private::Vec<u8>) {
                $($crate::__private::Encode::encode_to(&self.$field, out);)*
                let _ = out;
            }
        }

        impl $crate::__private::Decode for $Event {
            fn decode(input: &mut &[u8]) -> ::core::result::Result<Self, $crate::__private::DecodeError> {
                let _ = &input;
                Ok(Self { $($field: $crate::__private::Decode::decode(input)?,)* })
            }
        }
    };
}

/// Takes the messages one by one: `[contract] [fields] [events] [functions so far] [constructor] [messages so far]
/// rest`.
#[doc(hidden)]
#[macro_export]
macro_rules! __messages {
    (
        [$Contract:ident] [$($fields:tt)*] [$($events:tt)*] [$($functions:tt)*] [] [$($list:tt)*]
        $(#[$meta:meta])* constructor fn $name:ident(&mut $self:ident $(, $argument:ident: $Argument:ty)* $(,)?)
        $(-> $Output:ty)? $body:block $($rest:tt)*
    ) => {
        $crate::__messages! {
            [$Contract] [$($fields)*] [$($events)*]
            [$($functions)* $(#[$meta])* pub fn $name(&mut $self $(, $argument: $Argument)*) $(-> $Output)? $body]
            [(Deploy "constructor" $name ($($argument: $Argument,)*) ($($Output)?))]
            [$($list)*]
            $($rest)*
        }
    };
    (
        [$Contract:ident] [$($fields:tt)*] [$($events:tt)*] [$($functions:tt)*] [$($constructor:tt)*] [$($list:tt)*]
        $(#[$meta:meta])* call fn $name:ident(&mut $self:ident $(, $argument:ident: $Argument:ty)* $(,)?)
        $(-> $Output:ty)? $body:block $($rest:tt)*
    ) => {
        $crate::__messages! {
            [$Contract] [$($fields)*] [$($events)*]
            [$($functions)* $(#[$meta])* pub fn $name(&mut $self $(, $argument: $Argument)*) $(-> $Output)? $body]
            [$($constructor)*]
            [$($list)* (Call "call" $name ($($argument: $Argument,)*) ($($Output)?))]
            $($rest)*
        }
    };
    (
        [$Contract:ident] [$($fields:tt)*] [$($events:tt)*] [$($functions:tt)*] [$($constructor:tt)*] [$($list:tt)*]
        $(#[$meta:meta])* query fn $name:ident(&$self:ident $(, $argument:ident: $Argument:ty)* $(,)?)
        $(-> $Output:ty)? $body:block $($rest:tt)*
    ) => {
        $crate::__messages! {
            [$Contract] [$($fields)*] [$($events)*]
            [$($functions)* $(#[$meta])* pub fn $name(&$self $(, $argument: $Argument)*) $(-> $Output)? $body]
            [$($constructor)*]
            [$($list)* (Query "query" $name ($($argument: $Argument,)*) ($($Output)?))]
            $($rest)*
        }
    };
    (
        [$Contract:ident] [$($field:ident: $Field:ty,)*] [$($Event:ident)*] [$($functions:tt)*]
        [(Deploy "constructor" $constructor:ident ($($constructor_argument:ident: $ConstructorArgument:ty,)*) $ConstructorOutput:tt)]
        [$(($Entry:ident $kind:literal $name:ident ($($argument:ident: $Argument:ty,)*) $Output:tt))*]
    ) => {
        #[allow(missing_docs, reason = "a message's name says what it does")]
        impl $Contract {
            /// The contract, on the storage of whoever runs.
            pub fn open() -> Self {
                $(const _: () = assert!(
                    stringify!($field).len() <= $crate::__private::MAX_FIELD_NAME_BYTES,
                    "the name of a field is longer than 32 bytes"
                );)*
                Self { $($field: <$Field as $crate::__private::Field>::at(stringify!($field)),)* }
            }

            $($functions)*
        }

        impl $crate::__private::Contract for $Contract {
            const CONSTRUCTOR: &'static str = stringify!($constructor);

            const METADATA: $crate::__private::ContractText = $crate::__private::Text::new()
                .push("{\"abi\":1,\"name\":\"")
                .push(env!("CARGO_PKG_NAME"))
                .push("\",\"version\":\"")
                .push(env!("CARGO_PKG_VERSION"))
                .push("\",\"constructor\":{\"name\":\"")
                .push(stringify!($constructor))
                .push("\",\"args\":[")
                $(.push_field(stringify!($constructor_argument), &<$ConstructorArgument as $crate::__private::TypeInfo>::TYPE))*
                .push("],\"error\":")
                .push_text(&<$ConstructorOutput as $crate::__private::Returns>::ERROR)
                .push("},\"messages\":[")
                $(
                    .next()
                    .push(concat!("{\"name\":\"", stringify!($name), "\",\"kind\":\"", $kind, "\",\"args\":["))
                    $(.push_field(stringify!($argument), &<$Argument as $crate::__private::TypeInfo>::TYPE))*
                    .push("],\"returns\":")
                    .push_text(&<$Output as $crate::__private::Returns>::RETURNS)
                    .push(",\"error\":")
                    .push_text(&<$Output as $crate::__private::Returns>::ERROR)
                    .push("}")
                )*
                .push("],\"events\":[")
                $(
                    .next()
                    .push(concat!("{\"name\":\"", stringify!($Event), "\",\"fields\":"))
                    .push_text(&<$Event as $crate::__private::Event>::FIELDS)
                    .push("}")
                )*
                .push("]}");

            fn open() -> Self {
                Self::open()
            }

            fn dispatch(
                &mut self,
                entry: $crate::__private::Entry,
                method: &str,
                arguments: &[u8],
            ) -> ::core::result::Result<$crate::__private::Reply, $crate::__private::Refusal> {
                if entry == $crate::__private::Entry::Deploy && method == stringify!($constructor) {
                    let ($($constructor_argument,)*): ($($ConstructorArgument,)*) =
                        $crate::__private::Decode::decode_all(arguments)?;
                    return $crate::__private::Returns::finish(self.$constructor($($constructor_argument),*));
                }
                $(
                    if entry == $crate::__private::Entry::$Entry && method == stringify!($name) {
                        let ($($argument,)*): ($($Argument,)*) =
                            $crate::__private::Decode::decode_all(arguments)?;
                        return $crate::__private::Returns::finish(self.$name($($argument),*));
                    }
                )*
                Err($crate::__private::Refusal::UnknownMethod)
            }
        }
    };
    ([$Contract:ident] [$($fields:tt)*] [$($events:tt)*] [$($functions:tt)*] [] [$($list:tt)*]) => {
        compile_error!("a contract has one `constructor fn`");
    };
    ([$Contract:ident] [$($fields:tt)*] [$($events:tt)*] [$($functions:tt)*] [$($constructor:tt)*] [$($list:tt)*] $($rest:tt)+) => {
        compile_error!(concat!(
            "expected one `constructor fn name(&mut self, ..)`, and messages `call fn name(&mut self, ..)` or ",
            "`query fn name(&self, ..)`, at: ", stringify!($($rest)+)
        ));
    };
}
