//! Sums of products in index notation, reduced to matrix products.
//!
//! An operand is brought to a letter a dimension: an ellipsis becomes letters of its own, a letter that stands twice takes the diagonal, and a dimension of extent 1 that others stretch is dropped.
//! Then operands are multiplied from left to right, each time by one batched matrix product.

use crate::{Error, Result, Tensor};
use std::collections::BTreeMap;

impl Tensor {
    /// The sum of products that the equation describes, a letter an index: `"bik,bjk->bij"` (PyTorch's `einsum`). Letters that the result lacks are summed over.
    /// A letter twice in one operand takes its diagonal; `...` stands for any further dimensions, which broadcast. Without `->` the result has the dimensions of `...` and then the letters that occur once, in alphabetical order.
    /// Operands are multiplied from left to right.
    /// ```
    /// # use chainrule_autograd::{Tensor, DType};
    /// let (a, b) = (Tensor::ones(&[2, 3, 4], DType::F32)?, Tensor::ones(&[2, 5, 4], DType::F32)?);
    /// assert_eq!(Tensor::einsum("bik,bjk->bij", &[&a, &b])?.dims(), [2, 3, 5]);
    /// assert_eq!(Tensor::einsum("...k, ...k", &[&a, &a])?.dims(), [2, 3]);
    /// assert_eq!(Tensor::einsum("ii", &[&Tensor::eye(3, DType::F32)?])?.item()?, 3.0);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// An equation that does not fit the operands; extents of one letter that differ and are not 1; element types other than f32 and f64.
    pub fn einsum(equation: &str, operands: &[&Tensor]) -> Result<Tensor> {
        let Equation { inputs, output, extents } = Equation::parse(equation, operands)?;
        let mut terms = operands.iter().zip(inputs).map(|(x, letters)| one_letter_a_dimension(x, letters, &extents));
        let Some(first) = terms.next() else { return Err(invalid(equation, "there is no operand")) };
        let ((mut product, mut letters), mut rest) = (first?, terms.collect::<Result<Vec<_>>>()?);
        while !rest.is_empty() {
            let (right, right_letters) = rest.remove(0);
            let later = |c: &char| output.contains(c) || rest.iter().any(|(_, l)| l.contains(c));
            (product, letters) = multiply(&product, &letters, &right, &right_letters, later)?;
        }
        let product = sum_out(&product, &mut letters, |c| output.contains(c))?;
        product.permute(&order(&output, &letters))
    }
}

#[cold]
fn invalid(equation: &str, reason: impl std::fmt::Display) -> Error {
    Error::value("einsum", format!("`{equation}`: {reason}"))
}

/// The letters of each operand and of the result, and the extent of each letter.
struct Equation {
    inputs: Vec<Vec<char>>,
    output: Vec<char>,
    extents: BTreeMap<char, usize>,
}

impl Equation {
    fn parse(equation: &str, operands: &[&Tensor]) -> Result<Equation> {
        let text: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
        let (left, right) = text.split_once("->").map_or((text.as_str(), None), |(l, r)| (l, Some(r)));
        let terms: Vec<&str> = left.split(',').collect();
        if terms.len() != operands.len() {
            return Err(invalid(equation, format!("{} terms for {} operands", terms.len(), operands.len())));
        }
        let (mut inputs, mut extents, mut hidden) = (vec![], BTreeMap::new(), 0);
        for (term, operand) in terms.into_iter().zip(operands) {
            let own = letters_of(equation, term)?;
            let named = own.iter().filter(|&&c| c != ELLIPSIS).count();
            let further = operand.rank().checked_sub(named).filter(|&n| n == 0 || named < own.len());
            let Some(further) = further else {
                return Err(invalid(equation, format!("{named} letters for an operand of shape {:?}", operand.shape())));
            };
            hidden = hidden.max(further);
            let letters = with_ellipsis(&own, further);
            for (i, (&c, &extent)) in letters.iter().zip(operand.dims()).enumerate() {
                let known = extents.entry(c).or_insert(extent);
                let repeated = letters[..i].iter().position(|&other| other == c);
                if repeated.is_some_and(|first| operand.dims()[first] != extent) || (*known != extent && *known != 1 && extent != 1) {
                    return Err(invalid(equation, format!("`{c}` is {known} in one place and {extent} in another")));
                }
                *known = if *known == 1 { extent } else { *known };
            }
            inputs.push(letters);
        }
        let once = |extents: &BTreeMap<char, usize>| -> Vec<char> {
            let named = extents.keys().copied().filter(|&c| c.is_ascii_alphabetic() && inputs.iter().flatten().filter(|&&l| l == c).count() == 1);
            std::iter::once(ELLIPSIS).chain(named).collect()
        };
        let output = right.map_or_else(|| Ok(once(&extents)), |right| letters_of(equation, right))?;
        let output = with_ellipsis(&output, hidden);
        for (i, c) in output.iter().enumerate() {
            if !extents.contains_key(c) || output[..i].contains(c) {
                return Err(invalid(equation, format!("`{c}` in the result is not the index of an operand, or stands twice")));
            }
        }
        Ok(Equation { inputs, output, extents })
    }
}

