//! Sums of products in index notation, reduced to matrix products.

use crate::{Error, Result, Tensor};

impl Tensor {
    /// The sum of products that the equation describes, a letter an index: `"bik,bjk->bij"` (PyTorch's `einsum`). Letters that the result lacks are summed over; without `->` the result has the letters that occur once, in alphabetical order.
    /// Operands are multiplied from left to right.
    /// ```
    /// # use chainrule_autograd::{Tensor, DType};
    /// let (a, b) = (Tensor::ones(&[2, 3, 4], DType::F32)?, Tensor::ones(&[2, 5, 4], DType::F32)?);
    /// assert_eq!(Tensor::einsum("bik,bjk->bij", &[&a, &b])?.dims(), [2, 3, 5]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// An equation that does not fit the operands; a letter twice in one operand; an ellipsis.
    pub fn einsum(equation: &str, operands: &[&Tensor]) -> Result<Tensor> {
        let (inputs, output) = parse(equation, operands)?;
        let mut terms = operands.iter().zip(inputs);
        let Some((first, letters)) = terms.next() else { return Err(invalid(equation, "there is no operand")) };
        let (mut product, mut letters) = ((*first).clone(), letters);
        let mut rest: Vec<_> = terms.collect();
        while !rest.is_empty() {
            let (right, right_letters) = rest.remove(0);
            let later = |c: &char| output.contains(c) || rest.iter().any(|(_, l)| l.contains(c));
            (product, letters) = multiply(&product, &letters, right, &right_letters, later)?;
        }
        let product = sum_out(&product, &mut letters, |c| output.contains(c))?;
        product.permute(&order(&output, &letters))
    }
}

#[cold]
fn invalid(equation: &str, reason: impl std::fmt::Display) -> Error {
    Error::value("einsum", format!("`{equation}`: {reason}"))
}

/// The letters of each operand and of the result.
fn parse(equation: &str, operands: &[&Tensor]) -> Result<(Vec<Vec<char>>, Vec<char>)> {
    let text: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
    let (left, right) = text.split_once("->").map_or((text.as_str(), None), |(l, r)| (l, Some(r)));
    let inputs: Vec<Vec<char>> = left.split(',').map(|term| term.chars().collect()).collect();
    if inputs.len() != operands.len() {
        return Err(invalid(equation, format!("{} terms for {} operands", inputs.len(), operands.len())));
    }
    let mut extents = std::collections::BTreeMap::new();
    for (letters, operand) in inputs.iter().zip(operands) {
        if letters.len() != operand.rank() {
            return Err(invalid(equation, format!("{} letters for an operand of shape {:?}", letters.len(), operand.shape())));
        }
        for (i, (&c, &extent)) in letters.iter().zip(operand.dims()).enumerate() {
            if !c.is_ascii_alphabetic() {
                return Err(invalid(equation, format!("`{c}` is not a letter")));
            }
            if letters[..i].contains(&c) {
                return Err(invalid(equation, format!("`{c}` stands twice in one operand, which is not supported")));
            }
            let known = *extents.entry(c).or_insert(extent);
            if known != extent {
                return Err(invalid(equation, format!("`{c}` is {known} in one operand and {extent} in another")));
            }
        }
    }
    let once = || extents.keys().copied().filter(|c| inputs.iter().flatten().filter(|l| *l == c).count() == 1).collect();
    let output: Vec<char> = right.map_or_else(once, |r| r.chars().collect());
    for (i, c) in output.iter().enumerate() {
        if !extents.contains_key(c) || output[..i].contains(c) {
            return Err(invalid(equation, format!("`{c}` in the result is not the index of an operand, or stands twice")));
        }
    }
    Ok((inputs, output))
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
