//! Texts of schemas that come from elsewhere: from an executable, or from a worker.

use super::{ARCHIVE, DEPTH_MAX, Field, Fields, Plain, SCHEMA_BYTES_MAX, Schema, Type, Variant};
use thiserror::Error;

/// Why a text is no schema.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum ParseError {
    /// It is too long.
    #[error("it has {0} bytes, above the limit of {SCHEMA_BYTES_MAX}")]
    Long(usize),
    /// Types lie too deep in each other.
    #[error("at byte {0} types lie more than {DEPTH_MAX} deep in each other")]
    Deep(usize),
    /// Something else belongs there.
    #[error("at byte {at} there should be {wanted}")]
    Syntax {
        /// Where.
        at: usize,
        /// What belongs there.
        wanted: &'static str,
    },
}

impl Schema {
    /// Reads the text of a schema, as it is written by `to_string`. No other spelling of it is taken.
    ///
    /// # Errors
    /// Where it is no such text, or which limit it is beyond.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        if text.len() > SCHEMA_BYTES_MAX {
            return Err(ParseError::Long(text.len()));
        }
        let Some(archive) = text.strip_prefix(ARCHIVE) else {
            let wanted = "a content tag, or `rkyv:` and a type";
            return Self::tagged(text).map_err(|_| ParseError::Syntax { at: 0, wanted });
        };
        let mut parser = Parser {
            text,
            rest: archive,
            depth: 0,
            around: 0,
        };
        let kind = parser.kind()?;
        match parser.rest.is_empty() {
            true => Ok(Self::Archive(kind)),
            false => Err(parser.wanted("the end")),
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
    depth: usize,
    /// Structs and enums around.
    around: u32,
}

impl<'a> Parser<'a> {
    fn at(&self) -> usize {
        self.text.len() - self.rest.len()
    }

    fn wanted(&self, wanted: &'static str) -> ParseError {
        let at = self.at();
        ParseError::Syntax { at, wanted }
    }

    fn take(&mut self, token: &str) -> bool {
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, token: &'static str) -> Result<(), ParseError> {
        match self.take(token) {
            true => Ok(()),
            false => Err(self.wanted(token)),
        }
    }

    fn word(&mut self) -> Result<&'a str, ParseError> {
        let ends = |letter: char| {
            ",:<>(){}".contains(letter) || letter.is_whitespace() || letter.is_control()
        };
        let length = self.rest.find(ends).unwrap_or(self.rest.len());
        if length == 0 {
            return Err(self.wanted("a name"));
        }
        let (word, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(word)
    }

    fn number(&mut self) -> Result<u64, ParseError> {
        let error = self.wanted("a number");
        let word = self.word()?;
        match word.parse::<u64>() {
            Ok(number) if number.to_string() == word => Ok(number),
            _ => Err(error),
        }
    }

    fn kind(&mut self) -> Result<Type, ParseError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(ParseError::Deep(self.at()));
        }
        let kind = self.kind_here();
        self.depth -= 1;
        kind
    }

    fn kind_here(&mut self) -> Result<Type, ParseError> {
        let unknown = self.wanted("a type");
        let word = self.word()?;
        if let Some(plain) = Plain::ALL.iter().find(|plain| plain.name() == word) {
            return Ok(Type::Plain(*plain));
        }
        Ok(match word {
            "list" => match self.one()? {
                Type::Plain(Plain::U8) => return Err(unknown), // those are `bytes`
                item => Type::List(Box::new(item)),
            },
            "set" => Type::Set(Box::new(self.one()?)),
            "option" => Type::Option(Box::new(self.one()?)),
            "box" => Type::Boxed(Box::new(self.one()?)),
            "map" => {
                self.expect("<")?;
                let key = self.kind()?;
                self.expect(",")?;
                let value = self.kind()?;
                self.expect(">")?;
                Type::Map(Box::new(key), Box::new(value))
            }
            "array" => {
                self.expect("<")?;
                let item = self.kind()?;
                self.expect(",")?;
                let count = self.number()?;
                self.expect(">")?;
                Type::Array(Box::new(item), count)
            }
            "tuple" => {
                self.expect("(")?;
                Type::Tuple(self.several(")", Self::kind)?)
            }
            "struct" => self.within(|parser| parser.fields().map(Type::Struct))?,
            "enum" => {
                self.expect("{")?;
                self.within(|parser| parser.several("}", Self::variant).map(Type::Enum))?
            }
            "outer" => {
                self.expect("<")?;
                let error = self.wanted("a struct or enum that is around");
                let levels = u32::try_from(self.number()?).unwrap_or(u32::MAX);
                if levels >= self.around {
                    return Err(error);
                }
                self.expect(">")?;
                Type::Outer(levels)
            }
            _ => return Err(unknown),
        })
    }

    /// What is in a struct or enum.
    fn within(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<Type, ParseError>,
    ) -> Result<Type, ParseError> {
        self.around += 1;
        let kind = read(self);
        self.around -= 1;
        kind
    }

    fn one(&mut self) -> Result<Type, ParseError> {
        self.expect("<")?;
        let kind = self.kind()?;
        self.expect(">")?;
        Ok(kind)
    }

    /// Any number of them, with commas between, up to what ends them.
    fn several<T>(
        &mut self,
        end: &'static str,
        read: impl Fn(&mut Self) -> Result<T, ParseError>,
    ) -> Result<Vec<T>, ParseError> {
        let mut all = Vec::new();
        if self.take(end) {
            return Ok(all);
        }
        loop {
            all.push(read(self)?);
            if self.take(end) {
                return Ok(all);
            }
            self.expect(",")?;
        }
    }

    fn fields(&mut self) -> Result<Fields, ParseError> {
        if self.take("(") {
            return Ok(Fields::Unnamed(self.several(")", Self::kind)?));
        }
        if !self.take("{") {
            return Ok(Fields::None);
        }
        let field = |parser: &mut Self| {
            let name = parser.word()?.to_owned();
            parser.expect(":")?;
            let kind = parser.kind()?;
            Ok(Field { name, kind })
        };
        Ok(Fields::Named(self.several("}", field)?))
    }

    fn variant(&mut self) -> Result<Variant, ParseError> {
        let name = self.word()?.to_owned();
        let fields = self.fields()?;
        Ok(Variant { name, fields })
    }
}