/// What stands for `...` while an equation is read.
const ELLIPSIS: char = '\u{2026}';

/// The letters of a term, an ellipsis as one.
fn letters_of(equation: &str, term: &str) -> Result<Vec<char>> {
    let letters: Vec<char> = term.replacen("...", "\u{2026}", 1).chars().collect();
    let ellipses = letters.iter().filter(|&&c| c == ELLIPSIS).count();
    match letters.iter().find(|&&c| !c.is_ascii_alphabetic() && (c != ELLIPSIS || ellipses > 1)) {
        Some(c) => Err(invalid(equation, format!("`{c}` is not a letter; a term may hold one `...`"))),
        None => Ok(letters),
    }
}

/// The ellipsis replaced by digits, one a dimension, counted from the last: so ellipses of different lengths are aligned at the end.
fn with_ellipsis(letters: &[char], count: usize) -> Vec<char> {
    let digits = || (0..count as u8).rev().map(|i| (b'0' + i) as char);
    letters.iter().flat_map(|&c| if c == ELLIPSIS { digits().collect() } else { vec![c] }).collect()
}

/// Diagonals of repeated letters; without dimensions of extent 1 whose letter is longer elsewhere.
fn one_letter_a_dimension(x: &Tensor, mut letters: Vec<char>, extents: &BTreeMap<char, usize>) -> Result<(Tensor, Vec<char>)> {
    let mut x = x.clone();
    while let Some((first, second)) = (0..letters.len()).find_map(|i| letters[..i].iter().position(|c| *c == letters[i]).map(|first| (first, i))) {
        x = x.diagonal(0, first as isize, second as isize)?;
        letters.remove(second);
        let letter = letters.remove(first);
        letters.push(letter);
    }
    while let Some(at) = (0..letters.len()).find(|&i| x.dims()[i] == 1 && extents.get(&letters[i]) != Some(&1)) {
        x = x.squeeze(at as isize)?;
        letters.remove(at);
    }
    Ok((x, letters))
}

/// Where the letters `wanted` stand in `letters`.
fn order(wanted: &[char], letters: &[char]) -> Vec<isize> {
    wanted.iter().filter_map(|c| letters.iter().position(|l| l == c)).map(|i| i as isize).collect()
}

/// Sums over the letters that nobody needs.
fn sum_out(x: &Tensor, letters: &mut Vec<char>, needed: impl Fn(&char) -> bool) -> Result<Tensor> {
    let over: Vec<isize> = (0..letters.len()).filter(|&i| !needed(&letters[i])).map(|i| i as isize).collect();
    letters.retain(needed);
    if over.is_empty() { Ok(x.clone()) } else { x.sum_over(&over, false) }
}

/// One batched matrix product: shared letters that are needed later are batches, the other shared ones are summed over.
fn multiply(a: &Tensor, a_letters: &[char], b: &Tensor, b_letters: &[char], later: impl Fn(&char) -> bool) -> Result<(Tensor, Vec<char>)> {
    let (mut left, mut right) = (a_letters.to_vec(), b_letters.to_vec());
    let a = sum_out(a, &mut left, |c| later(c) || b_letters.contains(c))?;
    let b = sum_out(b, &mut right, |c| later(c) || a_letters.contains(c))?;
    let (shared, own): (Vec<char>, Vec<char>) = left.iter().partition(|c| right.contains(c));
    let others: Vec<char> = right.iter().copied().filter(|c| !left.contains(c)).collect();
    let (batch, summed): (Vec<char>, Vec<char>) = shared.into_iter().partition(later);
    let extent = |c: &char| left.iter().position(|l| l == c).map_or_else(|| b.dims()[right.iter().position(|l| l == c).unwrap_or(0)], |i| a.dims()[i]);
    let size = |letters: &[char]| letters.iter().map(extent).product::<usize>();
    let matrices = |x: &Tensor, letters: &[char], [p, q, r]: [&[char]; 3]| -> Result<Tensor> {
        x.permute(&order(&[p, q, r].concat(), letters))?.reshape(&[size(p), size(q), size(r)])
    };
    let product = matrices(&a, &left, [&batch, &own, &summed])?.matmul(&matrices(&b, &right, [&batch, &summed, &others])?)?;
    let letters = [batch, own, others].concat();
    Ok((product.reshape(&letters.iter().map(extent).collect::<Vec<_>>())?, letters))
}
