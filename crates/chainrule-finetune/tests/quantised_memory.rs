//! What quantised weights take: by the counters of the memory of arrays, which are those of the process, so that all of it is one test.

use chainrule_autograd::{DType, Rng, Tape, Tensor};
use chainrule_core::memory::{reset_peak, statistics};
use chainrule_finetune::{Adapted, Lora, Quantisation, Result, dequantise, quantise};
use chainrule_nn::{Embedding, Layer, LayerNorm, Linear, Module, Sequential, count};

/// The layers of a small BERT, at its real sizes: 30,522 words, 384 features, 6 layers.
#[derive(Module, Clone)]
struct Encoder {
    words: Embedding,
    positions: Embedding,
    kinds: Embedding,
    norm: LayerNorm,
    layer: Vec<Block>,
}

#[derive(Module, Clone)]
struct Block {
    attention: Vec<Linear>,
    attention_norm: LayerNorm,
    intermediate: Linear,
    output: Linear,
    output_norm: LayerNorm,
}

fn encoder() -> Result<Encoder> {
    let rng = &mut Rng::seeded(1);
    let mut layer = Vec::new();
    for _ in 0..6 {
        let attention = (0..4).map(|_| Linear::new(384, 384, rng)).collect::<chainrule_autograd::Result<_>>()?;
        let [attention_norm, output_norm] = [LayerNorm::new(&[384])?, LayerNorm::new(&[384])?];
        layer.push(Block { attention, attention_norm, intermediate: Linear::new(384, 1536, rng)?, output: Linear::new(1536, 384, rng)?, output_norm });
    }
    let [words, positions, kinds] = [30522, 512, 2].map(|rows| Embedding::new(rows, 384, rng));
    Ok(Encoder { words: words?, positions: positions?, kinds: kinds?, norm: LayerNorm::new(&[384])?, layer })
}

#[test]
fn few_bits_take_little_memory_at_rest_and_on_a_tape() -> Result<()> {
    // At rest.
    let before = statistics().live;
    let mut model = encoder()?;
    let (parameters, dense) = (count(&model).all, statistics().live - before);
    assert_eq!(parameters, 22_565_376);
    let mut other = model.clone();
    quantise(&mut other, Quantisation::int8(), "*")?;
    // What is not quantised is shared.
    let int8 = (statistics().live - before - dense + 4 * count(&other).all) as f64 / parameters as f64;
    drop(other);
    let bytes = || (statistics().live - before) as f64 / parameters as f64;
    assert!(bytes() > 4.0 && int8 < 1.25);
    assert_eq!(quantise(&mut model, Quantisation::nf4(), "all-linear")?, 36);
    let linear = bytes();
    assert_eq!(quantise(&mut model, Quantisation::nf4(), ["words", "positions", "kinds"])?, 3);
    let all = bytes();
    println!("bytes a parameter: {linear:.3} with the linear layers in NF4, {all:.3} with the embeddings too; {int8:.3} in int8");
    assert!(all < 0.6 && linear < 2.9);
    drop(model);

    // On a tape, the adapters above learning.
    const WIDTH: usize = 512;
    let (rng, layers) = (&mut Rng::seeded(2), 8);
    let mut base = (0..layers).try_fold(Sequential::new(), |model, _| Ok::<_, chainrule_autograd::Error>(model.add(Linear::new(WIDTH, WIDTH, rng)?)))?;
    quantise(&mut base, Quantisation::nf4(), "*")?;
    let mut model = Adapted::new(base);
    model.add("mine", Lora::rank(2), rng)?;
    let x = Tensor::normal(&[4, WIDTH], 0.0, 1.0, DType::F32, rng)?;
    let (weight, at_rest) = (4 * WIDTH * WIDTH, statistics().live);
    reset_peak();
    let tape = Tape::training(rng);
    let loss = model.forward(&tape.input(&x))?.square()?.sum()?;
    let (held, peak) = (statistics().live - at_rest, statistics().peak - at_rest);
    // Far less than the one weight that was dense at a time.
    assert!(held < weight / 4 && peak < weight + weight / 4, "{held} {peak}");
    reset_peak();
    let gradients = loss.backward()?;
    let peak = statistics().peak - at_rest;
    assert!(gradients.len() == 2 * layers && peak < weight + weight / 2, "{peak}");
    drop((gradients, tape));

    // An embedding unpacks the rows that are read.
    let mut words = Embedding::new(10_000, 64, rng)?;
    quantise(&mut words, Quantisation::nf4(), "*")?;
    let at_rest = statistics().live;
    reset_peak();
    words.forward(&Tensor::from_slice(&[1i64, 9_999], &[2])?)?;
    assert!(statistics().peak - at_rest < 8 * 1024);
    assert_eq!(dequantise(&mut words)?, 1);
    Ok(())
}
