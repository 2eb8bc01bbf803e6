//! Recurrent layers: PyTorch's names and arguments to ours.

use crate::case::Case;
use chainrule::options::{Recurrence, RecurrentWeights};
use chainrule::{Result, Tensor};

type Made<T> = std::result::Result<T, chainrule::TensorError>;

/// The outputs of the case's operation; `None` when it is not one of this family.
pub fn run(case: &Case, x: &[Tensor]) -> Option<Result<Vec<Tensor>>> {
    let outputs = match case.op.as_str() {
        "rnn" | "gru" | "lstm" => stack(case, x, None),
        "lstm_variable_length" => packed(case, x),
        _ => return None,
    };
    Some(outputs.map_err(Into::into))
}

/// The layers, one on top of the other: the output and the last states.
fn stack(case: &Case, x: &[Tensor], lengths: Option<&[usize]>) -> Made<Vec<Tensor>> {
    let names: Vec<&str> = case.arguments["input_names"].as_array().expect("input_names").iter().map(|name| name.as_str().expect("a name")).collect();
    let input = |name: &str| names.iter().position(|n| *n == name).map(|i| &x[i]);
    let states = if case.op.starts_with("lstm") { 2 } else { 1 };
    let mut y = x[0].clone();
    let mut last = vec![vec![]; states];
    for layer in (0..).take_while(|layer| input(&format!("weight_ih_l{layer}")).is_some()) {
        let mut outputs = vec![];
        for (reverse, suffix) in [(false, ""), (true, "_reverse")] {
            let parameter = |name: &str| input(&format!("{name}_l{layer}{suffix}"));
            let (Some(weight_ih), Some(weight_hh)) = (parameter("weight_ih"), parameter("weight_hh")) else { continue };
            let weights = RecurrentWeights { weight_ih, weight_hh, bias_ih: parameter("bias_ih"), bias_hh: parameter("bias_hh") };
            let recurrence = Recurrence { lengths, reverse };
            let initial = |name: &str| input(name).map(|state| state.select(0, last[0].len())).transpose();
            let (h, c) = (initial("h0")?, initial("c0")?);
            let one = h.as_ref().map(|h| [h]);
            let (output, after) = match case.op.as_str() {
                "gru" => y.gru(one, &weights, recurrence).map(|(y, [h])| (y, vec![h]))?,
                "rnn" if case.text("nonlinearity") == "relu" => y.rnn_relu(one, &weights, recurrence).map(|(y, [h])| (y, vec![h]))?,
                "rnn" => y.rnn_tanh(one, &weights, recurrence).map(|(y, [h])| (y, vec![h]))?,
                _ => y.lstm(h.as_ref().zip(c.as_ref()).map(|(h, c)| [h, c]), &weights, recurrence).map(|(y, states)| (y, states.to_vec()))?,
            };
            outputs.push(output);
            last.iter_mut().zip(after).for_each(|(all, state)| all.push(state));
        }
        y = Tensor::concatenate(&outputs.iter().collect::<Vec<_>>(), -1)?;
    }
    let last = last.iter().map(|states| Tensor::stack(&states.iter().collect::<Vec<_>>(), 0)).collect::<Made<Vec<_>>>()?;
    Ok([vec![y], last].concat())
}

/// PyTorch's output ends with the longest sequence.
fn packed(case: &Case, x: &[Tensor]) -> Made<Vec<Tensor>> {
    let lengths: Vec<usize> = x[1].to_vec::<i64>()?.into_iter().map(|length| length as usize).collect();
    let mut outputs = stack(case, x, Some(&lengths))?;
    outputs[0] = outputs[0].narrow(1, 0, lengths.iter().copied().max().unwrap_or(0))?;
    Ok(outputs)
}
