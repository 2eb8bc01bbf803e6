//! [`Tokenizer`]: texts as tokens, by the `tokenizer.json` of a published model.

use crate::Tokens;
use chainrule_nn::{Error, Result};
use std::path::Path;
use tokenizers::{EncodeInput, TruncationParams};

/// Cuts texts into tokens (WordPiece and the other kinds that Hugging Face's `tokenizers` knows).
/// ```no_run
/// # use chainrule_models::Tokenizer;
/// let tokenizer = Tokenizer::from_file("minilm/tokenizer.json")?.truncated(64)?;
/// let tokens = tokenizer.batch(&["A man is eating food.", "This is a test."])?;
/// assert_eq!(tokens.ids.dims(), [2, 8]);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    padding: i64,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`. The file's own truncation and padding are left out: a batch is as long as its longest text.
    ///
    /// # Errors
    /// A file that cannot be read, or is no tokenizer.
    pub fn from_file(file: impl AsRef<Path>) -> Result<Tokenizer> {
        let file = file.as_ref();
        let bytes = std::fs::read(file).map_err(|error| Error::file(file, format!("cannot be read: {error}")))?;
        let unsound = |error| Error::file(file, format!("is no tokenizer: {error}"));
        let mut inner = tokenizers::Tokenizer::from_bytes(bytes).map_err(unsound)?;
        let padding = inner.get_padding().map(|padding| padding.pad_id).or_else(|| inner.token_to_id("[PAD]")).unwrap_or(0);
        inner.with_padding(None);
        inner.with_truncation(None).map_err(unsound)?;
        Ok(Tokenizer { inner, padding: i64::from(padding) })
    }

    /// Cuts what is longer than so many tokens, those that mark beginning and end included.
    ///
    /// # Errors
    /// Fewer tokens than the marks alone.
    pub fn truncated(mut self, most: usize) -> Result<Tokenizer> {
        let marks = self.marks(false);
        if most <= marks {
            return Err(fail(format!("texts cannot be cut to {most} tokens, expected at least {}", marks + 1)));
        }
        self.inner.with_truncation(Some(TruncationParams { max_length: most, ..TruncationParams::default() })).map_err(fail)?;
        Ok(self)
    }

    /// How many tokens mark beginning and end.
    fn marks(&self, pair: bool) -> usize {
        self.inner.get_post_processor().map_or(0, |p| tokenizers::PostProcessor::added_tokens(p, pair))
    }

    /// The ids of one text, with the tokens that mark beginning and end.
    ///
    /// # Errors
    /// A text that cannot be cut into tokens.
    pub fn ids(&self, text: &str) -> Result<Vec<i64>> {
        Ok(self.inner.encode_fast(text, true).map_err(fail)?.get_ids().iter().map(|&id| i64::from(id)).collect())
    }

    /// The ids of words that are given apart, and for each token the number of its word; `None` for the marks. For the classification of tokens.
    ///
    /// # Errors
    /// Words that cannot be cut into tokens.
    pub fn words(&self, words: &[&str]) -> Result<(Vec<i64>, Vec<Option<usize>>)> {
        // The fast way does not keep which word a token is of.
        let encoding = self.inner.encode(EncodeInput::Single(words.into()), true).map_err(fail)?;
        let ids = encoding.get_ids().iter().map(|&id| i64::from(id)).collect();
        Ok((ids, encoding.get_word_ids().iter().map(|word| word.map(|word| word as usize)).collect()))
    }

    /// A batch as long as its longest text.
    ///
    /// # Errors
    /// No texts; a text that cannot be cut into tokens.
    pub fn batch<S: AsRef<str>>(&self, texts: &[S]) -> Result<Tokens> {
        let rows = texts.iter().map(|text| self.ids(text.as_ref())).collect::<Result<Vec<_>>>()?;
        Ok(Tokens::padded(&rows, self.padding)?)
    }

    /// A batch of pairs, the tokens of the second texts being of type 1.
    ///
    /// # Errors
    /// As for [`batch`](Tokenizer::batch); a length to cut to that the marks of a pair fill.
    pub fn pairs<S: AsRef<str>>(&self, pairs: &[[S; 2]]) -> Result<Tokens> {
        let marks = self.marks(true);
        if let Some(most) = self.inner.get_truncation().map(|truncation| truncation.max_length).filter(|&most| most <= marks) {
            return Err(fail(format!("pairs of texts cannot be cut to {most} tokens, expected at least {}", marks + 1)));
        }
        let (mut rows, mut types) = (vec![], vec![]);
        for [first, second] in pairs {
            let encoding = self.inner.encode_fast((first.as_ref(), second.as_ref()), true).map_err(fail)?;
            rows.push(encoding.get_ids().iter().map(|&id| i64::from(id)).collect::<Vec<_>>());
            types.push(encoding.get_type_ids().iter().map(|&kind| i64::from(kind)).collect::<Vec<_>>());
        }
        Ok(Tokens::padded(&rows, self.padding)?.types(Tokens::padded(&types, 0)?.ids))
    }

    /// The id that fills up short texts.
    pub fn padding(&self) -> i64 {
        self.padding
    }
}

fn fail(error: impl std::fmt::Display) -> Error {
    chainrule_autograd::Error::value("tokenize", error.to_string()).into()
}
